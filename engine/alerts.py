"""From readings to alerts: when one opens, when it resolves, and who has to be told."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from engine.alert_rules import SHIPPED, Rule
from engine.errors import Conflict, NotFound, PolicyRejected
from engine.ports import Clock, DecisionLog

SUBJECT_OF_ALL = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a measure says now about `subject` ("" = everything), and on how many tickets, labels or calls it rests.

    A value up to `chance` is what chance alone gives for such a sample; None where the minimum sample is all that counts.
    An alert that is open lasts while the value is above `lasting`, which is `chance` where it is None: a stricter proof is
    needed to open one than to keep it, so that it does not come and go with every label.
    """

    value: float
    sample: int
    subject: str = SUBJECT_OF_ALL
    chance: float | None = None
    lasting: float | None = None

    def proves(self, minimum: int, *, opened: bool) -> bool:
        """True when it is evidence enough, of `minimum` or more, to open an alert or to keep one that is open."""
        chance = self.lasting if opened and self.lasting is not None else self.chance
        return self.sample >= minimum and (chance is None or self.value > chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAlert:
    """An alert that has not resolved."""

    id: int
    rule: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an evaluation wants to be stored for one rule and subject.

    kind is `opened`, `seen` (still wrong), `resolved`, `pending` (wrong, not long enough) or `calm`.
    """

    kind: str
    rule: Rule
    subject: str
    value: float | None = None
    sample: int = 0
    alert_id: int | None = None
    since: datetime | None = None

    @property
    def message(self) -> str:
        """One sentence for people."""
        of = f" ({self.subject})" if self.subject else ""
        if self.value is None:
            return f"{self.rule.title}{of}"
        sign, value = "above" if self.rule.above else "below", f"{self.rule.shown(self.value)}{self.rule.looked_back}"
        limit = f"{sign} {self.rule.shown(self.rule.threshold)}"
        if not self.rule.breached(self.value):
            limit = f"was {limit}, resolves at {self.rule.shown(self.rule.clear)}"
        return f"{self.rule.title}{of}: {value}, {limit}, n = {self.sample:,}"


# Runs in a change's transaction with its connection, the row before and the row after.
Noted = Callable[[Any, Any, Any], None]


class Trail(Protocol):
    """The audit log; `engine.audit.Audit` is one."""

    def record(
        self, actor: str, action: str, kind: str, object_: str, *, before: dict[str, Any] | None = None, after: dict[str, Any] | None = None,
        connection: Any = None,
    ) -> None: ...


class AlertStore(Protocol):
    """Alerts in Postgres; `noted` runs in the transaction of what people do. Raises ServiceUnavailable when the database is away."""

    def edits(self) -> dict[str, dict[str, object]]:
        """The managers' changes of rules, by rule name."""
        ...

    def save_edit(self, name: str, config: Mapping[str, object], *, by: str, now: datetime, noted: Noted) -> None: ...

    def acknowledge(self, alert_id: int, *, by: str, now: datetime, noted: Noted) -> None: ...

    def silence(self, *, rule: str, subject: str, until: datetime, by: str, reason: str, noted: Noted) -> None: ...

    def end_silence(self, silence_id: int, *, now: datetime, noted: Noted) -> None: ...

    def state(self) -> tuple[list[OpenAlert], dict[tuple[str, str], datetime]]:
        """The open alerts, and since when conditions that are not alerts yet have been wrong, by (rule, subject)."""
        ...

    def apply(self, changes: Sequence[Change], *, now: datetime, channels: Sequence[str]) -> None:
        """Store the changes and what each channel has to be told, in one transaction."""
        ...


def judge(
    rule: Rule, readings: Iterable[Reading], *, opened: Mapping[str, OpenAlert], pending: Mapping[str, datetime], now: datetime
) -> list[Change]:
    """What to do about one rule, given its open alerts and pending conditions by subject.

    A sample under the rule's minimum is no evidence, and neither is a value that chance explains: nothing opens on it, and
    what is open resolves, as it does when a subject has no reading any more. Between `clear` and `threshold` an open alert
    stays and nothing new opens.
    """
    changes = []
    seen = set()
    for reading in readings if rule.enabled else ():
        seen.add(reading.subject)
        alert, since = opened.get(reading.subject), pending.get(reading.subject)
        enough = reading.proves(rule.minimum, opened=alert is not None)
        told = {"rule": rule, "subject": reading.subject, "value": reading.value, "sample": reading.sample}
        if alert is not None:
            over = not enough or rule.cleared(reading.value)
            changes.append(Change(kind="resolved" if over else "seen", alert_id=alert.id, **told))
        elif enough and rule.breached(reading.value):
            since = since or now
            changes.append(Change(kind="opened" if now - since >= rule.hold else "pending", since=since, **told))
        elif since is not None:
            changes.append(Change(kind="calm", **told))
    for subject, alert in opened.items():
        if subject not in seen:
            changes.append(Change(kind="resolved", rule=rule, subject=subject, alert_id=alert.id))
    changes += [Change(kind="calm", rule=rule, subject=subject) for subject in pending if subject not in seen]
    return changes


class Alerts:
    """Evaluates the rules, and does what people want done about alerts, each deed with its row in the audit log.

    `measure` gives a rule's readings; `channels` are the names of those to be told.
    """

    def __init__(
        self, *, store: AlertStore, measure: Callable[[Rule, datetime], Sequence[Reading]], audit: Trail, log: DecisionLog, clock: Clock,
        channels: Sequence[str] = (),
    ) -> None:
        self._audit = audit
        self._store = store
        self._measure = measure
        self._log = log
        self._clock = clock
        self._channels = tuple(channels)

    def rules(self) -> list[Rule]:
        """The shipped rules with the managers' changes. Raises ServiceUnavailable."""
        edits = self._store.edits()
        return [_edited(rule, edits.get(rule.name)) for rule in SHIPPED]

    def edit(self, name: str, changes: Mapping[str, object], *, by: str) -> Rule:
        """Change a rule. Raises NotFound, PolicyRejected, and Conflict where somebody else has changed it at the same moment."""
        shipped, edit = next((rule for rule in SHIPPED if rule.name == name), None), self._store.edits().get(name)
        if shipped is None:
            raise NotFound(f"alert rule {name} does not exist. Nothing was changed.")
        rule = _edited(shipped, edit)
        edited = rule.edited(changes)
        old, new = rule.config(), edited.config()
        differing = {field for field in new if new[field] != old[field]}

        def noted(connection: Any, row: Any, _: Any) -> None:
            if (None if row is None else row.config) != edit:
                who = "Somebody" if row is None else row.updated_by
                raise Conflict(f"{who} has changed this rule at the same moment, and what you entered was not stored. Look at it, then change it again.")
            before, after = ({field: config[field] for field in sorted(differing)} for config in (old, new))
            self._audit.record(by, "alert_rule_changed", "alert rule", name, before=before, after=after, connection=connection)

        self._store.save_edit(name, new, by=by, now=self._clock(), noted=noted)
        self._log.event("alert_rule_changed", rule=name, by=by)
        return edited

    def acknowledge(self, alert_id: int, *, by: str) -> None:
        """Say that somebody looks after an open alert. Raises NotFound, ServiceUnavailable."""
        self._store.acknowledge(alert_id, by=by, now=self._clock(), noted=lambda connection, _, row: self._audit.record(
            by, "alert_acknowledged", "alert", f"{row.rule} {row.subject}".strip(), after={"number": row.id}, connection=connection
        ))

    def silence(self, *, rule: str, subject: str, length: timedelta, by: str, reason: str) -> None:
        """Send no notices about a rule's subject ("" = the whole) for this long; about no alert at all where rule and subject are empty.

        Raises ServiceUnavailable.
        """
        self._store.silence(
            rule=rule, subject=subject, until=self._clock() + length, by=by, reason=reason,
            noted=lambda connection, _, row: self._noted_silence(connection, "alert_silenced", row, by=by),
        )

    def end_silence(self, silence_id: int, *, by: str) -> None:
        """End a silence now. Raises NotFound, ServiceUnavailable."""
        self._store.end_silence(
            silence_id, now=self._clock(), noted=lambda connection, _, row: self._noted_silence(connection, "silence_ended", row, by=by)
        )

    def _noted_silence(self, connection: Any, action: str, row: Any, *, by: str) -> None:
        about = f"{row.rule or 'every rule'} {row.subject}".strip()
        self._audit.record(by, action, "silence", about, after={"number": row.id, "until": row.until.isoformat()}, connection=connection)

    def evaluate(self) -> list[Change]:
        """Look at every rule once and store what came of it; the changes that people hear of. Raises ServiceUnavailable.

        The caller makes sure that one instance evaluates at a time.
        """
        now = self._clock()
        alerts, pending = self._store.state()
        changes: list[Change] = []
        for rule in self.rules():
            changes += judge(
                rule, self._measure(rule, now) if rule.enabled else (),
                opened={alert.subject: alert for alert in alerts if alert.rule == rule.name},
                pending={subject: since for (name, subject), since in pending.items() if name == rule.name}, now=now,
            )
        self._store.apply(changes, now=now, channels=self._channels)
        heard = [change for change in changes if change.kind in ("opened", "resolved")]
        for change in heard:
            self._log.event(
                f"alert_{change.kind}", rule=change.rule.name, subject=change.subject, severity=change.rule.severity.value,
                value=change.value, sample=change.sample,
            )
        return heard


def _edited(rule: Rule, edit: Mapping[str, object] | None) -> Rule:
    if not edit:
        return rule
    longest = rule.longest_window / timedelta(minutes=1)
    # An earlier version allowed some to look back further.
    long = isinstance(edit.get("window_minutes"), (int, float)) and edit["window_minutes"] > longest
    try:
        return rule.edited({**edit, "window_minutes": longest} if long else edit)
    except PolicyRejected:
        # An edit that an older version stored and this one refuses: the shipped rule is better than none.
        return rule
