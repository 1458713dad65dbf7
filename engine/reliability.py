"""How true a shown confidence is: reliability diagram, expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.checks import checked_confidence, checked_flags, checked_weights
from engine.intervals import effective_count, wilson_weighted

MOST_BINS = 15
LABELS_A_BIN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """One point of a reliability diagram: labelled tickets of about the same confidence.

    low, high     smallest and largest confidence in the bin
    count         labels in it; `weight` is the number of tickets they stand for (equal to count without weights)
    confidence    mean confidence, in [0, 1]
    accuracy      share that was right, in [0, 1]; `lower` and `upper` are its 95% Wilson interval
    """

    low: float
    high: float
    count: int
    weight: float
    confidence: float
    accuracy: float
    lower: float
    upper: float

    @property
    def true(self) -> bool:
        """Whether the mean confidence lies within the interval of what was observed."""
        return self.lower <= self.confidence <= self.upper


def reliability(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15, weights: ArrayLike | None = None
) -> list[ReliabilityBin]:
    """The reliability diagram in at most `bins` bins of equal mass, least confident first; empty without labels.

    `confidence` [n] in [0, 1], `correct` [n] booleans, `weights` [n] the inverse sampling rates of the labels if they
    were not drawn evenly. Equal confidences are never split over two bins, so there may be fewer bins and unequal
    ones. Raises ValueError for wrong shapes, NaN or fewer than one bin.
    """
    shown, right, mass = _checked(confidence, correct, weights)
    found = []
    for part in _equal_mass(shown, mass, bins):
        total, squared = float(mass[part].sum()), float(np.square(mass[part]).sum())
        good = min(float(mass[part][right[part]].sum()), total)
        lower, upper = wilson_weighted(good, total, squared_weight=squared)
        found.append(
            ReliabilityBin(
                low=float(shown[part[0]]),
                high=float(shown[part[-1]]),
                count=len(part),
                weight=total,
                confidence=float(np.average(shown[part], weights=mass[part])),
                accuracy=good / total,
                lower=lower,
                upper=upper,
            )
        )
    return found


def expected_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15, weights: ArrayLike | None = None
) -> float:
    """Mean distance between confidence and accuracy over bins of equal mass, in [0, 1]; 0.0 without labels.

    Source: M. P. Naeini, G. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning"
    (AAAI 2015), with bins of equal mass. With few labels it is biased upwards by the noise within each bin (about
    0.8 sqrt(accuracy (1 - accuracy) bins / n)): compare it between sets of the same size only, and with a limit use
    `debiased_calibration_error`.
    """
    points = reliability(confidence, correct, bins=bins, weights=weights)
    total = sum(point.weight for point in points)
    return sum(point.weight * abs(point.accuracy - point.confidence) for point in points) / total if points else 0.0


def debiased_calibration_error(confidence: ArrayLike, correct: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """The calibration error in [0, 1] without what chance alone adds to it; 0.0 without labels. For pages, alerts, metrics.

    Mean over bins of equal mass of sqrt(max(0, gap^2 - variance)), where gap is the distance between confidence and accuracy
    in the bin, and variance that of the accuracy if the confidence were true, sum w^2 p (1 - p) / (sum w)^2: subtracting it
    from the square takes the noise out in expectation (A. Kumar, P. Liang, T. Ma, "Verified uncertainty calibration",
    NeurIPS 2019, there for the squared error). One bin for every LABELS_A_BIN effective labels, at most 15: with few labels
    in a bin what is left of the noise would still look like an error. With many labels it is the expected calibration error.
    """
    shown, right, mass = _checked(confidence, correct, weights)
    if not len(shown):
        return 0.0
    size = effective_count(mass)
    found = 0.0
    for part in _equal_mass(shown, mass, int(min(MOST_BINS, max(1.0, size // LABELS_A_BIN)))):
        share = mass[part] / mass[part].sum()
        gap = float(share @ (right[part] - shown[part]))
        variance = float(np.square(share) @ (shown[part] * (1.0 - shown[part])))
        found += float(mass[part].sum()) * max(0.0, gap * gap - variance) ** 0.5
    return found / float(mass.sum())


def _checked(
    confidence: ArrayLike, correct: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    shown = checked_confidence(confidence)
    return shown, checked_flags(correct, len(shown), "correct"), checked_weights(weights, len(shown))


def _equal_mass(shown: NDArray[np.float64], mass: NDArray[np.float64], bins: int) -> list[NDArray[np.intp]]:
    """Indices of each bin in rising order of confidence, equal values kept together."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if not len(shown):
        return []
    order = np.argsort(shown, kind="stable")
    below = np.cumsum(mass[order]) - mass[order] / 2.0
    bucket = np.minimum((below / mass.sum() * bins).astype(np.intp), bins - 1)
    first_of_tie = np.searchsorted(shown[order], shown[order], side="left")
    bucket = bucket[first_of_tie]
    return np.split(order, np.flatnonzero(np.diff(bucket)) + 1)
