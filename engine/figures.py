"""Counts of decisions over some span of time, and the figures that people read from them."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from engine.histograms import CONFIDENCE_BINS, LATENCY_BINS, percentile_ms
from engine.intervals import wilson_weighted

# Lowest confidence bin (twentieths) of each band: High from 0.85, Medium from 0.60, Low under it.
BANDS = (("High", 17, 20), ("Medium", 12, 17), ("Low", 0, 12))


def _zeros(bins: int) -> np.ndarray:
    return np.zeros(bins, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Decisions whose shown confidence lies in one band; `correct` of the `reviewed` ones were right."""

    name: str
    n: int
    reviewed: int
    correct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was counted. Tallies add up; all counts are whole numbers.

    n, hits, auto, degraded   decisions; of these from the cache; routed alone; made without a service
    audited, false_hits       hits that also walked through the whole engine; of these with another department
    total_us                  sum of processing times, microseconds
    weight, weight_correct, weight_squared   labels weighted with 1 / chance of being picked, in thousandths
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
    latency: np.ndarray = field(default_factory=lambda: _zeros(LATENCY_BINS))
    confidence: np.ndarray = field(default_factory=lambda: _zeros(CONFIDENCE_BINS))
    reviewed: np.ndarray = field(default_factory=lambda: _zeros(CONFIDENCE_BINS))
    correct: np.ndarray = field(default_factory=lambda: _zeros(CONFIDENCE_BINS))

    def __add__(self, other: Self) -> Tally:
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in Tally.__slots__})

    @property
    def hit_rate(self) -> float | None:
        """Share answered from earlier tickets, in [0, 1]; None without decisions."""
        return self.hits / self.n if self.n else None

    @property
    def false_hit_rate(self) -> float | None:
        """Share of audited hits whose department was another; None when none was audited."""
        return self.false_hits / self.audited if self.audited else None

    @property
    def auto_rate(self) -> float | None:
        """Share that went straight to the queue; None without decisions."""
        return self.auto / self.n if self.n else None

    @property
    def low_share(self) -> float | None:
        """Share with a shown confidence under 0.60; None without decisions."""
        return int(self.confidence[: BANDS[2][2]].sum()) / self.n if self.n else None

    @property
    def mean_ms(self) -> float | None:
        """Mean processing time in milliseconds; None without decisions."""
        return self.total_us / 1000 / self.n if self.n else None

    @property
    def labels(self) -> int:
        """How many of the decisions were reviewed."""
        return int(self.reviewed.sum())

    @property
    def accuracy(self) -> float | None:
        """Share right among all decisions, estimated from the reviewed ones; None without labels.

        Each label counts 1 / the chance of its ticket to be picked for review (Hajek's estimator), so that reviewing
        doubtful tickets more often does not make the router look worse than it is.
        """
        return self.weight_correct / self.weight if self.weight > 0 else None

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """95 % interval of `accuracy`; (0, 1) without labels."""
        if self.weight <= 0 or self.weight_squared <= 0:
            return 0.0, 1.0
        right = min(self.weight_correct, self.weight)
        return wilson_weighted(right / 1000, self.weight / 1000, squared_weight=self.weight_squared / 1000)

    def percentile_ms(self, share: float) -> float | None:
        """Processing time in milliseconds that `share` of the decisions stay under; None without decisions."""
        return percentile_ms(self.latency.tolist(), share)

    def bands(self) -> list[Band]:
        """High, Medium and Low."""
        return [
            Band(
                name=name, n=int(self.confidence[low:high].sum()), reviewed=int(self.reviewed[low:high].sum()),
                correct=int(self.correct[low:high].sum()),
            )
            for name, low, high in BANDS
        ]
