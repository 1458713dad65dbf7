"""What can be promised from a training set alone: thresholds from tickets that were left out of the fit, tried on others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine import scope
from engine.held_out import HeldOut
from engine.recurring import Recurring, calibrated, lowered
from engine.risk import Threshold, derive_threshold

DELTA = 0.05
_FOLDS = 10
Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A threshold derived on training data alone for one target, and what it achieved on the test rows.

    `threshold` None means that nothing could be promised; `reason` says why. `accuracy` is None when nothing is covered.
    `kept` says whether the accuracy on the test rows reached the target; it is True also where nothing was promised or covered.
    """

    target: float
    threshold: float | None
    reason: str
    coverage: float
    accuracy: float | None
    kept: bool


def crossed_confidence(held_out: HeldOut, *, seed: int = 0) -> Doubles:
    """Confidence [n] of each held-out row from a calibrator that did not see its label, for deriving thresholds."""
    confidence = np.empty(len(held_out.correct))
    for inside in _folds(len(confidence), seed=seed):
        calibrator = scope.fit_calibrator(held_out, rows=~inside)
        confidence[inside] = calibrator.probability(held_out.features[inside])
    return confidence


def _folds(count: int, *, seed: int) -> Iterator[Flags]:
    folds = min(_FOLDS, count)
    fold = np.random.default_rng(seed).permutation(count) % folds
    return (fold == number for number in range(folds))


def left_out(held_out: HeldOut, recurring: Recurring, *, again: float, seed: int) -> tuple[Doubles, Flags, Doubles]:
    """Confidence, correctness and weight of what was left out of the fit, as the coming tickets are.

    A share of `again` in [0, 1] of them have a known text: copies of which one is left out stand for these, rows whose text is
    left out for the others. Each confidence is from a calibrator that did not see the label.
    """
    shown, right, mass = crossed_confidence(held_out, seed=seed), held_out.correct, held_out.share
    if again > 0.0:
        features, same = recurring.left_out()
        alike = np.empty(len(same))
        for inside in _folds(len(same), seed=seed):
            alike[inside] = lowered(calibrated(features[~inside], same[~inside]), features[inside])
        shown, right = np.concatenate([shown, alike]), np.concatenate([right, same])
        mass = np.concatenate([mass / mass.sum() * (1.0 - again), np.full(len(same), again / len(same))])
    counted = mass > 0.0
    return shown[counted], right[counted], mass[counted]


def promises(
    sample: tuple[Doubles, Flags, Doubles], confidence: Doubles, correct: Flags, targets: Sequence[float]
) -> tuple[Promise, ...]:
    """One promise per target. What keeps a stricter target keeps this one too, and what it needs is enough."""
    found: dict[float, Promise] = {}
    stricter: Threshold | None = None
    shown, known, mass = sample
    for target in sorted(targets, reverse=True):
        own = derive_threshold(shown, known, target=target, delta=DELTA, horizon=len(correct), weights=mass)
        stricter = replace(stricter, target=target) if stricter is not None and _easier(stricter, own) else own
        found[target] = _promise(stricter, confidence, correct)
    return tuple(found[target] for target in targets)


def _easier(one: Threshold, other: Threshold) -> bool:
    """Whether `one` lets more tickets through, or else asks for fewer labels."""
    if one.value is not None or other.value is not None:
        return one.value is not None and (other.value is None or one.value < other.value)
    return one.labels_needed is not None and (other.labels_needed is None or one.labels_needed < other.labels_needed)


def _promise(threshold: Threshold, confidence: Doubles, correct: Flags) -> Promise:
    covered = np.zeros(len(correct), np.bool_) if threshold.value is None else confidence >= threshold.value
    accuracy = float(correct[covered].mean()) if covered.any() else None
    return Promise(
        target=threshold.target,
        threshold=threshold.value,
        reason=threshold.reason,
        coverage=float(covered.mean()),
        accuracy=accuracy,
        kept=accuracy is None or accuracy >= threshold.target,
    )
