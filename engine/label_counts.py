"""The test behind a threshold with a guarantee: what the labels at and above each candidate allow to promise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, betaln, ndtri

# Candidate thresholds are fixed before any label is seen, as the proof asks: even steps of the log-odds, 0 at the end.
CANDIDATES = np.append(1.0 / (1.0 + np.exp(-np.linspace(12.0, -12.0, 2401))), 0.0)
# Where testing starts (share of labels covered) and the share of delta spent there; what a start wins, it passes on.
STARTS = ((0.05, 0.05), (0.2, 0.75), (0.4, 0.1), (0.7, 0.1))
MOST_LABELS = 1_000_000
# A forecast of labels needed trusts few labels as little as if this many typical ones had been seen beside them.
FORECAST_STRENGTH = 20.0
# A handful of labels decides nothing, however many of them are wrong; see `fewest_deciding`.
LOOSEST_DECIDING = 0.9
# Share of delta spent on the coming batch; see `promise_p_values`.
BATCH_SHARE = 0.5
# How many of the coming tickets reach a threshold is chance: it is taken at this many equally likely counts.
_COMING = 16
_SPREAD_ENOUGH = 25.0
_ROUNDING = 1e-9
_NEGLIGIBLE = 1e-12
_CHUNK = 32

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Over how many coming tickets a promise is counted: `tickets`, and `per_label` more for each label there is."""

    tickets: int = 0
    per_label: float = 0.0

    def size(self, labels: int) -> int:
        """Its size when there are that many labels."""
        return self.tickets + int(self.per_label * labels + 0.5)


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
    def of(cls, confidence: Array, correct: NDArray[np.bool_], weights: Array, *, heaviest: float = 0.0) -> LabelCounts:
        """Count the labels; arrays of length 0 without labels. Inputs [n] are taken as checked.

        `heaviest` is the least that the largest weight is taken to be.
        """
        order = np.argsort(-confidence, kind="stable")
        covered = np.searchsorted(-confidence[order], -CANDIDATES, side="right")
        covered, first = np.unique(covered, return_index=True)
        first, covered = first[covered > 0], covered[covered > 0]
        last = covered - 1
        mass, wrong = weights[order], ~correct[order]
        weight = np.cumsum(mass)[last]
        bad_weight = np.minimum(np.cumsum(mass * wrong)[last], weight)
        largest = np.maximum(np.maximum.accumulate(mass)[last], heaviest) if len(last) else np.zeros(0)
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

    def lowest(self, target: float, delta: float, *, horizon: int | None, any_will_do: bool = False) -> int | None:
        """Index of the lowest candidate whose promise can be given, or None. See `derive_threshold` for the rules.

        With `any_will_do` the first one that is found, for who asks only whether there is one.
        """
        granted = self.granted(target, delta, horizon)
        found, budget = None, 0.0
        for begin in range(min(granted, default=len(self.trials)), len(self.trials), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            if budget == 0.0 and not any(begin <= at < begin + _CHUNK for at in granted):
                continue
            values = promise_p_values(self.errors[part], self.trials[part], coming(horizon, self.coverage[part]), target=target)
            for i, value in enumerate(values.tolist(), start=begin):
                budget += granted.get(i, 0.0)
                if budget > 0.0 and value <= budget:
                    found = i
                    if any_will_do:
                        return found
                else:
                    budget = 0.0
        return found

    def granted(self, target: float, delta: float, horizon: int | None) -> dict[int, float]:
        """The share of delta granted at each start, by index.

        Starts depend on counts alone: each is put off until a good record (a quarter of the errors allowed) would carry
        it, or at least a clean one; a start that luck alone decides would waste its share of delta.
        """
        good = np.floor(self.trials * (1.0 - target) / 4.0 + 0.5).astype(np.int64)
        granted: dict[int, float] = {}
        for share, portion in STARTS:
            begin = int(np.searchsorted(self.coverage, share - _ROUNDING))
            for errors, level in ((good, portion * delta), (np.zeros_like(good), delta)):
                at = self._first_passing(errors, level, target, horizon, begin)
                if at is not None:
                    granted[at] = granted.get(at, 0.0) + portion * delta
                    break
        return granted

    def _first_passing(
        self, errors: Counts, level: float, target: float, horizon: int | None, begin: int
    ) -> int | None:
        """First index from `begin` on where a record with these errors would pass at `level`."""
        # The long run is quickly tested and rules most of them out.
        hopeful = begin + np.flatnonzero(_long_run(errors[begin:], self.trials[begin:], target) <= level)
        for start in range(0, len(hopeful), _CHUNK):
            part = hopeful[start : start + _CHUNK]
            ahead = coming(horizon, self.coverage[part])
            passing = np.flatnonzero(promise_p_values(errors[part], self.trials[part], ahead, target=target) <= level)
            if len(passing):
                return int(part[passing[0]])
        return None

    def labels_wanted(self, target: float, delta: float, *, batch: Batch | None) -> int | None:
        """How many labels in all would carry the promise if they turned out like these; None when no number would.

        `batch` is the one that is promised, None for the long run alone. It is asked at the very candidates of the test
        itself. The error rates are those observed, drawn towards (1 - target) / 2 by 20 imagined labels, so that three
        right ones promise nothing.
        """
        if not len(self.trials):
            return None
        rate = (self.errors + FORECAST_STRENGTH * (1.0 - target) / 2.0) / (self.trials + FORECAST_STRENGTH)
        if not bool(np.any((rate < 1.0 - target) & (self.coverage >= STARTS[0][0]))):
            return None
        # Uneven weights make a label worth less than one; more labels of the same kind stay worth as much.
        worth = self.trials / self.covered[-1]
        return fewest_labels(
            rate, worth, target, delta=delta, batch=batch, coverage=self.coverage, more_than=int(self.covered[-1])
        )

    def out_of_reach(self, target: float, delta: float) -> bool:
        """Whether each candidate that covers enough to start a test is wrong too often, by an exact test at level `delta`:
        P(Binomial(trials, 1 - target) >= errors) (C. J. Clopper, E. S. Pearson, 1934).

        Of a target that one of them does reach this is said with a probability of `delta` at most, however many there are.
        """
        errors = np.floor(self.rate * self.trials + _ROUNDING)
        chance = np.where(errors > 0.0, bdtrc(np.maximum(errors - 1.0, 0.0), np.maximum(self.trials, 1), 1.0 - target), 1.0)
        return bool(np.all(chance[self.coverage >= STARTS[0][0]] <= delta))


def coming(horizon: int | None, coverage: Array) -> Counts | None:
    """How many of the next `horizon` tickets may be at or above each candidate [c], as equally likely counts [c, m].

    These are quantiles of Binomial(horizon, coverage). The expected count alone would not do: where it just allows one more
    wrong ticket (20 of them at a target of 95%), half of the batches hold fewer tickets and break by one error less. Computed for
    known error rates, targets from 50 to 99% and batches of 1 to 3,000 tickets: what passes the test at 2.5% is broken in up to
    11% of batches by the expected count (more where that is less than one ticket), and in less than 4% by these.
    """
    if horizon is None:
        return None
    share = np.minimum(coverage, 1.0)[:, None]
    mean, variance = horizon * share, horizon * share * (1.0 - share)
    middles = (np.arange(_COMING) + 0.5) / _COMING
    normal = ndtri(middles)
    # E. A. Cornish, R. A. Fisher (1938), in its first two terms: at most one ticket off where it is used.
    counts = np.clip(np.floor(mean + np.sqrt(variance) * normal + (normal * normal - 1.0) * (1.0 - 2.0 * share) / 6.0 + 0.5), 0, horizon)
    few = np.flatnonzero((variance < _SPREAD_ENOUGH) & (share < 1.0))
    if len(few):
        # Half a second to import, which no command that promises nothing should take.
        from scipy.stats import binom

        counts[few] = binom.ppf(middles, horizon, share[few])
    return counts.astype(np.int64)


def promise_p_values(errors: Counts, trials: Counts, ahead: Counts | None, *, target: float) -> Array:
    """p-values [c] against keeping `target`: the larger one of the long-run test and of the test on the coming batch.

    `errors` of `trials` labels were wrong; `ahead` [c, m] are equally likely numbers of coming tickets that are counted (None
    for the long run only). Long run: P(Binomial(trials, 1 - target) <= errors). Batch, as the mean over `ahead`: with b the
    fewest errors among so many that break the target, P(Hypergeometric <= errors) when errors + b are spread over trials + ahead
    tickets and `trials` are drawn; at a given threshold a batch that breaks the target and a record as clean as this one go
    together no more often.
    This one is divided by BATCH_SHARE: whether a batch breaks the target is chance, not a fixed hypothesis, so testing
    in sequence alone does not cover that the threshold was chosen by its record. Half of delta is kept back for that.
    """
    values = _long_run(errors, trials, target)
    if ahead is None:
        return values
    breaking = np.floor(ahead * (1.0 - target) + _ROUNDING).astype(np.int64) + 1
    batch = _hypergeometric(errors[:, None], trials[:, None], np.minimum(breaking, ahead), ahead)
    return np.maximum(values, np.where(breaking <= ahead, batch, 0.0).mean(axis=1) / BATCH_SHARE)


def _hypergeometric(low: Counts, drawn: Counts, high: Counts, left: Counts) -> Array:
    """P(at most `low` marked ones among `drawn`) when low + high are marked among drawn + left; low <= drawn, high <= left.

    Summed from the largest term of the smaller tail on, which is a few terms, for all at once: `scipy.stats.hypergeom.cdf` takes
    ten times as long.
    """
    # More marked ones among the drawn than their share: the other tail is "at most high - 1 among those left".
    other = low * left > high * drawn
    at, beyond = np.where(other, high - 1, low).astype(np.float64), np.where(other, low + 1, high).astype(np.float64)
    here, there = np.where(other, left, drawn), np.where(other, drawn, left)
    term = np.exp(_log_choices(here, at) + _log_choices(there, beyond) - _log_choices(here + there, at + beyond))
    total = term.copy()
    while bool(np.any(term > _NEGLIGIBLE * total)):
        term = term * at * np.maximum(there - beyond, 0.0) / ((here - at + 1.0) * (beyond + 1.0))
        total += term
        at, beyond = np.maximum(at - 1.0, 0.0), beyond + 1.0
    return np.clip(np.where(other, 1.0 - total, total), 0.0, 1.0)


def _log_choices(n: Counts, k: Array) -> Array:
    return -np.log1p(n) - betaln(n - k + 1.0, k + 1.0)


def _long_run(errors: Counts, trials: Counts, target: float) -> Array:
    return np.where(trials > 0, bdtr(errors.astype(np.float64), np.maximum(trials, 1), 1.0 - target), 1.0)


def fewest_labels(
    rates: Array, worths: Array, target: float, *, delta: float, batch: Batch | None, coverage: Array, more_than: int = 0
) -> int | None:
    """About the fewest labels in all, above `more_than`, with which the test finds a threshold; None above a million.

    `rates` [c] are the error rates above each candidate, highest candidate first; `worths` [c] in (0, 1], rising, is
    what a label (of all) adds to the evidence there; `coverage` [c] the share of tickets at or above it. Exact to a
    hundredth: what is observed is not known any finer.
    """

    def enough(labels: int) -> bool:
        trials = np.floor(labels * worths + _ROUNDING).astype(np.int64)
        errors = np.ceil(rates * trials - _ROUNDING).astype(np.int64)
        imagined = LabelCounts(
            thresholds=np.zeros(len(rates)), covered=trials, wrong=errors, coverage=coverage, rate=rates,
            trials=trials, errors=errors,
        )
        horizon = None if batch is None else batch.size(labels)
        return imagined.lowest(target, delta, horizon=horizon, any_will_do=True) is not None

    low, step = more_than, max(1, more_than // 100)
    while not enough(low + step):
        low, step = low + step, step * 2
        if low + step > MOST_LABELS:
            return None
    high = low + step
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def typical_need(target: float, delta: float, *, batch: Batch | None) -> int | None:
    """Labels that a router halfway between target and perfection would need, all covered; None if no number would do."""
    half = np.array([(1.0 - target) / 2.0])
    return fewest_labels(half, np.ones(1), target, delta=delta, batch=batch, coverage=np.ones(1))


def fewest_deciding(delta: float, *, batch: Batch | None) -> int:
    """With fewer labels than this no target is said to be out of reach: as many as a router takes for LOOSEST_DECIDING."""
    return typical_need(LOOSEST_DECIDING, delta, batch=batch) or typical_need(LOOSEST_DECIDING, delta, batch=None) or MOST_LABELS


def check_promise(target: float, delta: float) -> None:
    """ValueError unless both lie strictly between 0 and 1."""
    for name, value in (("target", target), ("delta", delta)):
        if not (math.isfinite(value) and 0.0 < value < 1.0):
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
