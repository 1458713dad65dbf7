"""Drift: has what comes in, or how sure the router is about it, moved away from what the thresholds were derived on?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri

SMOOTHING = 0.5
CHANCE_LEVEL = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A comparison of two histograms.

    index              population stability index, 0 or more
    chance             what the index stays under in 99% of comparisons of samples of these sizes without any drift
    expected, actual   how many tickets were on either side
    """

    index: float
    chance: float
    expected: int
    actual: int


def population_stability_index(expected: ArrayLike, actual: ArrayLike) -> float:
    """Population stability index between two histograms over the same bins: sum of (a - e) ln(a / e), 0 or more.

    `expected` and `actual` [b] are counts, b >= 1, finite and not negative; e and a are the shares after half
    a pseudo-count was added to every bin of either side (Jeffreys' prior), so that an empty bin gives a finite
    index which fades with the size of the sample. Symmetric. 0.0 for equal shares up to the smoothing.
    Source: N. Siddiqi, "Credit Risk Scorecards" (2006), with its rule of thumb: under 0.10 stable, from 0.25 shifted.
    It is the symmetric Kullback-Leibler divergence (H. Jeffreys 1946). Not for histograms with different bins.
    """
    before, after = _histogram(expected, "expected"), _histogram(actual, "actual")
    if before.shape != after.shape:
        raise ValueError(f"both histograms need the same bins, got {len(before)} and {len(after)}")
    before_share = (before + SMOOTHING) / (before + SMOOTHING).sum()
    after_share = (after + SMOOTHING) / (after + SMOOTHING).sum()
    return float(np.sum((after_share - before_share) * np.log(after_share / before_share)))


def chance_index(expected: int, actual: int, *, bins: int) -> float:
    """The index that two samples of these sizes from the same distribution exceed with probability CHANCE_LEVEL.

    (1 / expected + 1 / actual) times the upper quantile of that level of chi-square with bins - 1 degrees of freedom.
    Source: B. Yurdakul, "Statistical properties of population stability index" (Western Michigan University, 2018).
    Infinite without tickets on either side; 0.0 with one bin.
    """
    if bins < 1 or expected < 0 or actual < 0:
        raise ValueError(f"needs bins >= 1 and sizes >= 0, got {bins}, {expected}, {actual}")
    if bins == 1:
        return 0.0
    if expected == 0 or actual == 0:
        return float("inf")
    return (1.0 / expected + 1.0 / actual) * float(chdtri(bins - 1, CHANCE_LEVEL))


def department_drift(expected: Mapping[str, int], actual: Mapping[str, int]) -> Drift:
    """Drift between two counts of tickets per department. A department missing on one side counts as 0 there."""
    names = sorted(set(expected) | set(actual))
    before, after = [expected.get(name, 0) for name in names], [actual.get(name, 0) for name in names]
    return histogram_drift(before, after)


def histogram_drift(expected: ArrayLike, actual: ArrayLike) -> Drift:
    """Drift between two histograms of counts over the same bins; no bins at all is no drift."""
    before, after = _histogram(expected, "expected"), _histogram(actual, "actual")
    if len(before) == 0 and len(after) == 0:
        return Drift(index=0.0, chance=float("inf"), expected=0, actual=0)
    sizes = int(before.sum()), int(after.sum())
    # Bins empty on both sides cannot differ and do not add to what chance explains.
    used = int(np.count_nonzero(before + after)) if before.shape == after.shape else len(before)
    return Drift(
        index=population_stability_index(before, after),
        chance=chance_index(sizes[0], sizes[1], bins=max(used, 1)),
        expected=sizes[0],
        actual=sizes[1],
    )


def _histogram(values: ArrayLike, name: str) -> NDArray[np.float64]:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {counts.shape}")
    if not bool(np.all(np.isfinite(counts) & (counts >= 0.0))):
        raise ValueError(f"{name} must hold finite counts that are not negative")
    return counts
