"""Tells people that the database does not answer, when nothing that stands in the database can: once, and once when it is back."""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.alert_rules import Rule
from engine.alerts import SUBJECT_OF_ALL
from engine.errors import ServiceUnavailable
from engine.notice import MAX_ATTEMPTS, Notice, Told
from engine.notify import Channel, pause
from engine.ports import Clock, DecisionLog

# A database that is started anew is back within this time, and nobody has to hear of it.
SHORTEST = timedelta(seconds=30)


@dataclass(slots=True)
class _Due:
    channel: str
    notice: Notice
    at: datetime
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    """What could be read of the rule when the database last answered; `told` are the channels that know of an open alert of it."""

    rule: Rule
    quiet_until: datetime | None = None
    told: frozenset[str] = frozenset()


class Outage:
    """Watches whether the database `answers`. What it knows is kept in memory, so each instance tells for itself.

    What it tells is the alert of `rule` about everything: whoever knows alerts by their names sees one, however many tell of it.
    `instance` names this process, `page` is the address of the alerts page. `look` belongs on one thread, which waits for
    the receivers; the other methods may be called from any.
    """

    def __init__(
        self, *, answers: Callable[[], bool], channels: Mapping[str, Channel], rule: Rule, page: str, instance: str, clock: Clock, log: DecisionLog,
    ) -> None:
        self._answers = answers
        self._channels = dict(channels)
        self._known = _Known(rule)
        self._page = page
        self._instance = instance
        self._clock = clock
        self._log = log
        self._since: datetime | None = None
        self._opened: Notice | None = None
        self._told: frozenset[str] = frozenset()
        self._due: list[_Due] = []
        self._heard: set[str] = set()
        self._over: list[Told] = []

    def follow(self, *, answers: Callable[[], bool], log: DecisionLog) -> None:
        """There is an engine now, or another one: ask its database, write to its log."""
        self._answers, self._log = answers, log

    def learn(self, rule: Rule, *, quiet_until: datetime | None, told: Collection[str] = ()) -> None:
        """The rule with the managers' changes, until when it is silenced, and which channels know of an open alert of it."""
        self._known = _Known(rule, quiet_until, frozenset(told))

    def settle(self, keep: Callable[[Told], None]) -> bool:
        """Hand what is over to `keep`, which stores it; False while an outage goes on that people were told of. Raises what `keep` raises.

        The failures of an outage are stored after it, or the rule would tell of them a second time.
        """
        over = self._opened is None
        for told in tuple(self._over):
            keep(told)
            with suppress(ValueError):
                self._over.remove(told)
        return over

    def look(self) -> None:
        """Ask the database, and tell what there is to tell; what did not arrive is tried again."""
        answers, now, known = self._answers(), self._clock(), self._known
        if not answers:
            self._since = self._since or now
            quiet = known.quiet_until is not None and now < known.quiet_until
            if self._opened is None and known.rule.enabled and not quiet and now - self._since >= max(known.rule.hold, SHORTEST):
                self._opened = self._notice("opened", now)
                self._told = known.told
                self._log.event("database_outage", since=self._since.isoformat())
                # Whoever wants to hear again and again hears it from here for as long as the database cannot say it.
                self._due = [
                    _Due(name, self._opened, now) for name, channel in self._channels.items() if name not in self._told or channel.every is not None
                ]
        elif self._since is not None:
            if self._opened is not None:
                over = self._notice("resolved", now)
                # Where nobody heard that it began, nobody needs to hear that it is over; an alert that was open before ends by itself.
                heard = frozenset(self._heard - self._told)
                self._due = [_Due(name, over, now) for name in sorted(heard)]
                self._over.append(Told(notice=over, heard=heard, missed=frozenset(self._channels) - heard - self._told))
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
            due.at = self._clock() + pause(due.attempts)
            if due.notice.event == "resolved" and due.attempts >= MAX_ATTEMPTS:
                self._due.remove(due)
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
        message = f"The database does not answer or stores nothing, as {self._instance} sees it. Accepted tickets are kept on its disk."
        # The end is told of what was told to begin, whatever a manager has changed meanwhile.
        rule, severity = (self._opened.rule, self._opened.severity) if self._opened else (self._known.rule.name, self._known.rule.severity.value)
        return Notice(
            key=f"database-{self._instance}-{int(self._since.timestamp())}-{event}", event=event, rule=rule, subject=SUBJECT_OF_ALL,
            severity=severity, message=message, opened_at=self._since, resolved_at=now if event == "resolved" else None, link=self._page,
        )
