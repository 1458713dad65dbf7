"""The accuracy a router reads: immutable numbers per department, method and band, and the gate drawn from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from engine.intervals import clopper_pearson_lower

BAND_HIGH_FROM = 0.85
BAND_MEDIUM_FROM = 0.60
MINIMUM_LABELS = 30
# From so many labels on, the share of right ones says something by itself, even before the minimum is reached.
FEWEST_TO_GATE = 10
# One wrong label is bad luck for anybody, however high the threshold.
FEWEST_WRONG = 2
# How often wrong labels of a group that keeps the threshold may look like evidence against it.
_DOUBT = 0.05
# Keeps n even labels from counting as less or more than n by rounding.
_ROUNDING = 1e-9


class Band(StrEnum):
    """Bands of the shown confidence: high from 0.85, medium from 0.60, low below."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


def band_of(confidence: float) -> Band:
    """The band of a confidence in [0, 1]; a band includes its lower end. ValueError outside, or for NaN."""
    if not 0.0 <= confidence <= 1.0:
        raise ValueError(f"confidence must lie in [0, 1], got {confidence}")
    if confidence >= BAND_HIGH_FROM:
        return Band.HIGH
    return Band.MEDIUM if confidence >= BAND_MEDIUM_FROM else Band.LOW


# Department, method, band; None stands for all of them.
Key = tuple[str | None, str | None, Band | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How often a group of decisions was right.

    n, successes      reviewed decisions and how many of them were right: plain counts
    effective         how many evenly sampled labels they are worth, at most n
    rate              weighted share that was right, in [0, 1]; None without labels
    lower, upper      its 95% Wilson interval at the effective size; (0, 1) without labels
    recent            the same share with older labels fading; None when they are not worth one label of today
    recent_lower, recent_upper, recent_effective   its interval and effective size, in labels of today
    """

    n: int = 0
    successes: int = 0
    effective: float = 0.0
    rate: float | None = None
    lower: float = 0.0
    upper: float = 1.0
    recent: float | None = None
    recent_lower: float = 0.0
    recent_upper: float = 1.0
    recent_effective: float = 0.0


_EMPTY = Cell()


class GateState(StrEnum):
    """Proven: accurate enough on enough labels. Unproven: too few labels to say. Gated: not shown to be accurate."""

    PROVEN = "proven"
    UNPROVEN = "unproven"
    GATED = "gated"


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a department x method may be answered automatically, and why (one sentence for the decision)."""

    state: GateState
    reason: str

    @property
    def gated(self) -> bool:
        """True when it must not be answered automatically. Unproven is not gated, but it is not proven either."""
        return self.state is GateState.GATED


class AccuracySnapshot:
    """The tracked accuracy at one moment. Immutable, shared between threads without a lock; every look-up is O(1)."""

    __slots__ = ("_cells", "_taken_at")

    def __init__(self, *, taken_at: datetime, cells: Mapping[Key, Cell]) -> None:
        self._taken_at = taken_at
        self._cells = MappingProxyType(dict(cells))

    @classmethod
    def empty(cls, taken_at: datetime) -> AccuracySnapshot:
        """Nothing reviewed yet: everything is unproven."""
        return cls(taken_at=taken_at, cells={})

    @property
    def taken_at(self) -> datetime:
        """When it was taken, timezone-aware."""
        return self._taken_at

    @property
    def cells(self) -> Mapping[Key, Cell]:
        """All cells with a label, by (department, method, band), None standing for all; read-only."""
        return self._cells

    def cell(self, department: str | None, method: str | None = None, *, band: Band | None = None) -> Cell:
        """The cell of a department, method and band; None means all of them. Empty where nothing was reviewed."""
        key = (None if department is None else str(department), None if method is None else str(method), band)
        return self._cells.get(key, _EMPTY)

    @property
    def departments(self) -> list[str]:
        """Departments with at least one label, sorted."""
        return sorted({key[0] for key in self._cells if key[0] is not None})

    @property
    def methods(self) -> list[str]:
        """Methods with at least one label, sorted."""
        return sorted({key[1] for key in self._cells if key[1] is not None})

    def gated(self, department: str, method: str, *, threshold: float, minimum: int = MINIMUM_LABELS) -> Gate:
        """Whether decisions for `department` by `method` must not be answered automatically.

        On at least `minimum` effective labels: gated when the lower end of the 95% interval is under `threshold` (in
        [0, 1]), or when the recent view, on at least FEWEST_TO_GATE, lies under it with its whole interval, so that a fall
        is not hidden by a long good past.

        With fewer labels the lower end is under any usual threshold whatever the truth (nine right ones of nine prove
        70%), so it would only say that labels are few, and nothing could ever begin: that is `unproven`, its own state,
        which does not gate (the calibrated confidence still has to pass) and is to be shown as such. It ends as soon as the
        labels themselves speak against the threshold: when the exact lower bound (Clopper-Pearson, 5%) of the error rate
        is above 1 - threshold with FEWEST_WRONG wrong ones or more, or when on at least FEWEST_TO_GATE effective labels
        the share of right ones is under the threshold. Closing early costs a click, staying open costs wrong answers that
        nobody sees; and a decision that is held back always goes to the review queue, so the labels that may open the
        gate again come faster than before.

        Of two groups with the same labels but for one that is right here and wrong there, the better one is never gated
        alone. Effective labels are rounded in favour of the group for the exact bound, which needs whole counts.
        """
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
        if minimum < 0:
            raise ValueError(f"minimum must not be negative, got {minimum}")
        cell = self.cell(department, method)
        seen = f"{cell.successes} of {cell.n} reviewed {method} decisions for {department} were right"
        if cell.n == 0 or cell.effective < minimum - _ROUNDING:
            most = _at_most(cell)
            if most < threshold:
                return Gate(GateState.GATED, f"{seen}: at most {most:.1%} accurate, under {threshold:.1%}")
            if cell.rate is not None and cell.effective >= FEWEST_TO_GATE - _ROUNDING and cell.rate < threshold - _ROUNDING:
                return Gate(GateState.GATED, f"{seen}: {cell.rate:.1%} accurate so far, under {threshold:.1%}")
            worth = f" (worth {cell.effective:.0f} even ones)" if cell.effective < cell.n - 0.5 else ""
            return Gate(GateState.UNPROVEN, f"unproven: {cell.n} reviewed{worth} of {minimum} needed")
        if cell.lower < threshold:
            return Gate(GateState.GATED, f"{seen}: at least {cell.lower:.1%} accurate is proven, under {threshold:.1%}")
        if cell.recent_effective >= FEWEST_TO_GATE and cell.recent_upper < threshold:
            return Gate(
                GateState.GATED, f"{seen}, but lately at most {cell.recent_upper:.1%}, under {threshold:.1%}"
            )
        return Gate(GateState.PROVEN, f"{seen}: at least {cell.lower:.1%} accurate")


def _at_most(cell: Cell) -> float:
    """The accuracy that few labels exclude to be higher, with a doubt of 5%; 1.0 while too few of them are wrong."""
    if cell.rate is None:
        return 1.0
    trials = math.ceil(cell.effective - _ROUNDING)
    wrong = math.floor(cell.effective * (1.0 - cell.rate) + _ROUNDING)
    return 1.0 - clopper_pearson_lower(wrong, trials, delta=_DOUBT) if wrong >= FEWEST_WRONG else 1.0
