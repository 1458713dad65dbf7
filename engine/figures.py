"""Counts of decisions over some span of time, and the figures that people read from them."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from engine.histograms import CONFIDENCE_BINS, LATENCY_BINS, percentile_ms
from engine.intervals import effective_size, wilson_weighted

# Lowest confidence bin (twentieths) of each band: High from 0.85, Medium from 0.60, Low under it.
BANDS = (("High", 17, 20), ("Medium", 12, 17), ("Low", 0, 12))


def _zeros(bins: int) -> np.ndarray:
    return np.zeros(bins, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Decisions whose shown confidence lies in one band; what their labels say of them, as for `Tally`."""

    name: str
    n: int
    labels: float
    accuracy: float | None
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was counted. Tallies add up; all counts are whole numbers.

    n, hits, auto, degraded   decisions; of these from the cache; routed alone; made without a service
    audited, false_hits       hits that also walked through the other stages; of these, those with which the learned router
                              disagreed: who was right is told by labels alone, see `false_hit_rate`
    total_us                  sum of processing times, microseconds
    weight, weight_correct, weight_squared   labels weighted with 1 / chance of being picked, in thousandths
    hit_weights [3]           the same three of the hits alone
    band_weights [3, 3]       the same three (columns) of High, Medium and Low
    latency [66], confidence, reviewed, correct [20]   per bin of `engine.histograms`; the last two count labels
    """

    n: int = 0
    hits: int = 0
    auto: int = 0
    degraded: int = 0
    audited: int = 0
    false_hits: int = 0
    total_us: int = 0
    weight: int = 0
    weight_correct: int = 0
    weight_squared: int = 0
    hit_weights: np.ndarray = field(default_factory=lambda: _zeros(3))
    band_weights: np.ndarray = field(default_factory=lambda: np.zeros((len(BANDS), 3), dtype=np.int64))
    latency: np.ndarray = field(default_factory=lambda: _zeros(LATENCY_BINS))
    confidence: np.ndarray = field(default_factory=lambda: _zeros(CONFIDENCE_BINS))
    reviewed: np.ndarray = field(default_factory=lambda: _zeros(CONFIDENCE_BINS))
    correct: np.ndarray = field(default_factory=lambda: _zeros(CONFIDENCE_BINS))

    @classmethod
    def total(cls, tallies: Sequence[Tally]) -> Tally:
        """All of them added up, at once."""
        if not tallies:
            return cls()
        return cls(**{
            name: np.sum([getattr(t, name) for t in tallies], axis=0) if isinstance(getattr(tallies[0], name), np.ndarray)
            else sum(getattr(t, name) for t in tallies)
            for name in cls.__slots__
        })

    def __add__(self, other: Self) -> Tally:
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in Tally.__slots__})

    @property
    def hit_rate(self) -> float | None:
        """Share answered from earlier tickets, in [0, 1]; None without decisions."""
        return self.hits / self.n if self.n else None

    @property
    def false_hit_rate(self) -> float | None:
        """Share of wrong ones among all hits, estimated from labels as `accuracy` is; None without a label on a hit."""
        right = _rate(*self.hit_weights.tolist())
        return None if right is None else 1 - right

    @property
    def false_hit_interval(self) -> tuple[float, float]:
        """95% interval of `false_hit_rate`; (0, 1) without labels."""
        low, high = _interval(*self.hit_weights.tolist())
        return 1 - high, 1 - low

    @property
    def hit_labels(self) -> float:
        """How many evenly sampled labels `false_hit_rate` rests on."""
        return _size(*self.hit_weights.tolist())

    @property
    def disagreement_rate(self) -> float | None:
        """Share of audited hits with which the learned router disagreed, rightly or not; None when none was audited."""
        return self.false_hits / self.audited if self.audited else None

    @property
    def auto_rate(self) -> float | None:
        """Share that went straight to the queue; None without decisions."""
        return self.auto / self.n if self.n else None

    @property
    def low(self) -> int:
        """Decisions with a shown confidence under 0.60."""
        return int(self.confidence[: BANDS[2][2]].sum())

    @property
    def low_share(self) -> float | None:
        """`low` as a share of the decisions; None without any."""
        return self.low / self.n if self.n else None

    @property
    def mean_ms(self) -> float | None:
        """Mean processing time in milliseconds; None without decisions."""
        return self.total_us / 1000 / self.n if self.n else None

    @property
    def labels(self) -> int:
        """How many of the decisions were reviewed, for whatever reason."""
        return int(self.reviewed.sum())

    @property
    def sampled_labels(self) -> float:
        """How many evenly sampled labels `accuracy` rests on: those that somebody chose to give do not count."""
        return _size(self.weight, self.weight_correct, self.weight_squared)

    @property
    def surely_reviewed(self) -> bool:
        """True where there are labels of sampled tickets, and each of one that was certain to be picked: then `accuracy` is that of those alone."""
        return 0 < self.weight_squared <= self.weight

    @property
    def accuracy(self) -> float | None:
        """Share right among all decisions, estimated from the reviewed ones; None without labels.

        Each label counts 1 / the chance of its ticket to be picked for review (Hajek's estimator), so that reviewing
        doubtful tickets more often does not make the router look worse than it is.
        """
        return _rate(self.weight, self.weight_correct, self.weight_squared)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """95% interval of `accuracy`; (0, 1) without labels."""
        return _interval(self.weight, self.weight_correct, self.weight_squared)

    def percentile_ms(self, share: float) -> float | None:
        """Processing time in milliseconds that `share` of the decisions stay under; None without decisions."""
        return percentile_ms(self.latency.tolist(), share)

    def bands(self) -> list[Band]:
        """High, Medium and Low."""
        return [
            Band(name=name, n=int(self.confidence[low:high].sum()), labels=_size(*sums), accuracy=_rate(*sums), interval=_interval(*sums))
            for (name, low, high), sums in zip(BANDS, self.band_weights.tolist(), strict=True)
        ]


def _rate(weight: int, right: int, squared: int) -> float | None:
    return right / weight if weight > 0 else None


def _size(weight: int, right: int, squared: int) -> float:
    return effective_size(weight / 1000, squared / 1000) if weight > 0 and squared > 0 else 0.0


def _interval(weight: int, right: int, squared: int) -> tuple[float, float]:
    if weight <= 0 or squared <= 0:
        return 0.0, 1.0
    return wilson_weighted(min(right, weight) / 1000, weight / 1000, squared_weight=squared / 1000)
