"""From one raw score per topic to departments, margins and the features that calibration rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_FEWEST_ROWS = 20
_TINY = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What topic scores [n, C] say about D departments.

    shares   [n, D] in [0, 1], sums of softmax(sharpness * scores) over the department's topics; they add up to 1
    best     [n] number of the department with the largest share among those allowed
    topic    [n] number of the best topic within it
    odds     [n] log-odds of the best department's share
    margin   [n] its best topic's score minus the best topic score of any other department
    """

    shares: Doubles
    best: Ints
    topic: Ints
    odds: Doubles
    margin: Doubles

    @classmethod
    def of(
        cls, scores: Floats, parents: Ints, *, sharpness: float, allowed: npt.NDArray[np.bool_] | None = None
    ) -> Ranking:
        """Rank. `parents` [C] gives each topic's department, 0..D-1; `allowed` [D] the departments that may be best."""
        departments = int(parents.max()) + 1
        member = np.zeros((len(parents), departments))
        member[np.arange(len(parents)), parents] = 1.0
        logs = sharpness * scores.astype(np.float64)
        mass = np.exp(logs - logs.max(axis=1, keepdims=True))
        sums = mass @ member
        shares = sums / mass.sum(axis=1, keepdims=True)
        best = (shares if allowed is None else np.where(allowed, shares, -1.0)).argmax(axis=1)
        own = parents[None, :] == best[:, None]
        inside = np.where(own, scores, -np.inf)
        outside = np.where(own, -np.inf, scores).max(axis=1)
        # The share of all others is summed by itself: 1 - share would round to 0 for most tickets.
        others = np.where(own, 0.0, mass).sum(axis=1)
        odds = np.log(np.maximum(sums[np.arange(len(best)), best], _TINY)) - np.log(np.maximum(others, _TINY))
        topic = inside.argmax(axis=1)
        return cls(shares, best, topic, odds, inside.max(axis=1).astype(np.float64) - outside)

    def features(self, familiarity: Doubles) -> Doubles:
        """[n, 3] what calibration takes: log-odds, margin, familiarity; the higher each, the surer."""
        return np.column_stack([self.odds, self.margin, familiarity])


def fit_sharpness(scores: Floats, labels: Ints) -> float:
    """The sharpness in [0.1, 30] at which softmax(sharpness * scores) makes held-out labels likeliest; 3 for few rows."""
    if len(labels) < _FEWEST_ROWS:
        return 3.0
    rows = np.arange(len(labels))
    wide = scores.astype(np.float64)

    def loss(log_sharpness: float) -> float:
        logs = np.exp(log_sharpness) * wide
        return float(np.mean(logsumexp(logs, axis=1) - logs[rows, labels]))

    found = minimize_scalar(loss, bounds=(np.log(0.1), np.log(30.0)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))
