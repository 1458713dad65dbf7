"""The rules that are shipped, and what a manager may change about one."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from math import isfinite
from typing import Any

from engine.errors import PolicyRejected

# In minutes.
HOUR, DAY = 60, 24 * 60


class Severity(StrEnum):
    """How soon somebody has to look: now, or today."""

    CRITICAL = "critical"
    WARNING = "warning"


class Measure(StrEnum):
    """What a rule looks at. Shares lie in [0, 1], times are seconds."""

    HIT_RATE = "hit_rate"
    MEAN_SECONDS = "mean_seconds"
    DATABASE_FAILURES = "database_failures"
    INDEX_ERROR_SHARE = "index_error_share"
    MEMORY_SHARE = "memory_share"
    AVAILABILITY = "availability"
    LOW_SHARE = "low_share"
    ACCURACY = "accuracy"
    FALSE_HIT_RATE = "false_hit_rate"
    WAITING = "waiting"
    SPOOLED = "spooled"
    SET_ASIDE = "set_aside"
    DRIFT_CONFIDENCE = "drift_confidence"
    DRIFT_DEPARTMENT = "drift_department"
    CALIBRATION_ERROR = "calibration_error"
    SHORTFALL = "shortfall"
    WITHOUT_WORKER = "without_worker"


SHARES = frozenset({
    Measure.HIT_RATE, Measure.INDEX_ERROR_SHARE, Measure.MEMORY_SHARE, Measure.AVAILABILITY, Measure.LOW_SHARE, Measure.ACCURACY,
    Measure.FALSE_HIT_RATE, Measure.SHORTFALL,
})
COUNTS = frozenset({Measure.WAITING, Measure.SPOOLED, Measure.SET_ASIDE, Measure.DATABASE_FAILURES, Measure.WITHOUT_WORKER})
# What these say is so at the moment, whatever was before.
AT_THE_MOMENT = frozenset({Measure.WAITING, Measure.SPOOLED, Measure.SET_ASIDE, Measure.MEMORY_SHARE, Measure.WITHOUT_WORKER})
# Calls of services are counted for eight days (`db.services`), decisions and labels for good.
OF_SERVICES = frozenset({Measure.AVAILABILITY, Measure.DATABASE_FAILURES, Measure.INDEX_ERROR_SHARE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One condition that somebody wants to know about.

    above      True: wrong above `threshold`; False: wrong under it. Exactly at the threshold nothing is wrong
    clear      the value at which an open alert resolves: on the good side of the threshold, so that it does not flap
    window     how far back the measure looks
    minimum    the smallest sample (tickets, labels, calls, probes) that counts as evidence
    hold       how long it must be wrong without a break before the alert opens
    """

    name: str
    title: str
    severity: Severity
    measure: Measure
    above: bool
    threshold: float
    clear: float
    window: timedelta
    minimum: int
    hold: timedelta
    enabled: bool = True

    @property
    def unit(self) -> str:
        """The unit that people read and write the figure in: %, points (of percent), s, or nothing for counts and indices."""
        if self.measure is Measure.SHORTFALL:
            return "points"
        return "%" if self.measure in SHARES else "s" if self.measure is Measure.MEAN_SECONDS else ""

    @property
    def scale(self) -> int:
        """What the figure is multiplied with to be read in its unit."""
        return 100 if self.measure in SHARES else 1

    @property
    def looked_back(self) -> str:
        """How far back the figure looks, as " in 7 days" behind it in a sentence; empty for what is read at the moment."""
        if self.measure in AT_THE_MOMENT:
            return ""
        minutes = self.window.total_seconds() / 60
        units = ((DAY, "day"), (HOUR, "hour"), (1, "minute"))
        size, name = next(unit for unit in units if minutes % unit[0] == 0 or unit[0] == 1)
        return f" in {minutes / size:g} {name}{'' if minutes == size else 's'}"

    @property
    def longest_window(self) -> timedelta:
        """How far back it may look at most."""
        return timedelta(days=7 if self.measure in OF_SERVICES else 90)

    @property
    def note(self) -> str:
        """What else has to be known about it, one sentence; empty for most rules."""
        if self.measure in (Measure.DRIFT_CONFIDENCE, Measure.DRIFT_DEPARTMENT):
            return "Opens only when the index is also above what chance gives for samples of these sizes in 99 of 100 comparisons."
        if self.measure is Measure.ACCURACY:
            return "Where a policy reviews none of the sure tickets, it speaks for the others alone, which are right less often."
        if self.measure is Measure.SHORTFALL:
            return (
                "Counts what went alone with the target and thresholds in force; says nothing without a target. Opens only when chance "
                "gives so much in one of 1,000 looks, and lasts while in one of 20. The Policy page offers thresholds from newer labels."
            )
        if self.measure is Measure.WITHOUT_WORKER:
            return (
                "Counts consoles with BACKGROUND_WORK=worker while no `python -m engine worker` reports: labels count at once, but nothing "
                "is fitted anew."
            )
        if self.measure is Measure.SET_ASIDE:
            return (
                "On the machine that counts them `python -m engine spool` says why; `--retry` brings them back, with `--new-ids` where an "
                "id is taken."
            )
        return ""

    def breached(self, value: float) -> bool:
        """True on the wrong side of the threshold."""
        return value > self.threshold if self.above else value < self.threshold

    def cleared(self, value: float) -> bool:
        """True when an open alert may resolve."""
        return value <= self.clear if self.above else value >= self.clear

    def shown(self, value: float) -> str:
        """The value with its unit."""
        if self.measure in SHARES:
            return f"{100 * value:.1f}{'' if self.unit == '%' else ' '}{self.unit}"
        if self.measure is Measure.MEAN_SECONDS:
            return f"{value:.2f} s"
        return f"{value:,.0f}" if self.measure in COUNTS else f"{value:.3f}"

    def edited(self, changes: Mapping[str, Any]) -> Rule:
        """The rule with a manager's changes: threshold, clear, window_minutes, minimum, hold_minutes, severity, enabled.

        Raises PolicyRejected for values that contradict each other; unknown names are left out.
        """
        try:
            rule = replace(
                self,
                threshold=float(changes.get("threshold", self.threshold)),
                clear=float(changes.get("clear", self.clear)),
                window=timedelta(minutes=float(changes.get("window_minutes", self.window.total_seconds() / 60))),
                minimum=int(changes.get("minimum", self.minimum)),
                hold=timedelta(minutes=float(changes.get("hold_minutes", self.hold.total_seconds() / 60))),
                severity=Severity(changes.get("severity", self.severity)),
                enabled=bool(changes.get("enabled", self.enabled)),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise PolicyRejected(f"{self.title}: {error}. The rule was not changed.") from error
        if not isfinite(rule.threshold) or not isfinite(rule.clear):
            raise PolicyRejected(f"{self.title}: what it opens at and what it resolves at must be numbers. The rule was not changed.")
        if self.measure in SHARES and not (0 <= rule.threshold <= 1 and 0 <= rule.clear <= 1):
            raise PolicyRejected(f"{self.title}: what it opens at and what it resolves at are shares from 0 to 100%. The rule was not changed.")
        if rule.breached(rule.clear):
            side = "at most" if self.above else "at least"
            raise PolicyRejected(
                f"{self.title}: it resolves at {rule.shown(rule.clear)}, which must be {side} the threshold {rule.shown(rule.threshold)}. "
                "The rule was not changed."
            )
        if not timedelta(minutes=1) <= rule.window <= self.longest_window or not timedelta(0) <= rule.hold <= timedelta(days=1):
            raise PolicyRejected(
                f"{self.title}: it may look back 1 minute to {self.longest_window.days} days, and open after a day at most. The rule was not changed."
            )
        if rule.minimum < 0:
            raise PolicyRejected(f"{self.title}: the smallest sample must not be negative. The rule was not changed.")
        return rule

    def config(self) -> dict[str, Any]:
        """What `edited` takes to make this rule again."""
        return {
            "threshold": self.threshold, "clear": self.clear, "window_minutes": self.window.total_seconds() / 60,
            "minimum": self.minimum, "hold_minutes": self.hold.total_seconds() / 60, "severity": self.severity.value,
            "enabled": self.enabled,
        }


def _rule(
    severity: Severity, name: str, title: str, measure: Measure, compare: str, threshold: float, clear: float, *,
    window: int, minimum: int, hold: int,
) -> Rule:
    """`window` and `hold` in minutes."""
    return Rule(
        name=name, title=title, severity=severity, measure=measure, above=compare == ">", threshold=threshold, clear=clear,
        window=timedelta(minutes=window), minimum=minimum, hold=timedelta(minutes=hold),
    )


_C, _W = Severity.CRITICAL, Severity.WARNING
SHIPPED: tuple[Rule, ...] = (
    _rule(_C, "hit_rate_critical", "Hit rate very low", Measure.HIT_RATE, "<", 0.15, 0.18, window=HOUR, minimum=50, hold=5),
    _rule(_C, "processing_critical", "Processing very slow", Measure.MEAN_SECONDS, ">", 10, 8, window=15, minimum=10, hold=2),
    _rule(_C, "database_failures", "Database connections fail", Measure.DATABASE_FAILURES, ">", 0, 0, window=5, minimum=1, hold=0),
    _rule(_C, "index_errors", "Vector index fails", Measure.INDEX_ERROR_SHARE, ">", 0.05, 0.02, window=15, minimum=20, hold=1),
    _rule(_C, "memory", "Memory nearly full", Measure.MEMORY_SHARE, ">", 0.90, 0.85, window=5, minimum=1, hold=2),
    _rule(_C, "availability", "Availability below target", Measure.AVAILABILITY, "<", 0.99, 0.995, window=HOUR, minimum=40, hold=0),
    _rule(_W, "hit_rate_warning", "Hit rate low", Measure.HIT_RATE, "<", 0.25, 0.28, window=HOUR, minimum=50, hold=10),
    _rule(_W, "processing_warning", "Processing slow", Measure.MEAN_SECONDS, ">", 5, 4, window=15, minimum=10, hold=5),
    _rule(_W, "low_confidence", "Many tickets with low confidence", Measure.LOW_SHARE, ">", 0.30, 0.25, window=HOUR, minimum=50, hold=10),
    _rule(_W, "accuracy", "Accuracy below target", Measure.ACCURACY, "<", 0.85, 0.87, window=7 * DAY, minimum=30, hold=0),
    _rule(_W, "false_hits", "Known cases answered wrongly", Measure.FALSE_HIT_RATE, ">", 0.01, 0.008, window=7 * DAY, minimum=100, hold=0),
    _rule(_W, "hit_rate_high", "Hit rate suspiciously high", Measure.HIT_RATE, ">", 0.98, 0.95, window=HOUR, minimum=200, hold=10),
    _rule(_W, "tickets_waiting", "Tickets wait to be routed", Measure.WAITING, ">", 100, 80, window=1, minimum=0, hold=2),
    _rule(_W, "spool", "Tickets wait on disk for the database", Measure.SPOOLED, ">", 0, 0, window=1, minimum=0, hold=1),
    _rule(_W, "set_aside", "Accepted tickets cannot be stored", Measure.SET_ASIDE, ">", 0, 0, window=1, minimum=0, hold=1),
    _rule(_W, "without_worker", "Consoles wait for a worker", Measure.WITHOUT_WORKER, ">", 0, 0, window=1, minimum=0, hold=5),
    _rule(_W, "drift_confidence", "Confidence has shifted", Measure.DRIFT_CONFIDENCE, ">", 0.2, 0.15, window=DAY, minimum=300, hold=30),
    _rule(_W, "drift_department", "Mix of departments has shifted", Measure.DRIFT_DEPARTMENT, ">", 0.2, 0.15, window=DAY, minimum=300, hold=30),
    _rule(_W, "calibration_error", "Shown confidence is off", Measure.CALIBRATION_ERROR, ">", 0.05, 0.04, window=30 * DAY, minimum=200, hold=0),
    _rule(_W, "shortfall", "Routed alone less accurate than the target", Measure.SHORTFALL, ">", 0, 0, window=30 * DAY, minimum=30, hold=0),
)
