"""Tells people about alerts: once for the opening and once for the end, on every channel that is set up."""
from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from engine.errors import NotFound, ServiceUnavailable
from engine.notice import Notice
from engine.ports import Clock, DecisionLog

FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=15)
# The pause is the longest after fewer than these; a power of hundreds is beyond every time that there is.
_DOUBLINGS = 10
# So many notices in one go, so that the repeats get their turn; a channel that fails has its turn again in the next one.
AT_ONCE = 20


class Channel(Protocol):
    """One way to tell people. `every` is how often it wants to hear again of what is still open, None for once."""

    every: timedelta | None

    def send(self, notice: Notice) -> None:
        """Return when the receiver has taken it. Raises ServiceUnavailable("notification")."""
        ...


class NoticeStore(Protocol):
    """Who still has to be told what; `db.alerts.Alerts` is one."""

    def claim(self, now: datetime, *, without: Collection[str] = ()) -> Any | None: ...

    def sent(self, notice_id: int, *, now: datetime) -> None: ...

    def failed(self, notice_id: int, error: str, *, retry_at: datetime) -> None: ...

    def open_told(self, channel: str, now: datetime) -> Sequence[Any]: ...


def pause(attempts: int) -> timedelta:
    """How long to wait after so many attempts, 1 or more: doubling from FIRST_WAIT, LONGEST_WAIT at most."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempts - 1, _DOUBLINGS))


@dataclass(frozen=True, slots=True)
class Sent:
    """How many notices arrived and how many will be tried again."""

    arrived: int
    failed: int


class Notifier:
    """Sends what is due. Several instances may run: each notice is reserved before it is sent.

    Sending waits for the receivers, each for as long as its channel allows, so this belongs on a thread of its own.
    `page` is the address of the alerts page, put into every notice.
    """

    def __init__(
        self, *, store: NoticeStore, channels: Mapping[str, Channel], page: str, clock: Clock, log: DecisionLog, chance: random.Random,
    ) -> None:
        self._store = store
        self._channels = dict(channels)
        self._page = page
        self._clock = clock
        self._log = log
        self._chance = chance
        self._repeated: dict[str, datetime] = {}

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels that are set up."""
        return tuple(self._channels)

    def send_due(self) -> Sent:
        """Send what is due, some at a time; a channel that fails is left alone until the next call, and costs its time limit once.

        Raises ServiceUnavailable without the database.
        """
        arrived = failed = 0
        resting: set[str] = set()
        for _ in range(AT_ONCE):
            row = self._store.claim(self._clock(), without=resting)
            if row is None:
                break
            channel = self._channels.get(row.channel)
            try:
                if channel is None:
                    raise ServiceUnavailable("notification", f"the channel {row.channel} is not set up any more")
                channel.send(self._notice(row, row.event))
            except ServiceUnavailable as error:
                failed += 1
                resting.add(row.channel)
                self._store.failed(row.notice_id, str(error), retry_at=self._clock() + self._wait(row.attempts))
                self._log.event("notice_failed", channel=row.channel, rule=row.rule, attempt=row.attempts)
            else:
                arrived += 1
                self._store.sent(row.notice_id, now=self._clock())
                self._log.event("notice_sent", channel=row.channel, rule=row.rule, kind=row.event)
        return Sent(arrived, failed)

    def repeat(self) -> int:
        """Tell the channels that want to hear again what is still open; how many notices arrived. Raises ServiceUnavailable.

        Every instance does: the same alert twice is one alert to such a receiver.
        """
        arrived, now = 0, self._clock()
        for name, channel in self._channels.items():
            if channel.every is None or now < self._repeated.get(name, now):
                continue
            self._repeated[name] = now + channel.every
            for row in self._store.open_told(name, now):
                try:
                    channel.send(self._notice(row, "opened"))
                except ServiceUnavailable:
                    self._log.event("notice_failed", channel=name, rule=row.rule, attempt=0)
                    break
                arrived += 1
        return arrived

    def test(self, channel: str, *, by: str) -> None:
        """Send a made-up notice now. Raises NotFound, ServiceUnavailable with the receiver's answer."""
        if channel not in self._channels:
            raise NotFound(f"the channel {channel} is not set up.")
        now = self._clock()
        self._channels[channel].send(Notice(
            key=f"test-{int(now.timestamp() * 1000)}", event="test", rule="test", subject="", severity="warning",
            message=f"This is a test, sent by {by}. Nothing is wrong.", opened_at=now, resolved_at=None, link=self._page,
        ))
        self._log.event("notice_tested", channel=channel, by=by)

    def _notice(self, row: Any, event: str) -> Notice:
        return Notice(
            key=f"alert-{row.id}-{event}", event=event, rule=row.rule, subject=row.subject, severity=row.severity,
            message=row.message, opened_at=row.opened_at, resolved_at=row.resolved_at if event == "resolved" else None, link=self._page,
        )

    def _wait(self, attempts: int) -> timedelta:
        """As `pause`, spread by a fifth, so that many do not ask together."""
        return min(LONGEST_WAIT, pause(attempts) * (0.8 + 0.4 * self._chance.random()))

