"""Tickets of no known department: confidence that also knows what it looks like not to know the answer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.calibration import Calibrator
from engine.held_out import HeldOut

ALIEN_SHARE = 0.005
"""Share of tickets that are supposed to belong to no known department, beside those that do."""


def fit_calibrator(held_out: HeldOut, *, rows: npt.NDArray[np.bool_] | None = None) -> Calibrator:
    """The calibrator of the learned router, from its held-out predictions (only those in `rows` [n], if given).

    Beside the rows as they are it sees them as they look when their whole department is left out: then every answer is
    wrong. These count as ALIEN_SHARE of all together, so that a ticket unlike anything known gets a low confidence
    while the confidence of ordinary ones stays true.
    """
    chosen = np.ones(len(held_out.correct), np.bool_) if rows is None else rows
    aliens = held_out.alien[chosen & held_out.has_alien]
    features = np.concatenate([held_out.features[chosen], aliens])
    correct = np.concatenate([held_out.correct[chosen], np.zeros(len(aliens), np.bool_)])
    weights = np.ones(len(correct))
    if len(aliens):
        ordinary = int(chosen.sum())
        weights[ordinary:] = ALIEN_SHARE / (1.0 - ALIEN_SHARE) * ordinary / len(aliens)
    return Calibrator.fit(features, correct, weights=weights)
