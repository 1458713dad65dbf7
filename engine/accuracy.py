"""Historical accuracy: how often each department and method was right, counted from reviewed outcomes alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from engine.accuracy_snapshot import (
    BAND_HIGH_FROM,
    BAND_MEDIUM_FROM,
    AccuracySnapshot,
    Band,
    Cell,
    Gate,
    GateState,
    Key,
    band_of,
)
from engine.intervals import effective_size, wilson_weighted

__all__ = [
    "BAND_HIGH_FROM",
    "BAND_MEDIUM_FROM",
    "AccuracySnapshot",
    "AccuracyTracker",
    "Band",
    "Cell",
    "Gate",
    "GateState",
    "ReviewedLabel",
    "band_of",
]

HALF_LIFE_DAYS = 14.0
# Weights are kept as whole millionths: sums of whole numbers do not depend on the order they were made in.
_UNIT = 1_000_000
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedLabel:
    """What a review said about one decision.

    ticket_id      whose decision; one label per ticket counts, the one with the highest `revision`
    department     the department that was decided, not the one that turned out right
    method         how it was decided
    confidence     the calibrated confidence shown, in [0, 1]
    correct        whether the decided department was right
    at             when the decision was made, timezone-aware
    sampling_rate  probability in (0, 1] with which such a ticket came into the review queue; 1 when all do
    revision       0 for the first label, higher for each later one
    """

    ticket_id: str
    department: str
    method: str
    confidence: float
    correct: bool
    at: datetime
    sampling_rate: float = 1.0
    revision: int = 0

    def __post_init__(self) -> None:
        if not self.ticket_id or not self.department or not self.method:
            raise ValueError("a label needs ticket_id, department and method")
        band_of(self.confidence)
        if self.at.tzinfo is None:
            raise ValueError(f"label of ticket {self.ticket_id} has a time without a time zone")
        if not 1e-6 <= self.sampling_rate <= 1.0:
            raise ValueError(f"sampling_rate must lie in (0, 1], got {self.sampling_rate}")
        if self.revision < 0:
            raise ValueError(f"revision must not be negative, got {self.revision}")

    @property
    def rank(self) -> tuple[object, ...]:
        """Of two labels of a ticket the higher rank counts: a total order, hence the same whichever came first."""
        content = (self.correct, str(self.department), str(self.method), self.confidence, self.sampling_rate)
        return (self.revision, self.at.astimezone(UTC), *content)


@dataclass(slots=True)
class _Sums:
    """Exact sums over the labels of one department, method, band and day."""

    count: int = 0
    right: int = 0
    weight: int = 0
    right_weight: int = 0
    squared: int = 0

    def add(self, label: ReviewedLabel, sign: int) -> None:
        weight = round(_UNIT / label.sampling_rate)
        self.count += sign
        self.weight += sign * weight
        self.squared += sign * weight * weight
        if label.correct:
            self.right += sign
            self.right_weight += sign * weight


class AccuracyTracker:
    """Counts reviewed outcomes as they arrive; a router reads the snapshots it makes.

    The same labels and corrections give the same numbers in any order, repeated or not, from any number of threads:
    per ticket the label with the highest revision counts, and all sums are whole numbers. A ticket that nobody reviewed
    is not in here at all. Because the review queue takes doubtful tickets more often, each label weighs the inverse of
    its sampling rate (D. G. Horvitz, D. J. Thompson, JASA 47, 1952; normalised by the sum of the weights).
    Memory: one label per reviewed ticket.
    """

    __slots__ = ("_days", "_labels", "_lock")

    def __init__(self) -> None:
        self._labels: dict[str, ReviewedLabel] = {}
        self._days: dict[tuple[str, str, Band, int], _Sums] = {}
        self._lock = Lock()

    @classmethod
    def from_labels(cls, labels: Iterable[ReviewedLabel]) -> AccuracyTracker:
        """A recount: a tracker that has seen these labels, in whatever order."""
        tracker = cls()
        for label in labels:
            tracker.record(label)
        return tracker

    def record(self, label: ReviewedLabel) -> bool:
        """Count a label; False when the very same one, or one of its ticket that outranks it, is counted already."""
        with self._lock:
            known = self._labels.get(label.ticket_id)
            if known is not None and label.rank <= known.rank:
                return False
            if known is not None:
                self._add(known, -1)
            self._labels[label.ticket_id] = label
            self._add(label, 1)
            return True

    def __len__(self) -> int:
        return len(self._labels)

    def snapshot(self, now: datetime, *, half_life: float = HALF_LIFE_DAYS) -> AccuracySnapshot:
        """The counts as of `now` (timezone-aware), immutable.

        In the recent view a label counts as 0.5 ** (age / half_life) of a label of today, both in days; the age runs from
        the start of the label's UTC day to the start of the day of `now`, never below 0. Where all labels together are
        worth less than one of today, there is no recent view. Raises ValueError for a half-life that is
        not above 0 or a time without a zone.
        """
        if now.tzinfo is None:
            raise ValueError("now has no time zone")
        if not (math.isfinite(half_life) and half_life > 0.0):
            raise ValueError(f"half_life must be a number of days above 0, got {half_life}")
        with self._lock:
            days = sorted(
                (key, (sums.count, sums.right, sums.weight, sums.right_weight, sums.squared))
                for key, sums in self._days.items()
            )
        gathered: dict[Key, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
        today = _day(now)
        for (department, method, band, day), sums in days:
            for key in _keys(department, method, band):
                gathered[key].append((max(0, today - day), sums))
        return AccuracySnapshot(
            taken_at=now, cells={key: _cell(parts, half_life) for key, parts in gathered.items()}
        )

    def _add(self, label: ReviewedLabel, sign: int) -> None:
        key = (str(label.department), str(label.method), band_of(label.confidence), _day(label.at))
        sums = self._days.setdefault(key, _Sums())
        sums.add(label, sign)
        if sums.count == 0:
            del self._days[key]


def _day(at: datetime) -> int:
    return math.floor(at.timestamp() / _SECONDS_PER_DAY)


def _keys(department: str, method: str, band: Band) -> list[Key]:
    """Every cell that a label counts in: each of the three given or left open."""
    return [(d, m, b) for d in (department, None) for m in (method, None) for b in (band, None)]


def _cell(parts: list[tuple[int, tuple[int, ...]]], half_life: float) -> Cell:
    """All-time and recent view of one cell from (age in days, sums) of its days."""
    count, right, weight, right_weight, squared = (sum(column) for column in zip(*(p for _, p in parts), strict=True))
    lower, upper = wilson_weighted(right_weight / _UNIT, weight / _UNIT, squared_weight=squared / _UNIT**2)
    # A faded label is a fraction of a label: were it one that weighs less, old labels alone would seem as many as new ones.
    fade = [(0.5 ** (age / half_life), sums) for age, sums in parts]
    recent_weight = math.fsum(share * sums[2] / _UNIT for share, sums in fade)
    recent_right = min(recent_weight, math.fsum(share * sums[3] / _UNIT for share, sums in fade))
    recent_squared = math.fsum(share * sums[4] / _UNIT**2 for share, sums in fade)
    recent_size = effective_size(recent_weight, recent_squared)
    lately = recent_size >= 1.0 - 1e-9
    recent_lower, recent_upper = (
        wilson_weighted(recent_right, recent_weight, squared_weight=recent_squared) if lately else (0.0, 1.0)
    )
    return Cell(
        n=count,
        successes=right,
        effective=effective_size(weight / _UNIT, squared / _UNIT**2),
        rate=right_weight / weight,
        lower=lower,
        upper=upper,
        recent=recent_right / recent_weight if lately else None,
        recent_lower=recent_lower,
        recent_upper=recent_upper,
        recent_effective=recent_size,
    )
