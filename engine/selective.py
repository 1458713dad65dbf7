"""Answering some tickets and leaving the rest: share answered against accuracy, and how well a score tells apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.checks import checked_confidence, checked_flags, checked_weights


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The risk-coverage curve, most confident first; three equally long arrays, one entry per distinct confidence.

    threshold   tickets with at least this confidence are answered; falling
    coverage    share of all tickets answered then, in (0, 1]; rising, the last is 1
    accuracy    share of the answered ones that is right, in [0, 1]
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def risk_coverage(confidence: ArrayLike, correct: ArrayLike, *, weights: ArrayLike | None = None) -> RiskCoverage:
    """What every possible threshold would have meant on these labels; empty arrays without labels.

    `confidence` [n] in [0, 1], `correct` [n] booleans, `weights` [n] inverse sampling rates. This describes the past:
    the best threshold read off the curve promises nothing for new tickets, `engine.risk.derive_threshold` does.
    Source: R. El-Yaniv, Y. Wiener, "On the foundations of noise-free selective classification", JMLR 11 (2010).
    """
    shown = checked_confidence(confidence)
    right = checked_flags(correct, len(shown), "correct")
    mass = checked_weights(weights, len(shown))
    order = np.argsort(-shown, kind="stable")
    answered = np.cumsum(mass[order])
    good = np.cumsum(mass[order] * right[order])
    last_of_tie = np.flatnonzero(np.append(np.diff(shown[order]) != 0.0, len(shown) > 0))
    if not len(last_of_tie):
        return RiskCoverage(np.zeros(0), np.zeros(0), np.zeros(0))
    answered_there = answered[last_of_tie]
    return RiskCoverage(
        threshold=shown[order][last_of_tie],
        coverage=answered_there / answered_there[-1],
        accuracy=np.minimum(good[last_of_tie] / answered_there, 1.0),
    )


def coverage_at(confidence: ArrayLike, correct: ArrayLike, target: float) -> float:
    """The largest share of these tickets that one threshold answers with an accuracy of at least `target`, in [0, 1].

    The choice is made in hindsight, on the same labels: a measure of a router, not a promise. 0.0 when no threshold
    reaches the target. Raises ValueError for a target outside [0, 1].
    """
    if not 0.0 <= target <= 1.0:
        raise ValueError(f"target must lie in [0, 1], got {target}")
    curve = risk_coverage(confidence, correct)
    reached = curve.coverage[curve.accuracy >= target]
    return float(reached.max()) if len(reached) else 0.0


def auroc(scores: ArrayLike, positives: ArrayLike) -> float:
    """Probability that a random positive scores higher than a random negative, ties counting half, in [0, 1].

    `scores` [n] finite, `positives` [n] booleans with at least one of each kind, else ValueError. Computed from
    mid-ranks (H. B. Mann, D. R. Whitney, Annals of Mathematical Statistics 18, 1947).
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"scores must be one-dimensional, got shape {values.shape}")
    if not bool(np.isfinite(values).all()):
        raise ValueError("scores must be finite, got NaN or infinity")
    chosen = checked_flags(positives, len(values), "positives")
    count = int(chosen.sum())
    others = len(values) - count
    if count == 0 or others == 0:
        raise ValueError("the area under the curve needs at least one positive and one negative")
    # Half a second to import, which no command that evaluates nothing should take.
    from scipy.stats import rankdata

    return float((rankdata(values)[chosen].sum() - count * (count + 1) / 2.0) / (count * others))
