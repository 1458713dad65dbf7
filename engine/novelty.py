"""Does a ticket look like those that are known? Signals of it, and how much each of them says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from engine.scores import Ranking

SIGNALS = 8
UNKNOWN_SHARE = 0.4
"""Weight of tickets of unknown departments among all when the signals are weighed; the calibration, which follows, takes
them for as rare as they are. Chosen, like the caps, on left-out topics of a training set."""
CAPS = (0.2, 0.5)
"""Quantiles among known tickets at which each signal is cut."""
_SHRINK = 5.0
_PENALTY = 1.0
_FLOOR = 1e-3
_LEFT_OUT = -1e6
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Typical:
    """What left-out scores of known tickets look like.

    means     [C, C] mean score for class j among the tickets of class c, shrunk towards that of all classes
    spread    [C] variance of the scores for class j around these means
    counts    [C] how many tickets each row of `means` rests on
    fallback  the mean score for a ticket's own class, and for another one
    """

    means: Floats
    spread: Floats
    counts: Floats
    fallback: tuple[float, float]

    @classmethod
    def of(cls, scores: Floats, labels: Ints) -> Typical:
        """From left-out scores [n, C] of tickets whose classes are `labels` [n]."""
        classes = scores.shape[1]
        counts = np.bincount(labels, minlength=classes).astype(np.float32)
        sums = np.zeros((classes, classes), np.float64)
        np.add.at(sums, labels, scores)
        own = float(scores[np.arange(len(labels)), labels].mean())
        other = float((scores.sum() - own * len(labels)) / max(1, len(labels) * (classes - 1)))
        base = np.where(np.eye(classes, dtype=bool), own, other)
        means = ((sums + _SHRINK * base) / (counts[:, None] + _SHRINK)).astype(np.float32)
        spread = np.square(scores - means[labels]).mean(axis=0) + _FLOOR
        return cls(means, spread.astype(np.float32), counts, (own, other))

    def widened(self, classes: int) -> Typical:
        """The same with more classes, of which nothing is known yet."""
        old = len(self.means)
        own, other = self.fallback
        means = np.where(np.eye(classes, dtype=bool), own, other).astype(np.float32)
        means[:old, :old] = self.means
        spread = np.full(classes, float(self.spread.mean()), np.float32)
        spread[:old] = self.spread
        return Typical(means, spread, np.concatenate([self.counts, np.zeros(classes - old, np.float32)]), self.fallback)

    def signals(self, scores: Floats, ranking: Ranking, around: Doubles, *, labels: Ints | None = None) -> Doubles:
        """[n, SIGNALS], the higher each, the more the ticket is like known ones and the surer its answer.

        Log-odds, margin, `around` (familiarity and two leads, `kernel.surroundings`), then: how much the topics claim the
        ticket in all; the best topic's score above that of its own tickets; minus the distance of the other topics'
        scores from those that tickets of the best topic get. `scores` [n, C] are -inf for topics that are left out.
        `labels` [n] are given for tickets that the means rest on: each is then taken out of its own mean.
        """
        rows = np.arange(len(scores))
        means = self.means[ranking.topic]
        if labels is not None:
            mine = np.flatnonzero(ranking.topic == labels)
            count = self.counts[labels[mine]][:, None] + _SHRINK
            means[mine] += (means[mine] - scores[mine]) / np.maximum(count - 1.0, 1.0)
        away = scores - means
        found = np.empty((len(scores), SIGNALS))
        found[:, 0], found[:, 1], found[:, 2:5] = ranking.odds, ranking.margin, around
        found[:, 5] = np.maximum(scores + np.float32(1.0), 0.0).sum(axis=1, dtype=np.float64)
        found[:, 6] = away[rows, ranking.topic]
        away[rows, ranking.topic] = 0.0
        # A topic that is left out says nothing; one that is there gets no score near -inf.
        away[away < _LEFT_OUT] = 0.0
        found[:, 7] = -np.sqrt(np.square(away, dtype=np.float64) @ (1.0 / self.spread) / scores.shape[1])
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Assurance:
    """One number from the signals: a sum of rising, concave functions, one of each signal.

    `slopes` [1 + len(CAPS), SIGNALS], none negative; the first times the signals, the others times the signals cut at
    `caps` [len(CAPS), SIGNALS]: a low signal says more against a ticket than a very high one says for it.
    """

    slopes: Doubles
    caps: Doubles
    offset: float

    def of(self, signals: Doubles) -> Doubles:
        """[n, 1]: the higher, the surer that the ticket is a known one and rightly answered; never falls when a signal rises."""
        return _with_cut(signals, self.caps) @ self.slopes.reshape(-1, 1) + self.offset

    @classmethod
    def fit(cls, signals: Doubles, right: Flags, unknown: Flags) -> Assurance:
        """Logistic regression with slopes that cannot be negative, of right answers against wrong and impossible ones.

        `signals` [n, SIGNALS], `right` [n], `unknown` [n] marks tickets whose department was not there to be found.
        """
        caps = np.quantile(signals[~unknown], CAPS, axis=0)
        columns = _with_cut(signals, caps)
        centre, scale = np.tile(signals.mean(axis=0), 1 + len(CAPS)), np.tile(signals.std(axis=0) + 1e-9, 1 + len(CAPS))
        design = np.column_stack([np.ones(len(signals)), (columns - centre) / scale])
        known = int((~unknown).sum())
        mass = np.where(unknown, UNKNOWN_SHARE / (1.0 - UNKNOWN_SHARE) * known / max(1, len(right) - known), 1.0)
        target = right.astype(np.float64)

        def loss(weights: Doubles) -> tuple[float, Doubles]:
            line = design @ weights
            pulled = np.concatenate([[0.0], weights[1:]])
            value = float(mass @ (np.logaddexp(0.0, line) - target * line) + 0.5 * _PENALTY * pulled @ pulled)
            return value, design.T @ (mass * (expit(line) - target)) + _PENALTY * pulled

        start = np.zeros(design.shape[1])
        bounds = [(None, None)] + [(0.0, None)] * columns.shape[1]
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 400}).x
        slopes = found[1:] / scale
        return cls(slopes.reshape(-1, SIGNALS), caps, float(found[0] - slopes @ centre))

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from_json` makes the same again."""
        return {"slopes": self.slopes.tolist(), "caps": self.caps.tolist(), "offset": self.offset}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Assurance | None:
        """None stays None. Raises KeyError or ValueError for what another version wrote."""
        if data is None:
            return None
        slopes, caps = np.array(data["slopes"], np.float64), np.array(data["caps"], np.float64)
        if slopes.shape != (1 + len(CAPS), SIGNALS) or caps.shape != (len(CAPS), SIGNALS):
            raise ValueError(f"the stored model weighs signals in a shape of {slopes.shape}: fit it again")
        return cls(slopes, caps, float(data["offset"]))


def _with_cut(signals: Doubles, caps: Doubles) -> Doubles:
    """[n, (1 + len(caps)) * SIGNALS]: the signals, then the signals cut at each row of caps."""
    return np.concatenate([signals, *(np.minimum(signals, cap) for cap in caps)], axis=1)
