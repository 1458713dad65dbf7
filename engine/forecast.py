"""A forecast of labels: how many it takes until a promise is likely to be given, not only if all goes as it went so far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import bdtr, betainc, betaincinv

from engine.label_counts import MOST_LABELS, STARTS, Array, Batch, Counts, LabelCounts, coming, promise_p_values

LIKELY = 0.8
# What is known of an error rate without labels: three quarters of a wrong one among as many as the target allows one in. Simulated, a
# half promises too early where accuracy is near the target, and with a whole one a good router would have to wait for ten times as many.
_IMAGINED_WRONG = 0.75
# Numbers of labels are tried in steps; one must do here and in the steps after it, so that no lucky candidate decides.
_STEP, _STAYS = 1.25, 3
# Further off no number means anything to who has so few labels.
_FURTHEST = 20
_RATES = (np.arange(32) + 0.5) / 32
_ROUNDING = 1e-9


def labels_enough(counts: LabelCounts, target: float, delta: float, *, batch: Batch | None, least: int) -> int | None:
    """How many labels in all, at `least` or above it, carry the promise with a probability of LIKELY as far as these tell; None if none
    does so up to twenty times `least`, where the steps after it must lie as well.

    Which error rate stands behind the observed one is not known, and what the next labels show is chance: both are counted in, as a
    beta-binomial prediction (Beta prior of weight 1 / (1 - target)) of the wrong ones at each start of the test. About to a quarter.
    Held in simulation for routers that are clearly good enough, also where few sure tickets are reviewed. Of routers hardly better than
    the target or worse, luck makes up to four in ten look good enough after a few hundred labels: what is said of them is too few.
    """
    wrong = counts.errors + _IMAGINED_WRONG
    right = counts.trials - counts.errors + 1.0 / (1.0 - target) - _IMAGINED_WRONG
    if not bool(np.any((betainc(wrong, right, 1.0 - target) > LIKELY) & (counts.coverage >= STARTS[0][0]))):
        return None
    seen = int(counts.covered[-1])
    worth = counts.trials / seen

    def likely(labels: int) -> bool:
        more = np.floor((labels - seen) * worth + _ROUNDING).astype(np.int64)
        imagined = replace(counts, trials=counts.trials + more)
        horizon = None if batch is None else batch.size(labels)
        granted = imagined.granted(target, delta, horizon)
        if not granted:
            return False
        # A threshold is found where one of the starts passes by the doubt that is granted to itself.
        at, level = np.array(list(granted)), np.array(list(granted.values()))
        rates = betaincinv(wrong[at][:, None], right[at][:, None], _RATES)
        errors = counts.errors[at] + _quantile(more[at], rates)
        values = promise_p_values(errors, imagined.trials[at], coming(horizon, counts.coverage[at]), target=target)
        return bool(np.any(values <= level))

    furthest = min(_FURTHEST * least, MOST_LABELS)
    if not likely(furthest):
        return None
    labels, found, stays = least, least, 0
    while stays < _STAYS:
        if labels > furthest:
            return None
        found, stays = (found if stays else labels, stays + 1) if likely(labels) else (labels, 0)
        labels = max(labels + 1, int(labels * _STEP))
    return found


def _quantile(trials: Counts, rates: Array) -> Counts:
    """The fewest errors [c] that are not exceeded among `trials` [c] with probability LIKELY; `rates` [c, m] are equally likely."""
    low, high = np.full(len(trials), -1), trials.copy()
    while bool(np.any(high - low > 1)):
        middle = np.maximum((low + high) // 2, 0)
        enough = bdtr(middle[:, None].astype(np.float64), np.maximum(trials, 1)[:, None], rates).mean(axis=1) >= LIKELY
        low, high = np.where(enough | (high - low <= 1), low, middle), np.where(enough & (high - low > 1), middle, high)
    return high
