"""What each alert rule looks at, read from rollups, labels and the instances' reports."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from engine.alert_rules import Measure, Rule
from engine.alerts import Reading
from engine.drift import department_drift, histogram_drift
from engine.figures import Tally
from engine.kept import LASTS, OPENS, Kept
from engine.reported import without_worker
from engine.timeline import ChartWindow

# What the last day is compared with.
DRIFT_REFERENCE = timedelta(days=14)
ALIVE = timedelta(minutes=2)
# An outage is seen a few seconds after its first failure, which may lie in the minute before.
NOTICED_AFTER = timedelta(minutes=1)


class Figures(Protocol):
    """Counts of decisions; `db.charts.Charts` is one."""

    def totals(self, window: ChartWindow) -> Tally: ...

    def departments(self, window: ChartWindow) -> dict[str, Tally]: ...


class Services(Protocol):
    """Counts of calls, and the living instances; `db.services.Services` is one."""

    def totals(
        self, service: str, *, since: datetime, without: Sequence[tuple[datetime, datetime]] = ()
    ) -> tuple[int, int]: ...

    def alive(self, *, since: datetime) -> Sequence[Any]: ...


class Readings:
    """Reads a rule's measure. `waiting` counts accepted tickets that are not routed yet.

    `calibration` gives (expected calibration error, labels) of the labels since a time, `kept` what they say of tickets that
    went alone under the target in force, by department. Demo tickets are left out as soon as there is a real one, because
    nobody should be woken for them: `demo` says whether they count. `covered` gives, by rule, the times of outages since a
    time that people were told of while they lasted: what failed then is no news. `changed` gives the retired departments, and those
    that are live since a time or later.
    """

    def __init__(
        self, *, figures: Figures, services: Services, waiting: Callable[[], int], demo: Callable[[], bool],
        calibration: Callable[[datetime], tuple[float, int]], kept: Callable[[datetime], Sequence[Kept]],
        covered: Callable[[str, datetime], Sequence[tuple[datetime, datetime]]],
        changed: Callable[[datetime], tuple[Collection[str], Collection[str]]],
    ) -> None:
        self._changed = changed
        self._covered = covered
        self._figures = figures
        self._services = services
        self._waiting = waiting
        self._demo = demo
        self._calibration = calibration
        self._kept = kept

    def __call__(self, rule: Rule, now: datetime) -> Sequence[Reading]:
        """The rule's readings at `now`: one, or one for each subject. Raises ServiceUnavailable."""
        since = now - rule.window
        match rule.measure:
            case Measure.HIT_RATE | Measure.MEAN_SECONDS | Measure.LOW_SHARE | Measure.FALSE_HIT_RATE:
                return _of_tally(rule.measure, self._figures.totals(self._window(since, now)))
            case Measure.ACCURACY:
                found = self._figures.departments(self._window(since, now))
                every = [("", sum(found.values(), start=Tally())), *sorted(found.items())]
                return [
                    Reading(value=t.accuracy, sample=round(t.sampled_labels), subject=name) for name, t in every if t.accuracy is not None
                ]
            case Measure.DRIFT_CONFIDENCE | Measure.DRIFT_DEPARTMENT:
                return self._drift(rule, since, now)
            case Measure.CALIBRATION_ERROR:
                error, labels = self._calibration(since)
                return [Reading(value=error, sample=labels)]
            case Measure.SHORTFALL:
                return _shortfalls(self._kept(since))
            case Measure.INDEX_ERROR_SHARE:
                return _share_of_errors(*self._services.totals("index", since=since))
            case Measure.AVAILABILITY:
                probes, failed = self._services.totals("console", since=since)
                return [Reading(value=1 - failed / probes, sample=probes)] if probes else []
            case Measure.DATABASE_FAILURES:
                told = [(_minute(start - NOTICED_AFTER), end) for start, end in self._covered(rule.name, since)]
                calls, failed = self._services.totals("database", since=since, without=told)
                return [Reading(value=failed, sample=max(calls, failed))]
            case Measure.MEMORY_SHARE:
                return [Reading(value=i.memory_share, sample=1, subject=i.name) for i in self._services.alive(since=now - ALIVE)]
            case Measure.WAITING:
                return [Reading(value=self._waiting(), sample=1)]
            case Measure.SPOOLED:
                return [Reading(value=sum(i.spooled for i in self._services.alive(since=now - ALIVE)), sample=1)]
            case Measure.SET_ASIDE:
                return [Reading(value=sum(i.set_aside for i in self._services.alive(since=now - ALIVE)), sample=1)]
            case Measure.WITHOUT_WORKER:
                return [Reading(value=without_worker(self._services.alive(since=now - ALIVE)), sample=1)]

    def _window(self, start: datetime, end: datetime) -> ChartWindow:
        return ChartWindow(_minute(start), end, self._demo())

    def _drift(self, rule: Rule, since: datetime, now: datetime) -> Sequence[Reading]:
        new, old = self._window(since, now), self._window(since - DRIFT_REFERENCE, _minute(since))
        if rule.measure is Measure.DRIFT_CONFIDENCE:
            found = histogram_drift(self._figures.totals(old).confidence, self._figures.totals(new).confidence)
        else:
            before, after = ({name: tally.n for name, tally in self._figures.departments(window).items()} for window in (old, new))
            together = self._replaced({*before, *after}, since - DRIFT_REFERENCE)
            found = department_drift(_as_one(before, together), _as_one(after, together))
        sample = min(found.expected, found.actual)
        return [Reading(value=found.index if sample else 0.0, sample=sample, chance=found.chance)]

    def _replaced(self, names: set[str], since: datetime) -> set[str]:
        """Those of the departments with tickets that were retired, and those that came since and may have taken their place; else none.

        A renamed or divided department gets the tickets that it got before, which is no drift. Which of the new ones has whose tickets
        nobody says, so they are counted as one.
        """
        retired, added = self._changed(since)
        gone = names.intersection(retired)
        return gone | names.intersection(added) if gone else gone


def _as_one(counts: Mapping[str, int], names: set[str]) -> Counter[str]:
    """The counts with those of `names` added up under one name."""
    found: Counter[str] = Counter()
    for name, n in counts.items():
        found["" if name in names else name] += n
    return found


def _of_tally(measure: Measure, tally: Tally) -> Sequence[Reading]:
    value, sample = {
        Measure.HIT_RATE: (tally.hit_rate, tally.n),
        Measure.MEAN_SECONDS: (tally.mean_ms / 1000 if tally.mean_ms is not None else None, tally.n),
        Measure.LOW_SHARE: (tally.low_share, tally.n),
        Measure.FALSE_HIT_RATE: (tally.false_hit_rate, round(tally.hit_labels)),
    }[measure]
    return [Reading(value=value, sample=sample)] if value is not None else []


def _shortfalls(found: Sequence[Kept]) -> Sequence[Reading]:
    whole = Kept.together(found)
    return [
        Reading(value=k.shortfall, sample=round(k.labels), subject=k.department, chance=k.chance(OPENS), lasting=k.chance(LASTS))
        for k in ([whole, *found] if whole is not None else [])
    ]


def _share_of_errors(calls: int, errors: int) -> Sequence[Reading]:
    return [Reading(value=min(1.0, errors / max(calls, errors)), sample=max(calls, errors))] if calls or errors else []


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
