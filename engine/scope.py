"""Tickets of no known department: confidence that also knows what it looks like not to know the answer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.calibration import Calibrator
from engine.held_out import HeldOut

Flags = npt.NDArray[np.bool_]
ALIEN_SHARE = 0.005
ALIEN_LABELS = 25.0
MOST_ALIEN_SHARE = 0.1
"""Tickets of no known department are supposed to be ALIEN_SHARE of the known ones, but at least ALIEN_LABELS, so that
they are heard beside the calibrator's own prior, and at most MOST_ALIEN_SHARE of them. The only ticket of its department is one
when it is left out: such ones count by themselves, all together as much as MOST_ALIEN_SHARE of the others at most. Where nearly
every department has one example, somebody wrote it for that; it does not tell how often a department is new."""


def fit_calibrator(
    held_out: HeldOut, *, rows: Flags | None = None, known: Flags | None = None, prior: Calibrator | None = None
) -> Calibrator:
    """The calibrator of the learned router, from its held-out predictions (only those in `rows` [n], if given).

    Beside the rows as they are it sees them as they look when their whole department is left out: then every answer is
    wrong. Together they count so little that the confidence of ordinary tickets stays true, and enough that a ticket
    unlike anything known gets a low one. `known` [n] are the rows that stand for what comes in, `rows` themselves if not
    given: where others answer most of them, tickets of no known department are still a share of all.
    """
    everything = np.ones(len(held_out.correct), np.bool_)
    chosen = everything if rows is None else rows
    met = chosen if known is None else known
    lone, others = int((chosen & held_out.lone).sum()), int((chosen & ~held_out.lone).sum())
    if not others:
        chosen = chosen & ~held_out.lone
    ordinary = int((met & ~held_out.lone).sum())
    aliens = held_out.alien[met & held_out.has_alien] if ordinary else held_out.alien[:0]
    mass = min(max(ALIEN_SHARE * ordinary, ALIEN_LABELS), MOST_ALIEN_SHARE * ordinary)
    weight_of_lone = min(1.0, MOST_ALIEN_SHARE * others / max(1, lone))
    features = np.concatenate([held_out.features[chosen], aliens])
    correct = np.concatenate([held_out.correct[chosen], np.zeros(len(aliens), np.bool_)])
    counted = held_out.share[chosen] * np.where(held_out.lone[chosen], weight_of_lone, 1.0)
    weights = np.concatenate([counted, np.full(len(aliens), mass / max(1, len(aliens)))])
    return Calibrator.fit(features, correct, weights=weights, prior=prior)
