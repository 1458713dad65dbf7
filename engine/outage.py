"""Tells people that the database does not answer, when nothing that stands in the database can: once, and once when it is back."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.alert_rules import Rule
from engine.errors import ServiceUnavailable
from engine.notice import Notice
from engine.notify import FIRST_WAIT, LONGEST_WAIT, Channel
from engine.ports import Clock
from engine.ports import DecisionLog as Log

# A database that is started anew is back within this time, and nobody has to hear of it.
SHORTEST = timedelta(seconds=30)


@dataclass(slots=True)
class _Due:
    channel: str
    notice: Notice
    at: datetime
    attempts: int = 0


class Outage:
    """Watches whether the database `answers`. What it knows is kept in memory, so each instance tells for itself.

    `learn` gives it the rule about the database and the silences while they can be read. `instance` names this process,
    `page` is the address of the alerts page. Not for several threads.
    """

    def __init__(
        self, *, answers: Callable[[], bool], channels: Mapping[str, Channel], rule: Rule, page: str, instance: str, clock: Clock, log: Log,
    ) -> None:
        self._answers = answers
        self._channels = dict(channels)
        self._rule = rule
        self._page = page
        self._instance = instance
        self._clock = clock
        self._log = log
        self._quiet_until: datetime | None = None
        self._since: datetime | None = None
        self._opened: Notice | None = None
        self._due: list[_Due] = []
        self._heard: set[str] = set()

    def learn(self, rule: Rule, *, quiet_until: datetime | None) -> None:
        """The rule with the managers' changes, and until when it is silenced."""
        self._rule, self._quiet_until = rule, quiet_until

    def look(self) -> None:
        """Ask the database, and tell what there is to tell; what did not arrive is tried again."""
        answers, now = self._answers(), self._clock()
        if not answers:
            self._since = self._since or now
            quiet = self._quiet_until is not None and now < self._quiet_until
            if self._opened is None and self._rule.enabled and not quiet and now - self._since >= max(self._rule.hold, SHORTEST):
                self._opened = self._notice("opened", now)
                self._log.event("database_outage", since=self._since.isoformat())
                self._due = [_Due(name, self._opened, now) for name in self._channels]
        elif self._since is not None:
            # Where nobody heard that it began, nobody needs to hear that it is over.
            over = self._notice("resolved", now) if self._opened is not None else None
            self._due = [_Due(name, over, now) for name in sorted(self._heard)] if over is not None else []
            self._since = self._opened = None
            self._heard = set()
        for due in [due for due in self._due if due.at <= now]:
            self._send(due)

    def _send(self, due: _Due) -> None:
        channel = self._channels[due.channel]
        due.attempts += 1
        try:
            channel.send(due.notice)
        except ServiceUnavailable:
            due.at = self._clock() + min(LONGEST_WAIT, FIRST_WAIT * 2 ** (due.attempts - 1))
            self._log.event("notice_failed", channel=due.channel, rule=due.notice.rule, attempt=due.attempts)
            return
        if due.notice.event == "opened":
            self._heard.add(due.channel)
        if due.notice.event == "opened" and channel.every is not None:
            due.at, due.attempts = self._clock() + channel.every, 0
        else:
            self._due.remove(due)
        self._log.event("notice_sent", channel=due.channel, rule=due.notice.rule, kind=due.notice.event)

    def _notice(self, event: str, now: datetime) -> Notice:
        assert self._since is not None
        message = f"The database does not answer, as {self._instance} sees it. Accepted tickets are kept on its disk."
        return Notice(
            key=f"database-{self._instance}-{int(self._since.timestamp())}-{event}", event=event, rule=self._rule.name, subject=self._instance,
            severity=self._rule.severity.value, message=message, opened_at=self._since, resolved_at=now if event == "resolved" else None,
            link=self._page,
        )
