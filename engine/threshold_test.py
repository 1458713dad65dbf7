"""The test behind a threshold with a guarantee: what the labels at and above each candidate threshold allow to promise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr
from scipy.stats import hypergeom

# Candidate thresholds are fixed before any label is seen, as the proof asks: even steps of the log-odds, 0 at the end.
CANDIDATES = np.append(1.0 / (1.0 + np.exp(-np.linspace(12.0, -12.0, 2401))), 0.0)
# Where testing starts (share of the labels covered) and the share of delta spent there; what a start wins, it passes on.
STARTS = ((0.2, 0.7), (0.4, 0.1), (0.6, 0.1), (0.8, 0.1))
MOST_LABELS = 1_000_000
_ROUNDING = 1e-9

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LabelCounts:
    """The labels at and above each candidate threshold, highest candidate first; only candidates that add a label.

    thresholds   the candidates, falling
    covered      labels at or above each; `wrong` of them were routed wrong
    coverage     share of tickets they stand for, in (0, 1]; `rate` is the share of wrong ones (both weighted)
    trials       to how many evenly drawn labels the evidence amounts; `errors` of them wrong, rounded up
    """

    thresholds: Array
    covered: Counts
    wrong: Counts
    coverage: Array
    rate: Array
    trials: Counts
    errors: Counts

    @classmethod
    def of(cls, confidence: Array, correct: NDArray[np.bool_], weights: Array) -> LabelCounts:
        """Count the labels; arrays of length 0 without labels. Inputs [n] are taken as checked."""
        order = np.argsort(-confidence, kind="stable")
        covered = np.searchsorted(-confidence[order], -CANDIDATES, side="right")
        covered, first = np.unique(covered, return_index=True)
        first, covered = first[covered > 0], covered[covered > 0]
        last = covered - 1
        mass, wrong = weights[order], ~correct[order]
        weight = np.cumsum(mass)[last]
        bad_weight = np.minimum(np.cumsum(mass * wrong)[last], weight)
        largest = np.maximum.accumulate(mass)[last] if len(last) else np.zeros(0)
        trials = np.minimum(np.floor(weight / largest + _ROUNDING), covered).astype(np.int64)
        rate = bad_weight / weight
        return cls(
            thresholds=CANDIDATES[first],
            covered=covered.astype(np.int64),
            wrong=np.cumsum(wrong)[last].astype(np.int64),
            coverage=weight / weights.sum() if len(last) else np.zeros(0),
            rate=rate,
            trials=trials,
            errors=np.minimum(np.ceil(rate * trials - _ROUNDING), trials).astype(np.int64),
        )

    def lowest(self, target: float, delta: float, *, horizon: int | None) -> int | None:
        """Index of the lowest candidate whose promise can be given, or None. See `derive_threshold` for the rules."""
        ahead = None if horizon is None else np.floor(horizon * self.coverage + 0.5).astype(np.int64)
        p_values = promise_p_values(self.errors, self.trials, ahead, target=target)
        # Starts depend on counts alone: a candidate that even a clean record could not carry is passed over untested.
        blank = promise_p_values(np.zeros_like(self.errors), self.trials, ahead, target=target)
        able = np.flatnonzero(blank <= delta)
        if not len(able):
            return None
        granted = np.zeros(len(p_values))
        for share, portion in STARTS:
            at = int(np.searchsorted(self.coverage, share - _ROUNDING))
            granted[max(at, int(able[0]))] += portion * delta
        found, budget = None, 0.0
        for i in range(int(able[0]), len(p_values)):
            budget += granted[i]
            if budget > 0.0 and p_values[i] <= budget:
                found = i
            else:
                budget = 0.0
        return found

    def labels_wanted(self, target: float, delta: float, *, bounded: bool) -> int | None:
        """How many labels in all would carry the promise if they turned out like these; None when no number would.

        `bounded` says that a batch as large as the labels is promised, not the long run alone.
        """
        useful = np.flatnonzero((self.rate < 1.0 - target) & (self.coverage >= STARTS[0][0]))
        if not len(useful):
            return None
        picks = useful[np.unique(np.linspace(0, len(useful) - 1, 200).astype(np.intp))]
        # Uneven weights make a label worth less than one; more labels of the same kind stay worth as much.
        worth = self.trials[-1] / self.covered[-1]
        return fewest_labels(self.rate[picks], self.coverage[picks] * worth, target, delta=delta, bounded=bounded)


def promise_p_values(errors: Counts, trials: Counts, ahead: Counts | None, *, target: float) -> Array:
    """p-values [c] against keeping `target`: the larger one of the long-run test and of the test on the coming batch.

    `errors` of `trials` labels were wrong; `ahead` is how many coming tickets are counted (None for the long run only).
    Long run: P(Binomial(trials, 1 - target) <= errors). Batch: with b the fewest errors among `ahead` that break the
    target, P(Hypergeometric <= errors) when errors + b are spread over trials + ahead tickets and `trials` are drawn;
    a batch that breaks the target and a record as clean as this one go together no more often than that.
    """
    values = np.where(trials > 0, bdtr(errors.astype(np.float64), np.maximum(trials, 1), 1.0 - target), 1.0)
    if ahead is None:
        return values
    breaking = np.floor(ahead * (1.0 - target) + _ROUNDING).astype(np.int64) + 1
    possible = np.minimum(breaking, np.maximum(ahead, 1))
    batch = hypergeom.cdf(errors, trials + np.maximum(ahead, 1), errors + possible, trials)
    return np.maximum(values, np.where(breaking <= ahead, batch, 0.0))


def fewest_labels(rates: Array, coverages: Array, target: float, *, delta: float, bounded: bool) -> int | None:
    """Fewest labels (evenly drawn, in all) with which one of the thresholds passes; None above a million.

    `rates` [c] are the error rates above each threshold, `coverages` [c] in (0, 1] the share of labels above it.
    """

    def enough(labels: int) -> bool:
        trials = np.floor(labels * coverages + _ROUNDING).astype(np.int64)
        errors = np.ceil(rates * trials - _ROUNDING).astype(np.int64)
        values = promise_p_values(errors, trials, trials if bounded else None, target=target)
        return bool(np.any(values <= delta))

    high = 1
    while not enough(high):
        high *= 2
        if high > MOST_LABELS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def typical_need(target: float, delta: float, *, bounded: bool) -> int:
    """Labels that a router halfway between the target and perfection would need, all of them covered."""
    wanted = fewest_labels(np.array([(1.0 - target) / 2.0]), np.ones(1), target, delta=delta, bounded=bounded)
    return MOST_LABELS if wanted is None else wanted


def check_promise(target: float, delta: float) -> None:
    """ValueError unless both lie strictly between 0 and 1."""
    for name, value in (("target", target), ("delta", delta)):
        if not (math.isfinite(value) and 0.0 < value < 1.0):
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
