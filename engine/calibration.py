"""Calibration: from what a method computed to the probability that its department is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit, ndtri

from engine.checks import checked_flags, checked_weights
from engine.intervals import effective_count
from engine.reliability import ReliabilityBin, expected_calibration_error, reliability
from engine.sampling import evidence

__all__ = ["Calibrator", "ReliabilityBin", "expected_calibration_error", "reliability"]

FORMAT_VERSION = 1
DEFAULT_PRIOR = 0.5
PRIOR_STRENGTH = 20.0
MAX_PRIORS = 8
CURVED_FROM = 300.0
RECALIBRATED_FROM = 200.0

_LEVELS = np.linspace(-2.5, 2.5, 41)
_RAMPS = np.array([-3.0, -1.5, -0.75, 0.0, 0.75, 1.5, 3.0])
_LOWS, _RISES = _RAMPS[:-1], np.diff(_RAMPS)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Calibrator:
    """A monotone map from features [n, k] (raw score, margin, agreement, similarity: higher = surer) to probability.

    Two stages, both strictly tied to what the labels can carry:

    1. A logistic model with non-negative weights on each feature's normal score (the probit of its rank among the
       labels, interpolated) and, from 300 labels on, on ramps of it, so that the shape of each feature is learned. Its
       offset is the prior; a Gaussian penalty pulls it there, hence with few labels the prior is what is answered.
    2. From 200 labels on the logistic probability is corrected by centred isotonic regression over bins of equal mass
       (A. P. Oron, N. Flournoy, "Centered isotonic regression", Statistics in Biopharmaceutical Research 9, 2017), each
       bin shrunk towards the logistic model by 20 pseudo-labels. Between the bins it rises strictly, so thresholds cut
       tickets and not blocks of ties.

    The result is never 0 or 1: it keeps 0.5 / (labels + prior strength + 1) away from both.

    labels      how many labels the map rests on, without those of its prior; 0 answers the prior itself
    effective   the same, discounted for uneven weights (Kish)
    prior       what it shrinks to: a constant probability or a calibrator over the same features
    """

    features: int
    labels: int
    effective: float
    prior: Calibrator | float
    knots: tuple[Array, ...]
    scores: tuple[Array, ...]
    slopes: Array
    intercept: float
    prior_slope: float
    prior_centre: float
    bends_at: Array
    bends_to: Array

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        correct: ArrayLike,
        *,
        prior: Calibrator | float | None = None,
        weights: ArrayLike | None = None,
    ) -> Calibrator:
        """Fit on labelled predictions that the method did not learn from (out of fold, or outcomes of new tickets).

        `features` [n, k] finite floats, `correct` [n] booleans, n >= 0, k >= 1. `weights` [n] are inverse sampling
        rates of the labels. `prior` is a probability strictly between 0 and 1, a calibrator over the same k features
        (a method's, for a department; the seeds', for a method), or None for 0.5. Give as prior what rests on *other*
        labels: the last fit over the same labels would count them twice. Deterministic.
        Raises ValueError for NaN, wrong shapes or an unfit prior.
        """
        values = np.asarray(features, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] < 1:
            raise ValueError(f"features must have shape [n, k] with k >= 1, got {values.shape}")
        if not bool(np.isfinite(values).all()):
            raise ValueError("features must be finite, got NaN or infinity")
        count, width = values.shape
        right = checked_flags(correct, count, "correct")
        raw = checked_weights(weights, count)
        base = _checked_prior(prior, width)
        effective = effective_count(raw)
        scales = [_normal_scores(values[:, j], raw) for j in range(width)]
        model = cls(
            features=width, labels=count, effective=effective, prior=base,
            knots=tuple(knots for knots, _ in scales), scores=tuple(scores for _, scores in scales),
            slopes=np.zeros(width * len(_RAMPS)), intercept=0.0, prior_slope=1.0, prior_centre=0.0,
            bends_at=np.zeros(0), bends_to=np.zeros(0),
        )
        if count == 0:
            return model
        mass = evidence(sum(np.interp(values[:, j], *scales[j]) for j in range(width)), raw)
        model = _with_logistic(model, values, right, mass)
        return _with_bends(model, values, right, mass) if float(mass.sum()) >= RECALIBRATED_FROM else model

    def probability(self, features: ArrayLike) -> Array:
        """Probability [n] in (0, 1) that each prediction is right; never falls when a feature rises.

        `features` [n, k] finite floats in the order of the fit. Values beyond those seen in the labels count as the
        nearest seen one. Raises ValueError for NaN or another k.
        """
        values = np.asarray(features, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.features:
            raise ValueError(f"features must have shape [n, {self.features}], got {values.shape}")
        if not bool(np.isfinite(values).all()):
            raise ValueError("features must be finite, got NaN or infinity")
        if self.labels == 0:
            return self.prior.probability(values) if isinstance(self.prior, Calibrator) else np.full(len(values), self.prior)
        line = self._line(values)
        if len(self.bends_at):
            # The correction, not the corrected value, is interpolated: beyond the ends the logistic slope goes on.
            line = line + np.interp(line, self.bends_at, self.bends_to - self.bends_at)
        floor = 0.5 / (self.support + 1.0)
        return floor + (1.0 - 2.0 * floor) * expit(line)

    @property
    def support(self) -> float:
        """Labels the answer rests on in all: its own effective ones and those of its prior (a constant is worth 20)."""
        return self.effective + (self.prior.support if isinstance(self.prior, Calibrator) else PRIOR_STRENGTH)

    def to_dict(self) -> dict[str, Any]:
        """The whole map as JSON-able values, with `version`."""
        return {
            "version": FORMAT_VERSION,
            "features": self.features,
            "labels": self.labels,
            "effective": self.effective,
            "prior": self.prior.to_dict() if isinstance(self.prior, Calibrator) else self.prior,
            "knots": [knots.tolist() for knots in self.knots],
            "scores": [scores.tolist() for scores in self.scores],
            "slopes": self.slopes.tolist(),
            "intercept": self.intercept,
            "prior_slope": self.prior_slope,
            "prior_centre": self.prior_centre,
            "bends_at": self.bends_at.tolist(),
            "bends_to": self.bends_to.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibrator:
        """The map that `to_dict` wrote, answering exactly the same. Raises ValueError for another version or damage."""
        if data.get("version") != FORMAT_VERSION:
            raise ValueError(f"calibration format {data.get('version')} is not {FORMAT_VERSION}: fit it again")
        try:
            prior = data["prior"]
            model = cls(
                features=int(data["features"]), labels=int(data["labels"]), effective=float(data["effective"]),
                prior=cls.from_dict(prior) if isinstance(prior, Mapping) else float(prior),
                knots=tuple(np.array(knots, dtype=np.float64) for knots in data["knots"]),
                scores=tuple(np.array(scores, dtype=np.float64) for scores in data["scores"]),
                slopes=np.array(data["slopes"], dtype=np.float64), intercept=float(data["intercept"]),
                prior_slope=float(data["prior_slope"]), prior_centre=float(data["prior_centre"]),
                bends_at=np.array(data["bends_at"], dtype=np.float64),
                bends_to=np.array(data["bends_to"], dtype=np.float64),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the stored calibration is damaged ({error!r}): fit it again") from error
        shapes = len(model.knots) == len(model.scores) == model.features
        if not shapes or model.slopes.shape != (model.features * len(_RAMPS),) or np.isnan(model.slopes).any():
            raise ValueError("the stored calibration is damaged (shapes do not fit): fit it again")
        return model

    def _line(self, values: Array) -> Array:
        """Log-odds [n] of the logistic stage."""
        offset = _prior_line(self.prior, values) - self.prior_centre
        return self.prior_slope * offset + self.prior_centre + self.intercept + self._basis(values) @ self.slopes

    def _basis(self, values: Array) -> Array:
        """[n, k * 7]: per feature its normal score and six ramps of it, each rising from 0 to 1 over one interval."""
        columns = np.empty((len(values), self.features, len(_RAMPS)))
        for j in range(self.features):
            columns[:, j, 0] = np.interp(values[:, j], self.knots[j], self.scores[j])
        ramps = columns[:, :, 1:]
        np.divide(columns[:, :, :1] - _LOWS, _RISES, out=ramps)
        np.minimum(np.maximum(ramps, 0.0, out=ramps), 1.0, out=ramps)
        return columns.reshape(len(values), -1)


def _checked_prior(prior: Calibrator | float | None, width: int) -> Calibrator | float:
    if prior is None:
        return DEFAULT_PRIOR
    if isinstance(prior, Calibrator):
        if prior.features != width:
            raise ValueError(f"the prior takes {prior.features} features, the labels have {width}")
        depth, below = 1, prior.prior
        while isinstance(below, Calibrator):
            depth, below = depth + 1, below.prior
        if depth >= MAX_PRIORS:
            raise ValueError(f"a chain of {MAX_PRIORS} priors: fit on all labels instead of on top of the last fit")
        return prior
    if not 0.0 < float(prior) < 1.0:
        raise ValueError(f"a constant prior must lie strictly between 0 and 1, got {prior}")
    return float(prior)


def _prior_line(prior: Calibrator | float, values: Array) -> Array | float:
    """The prior's log-odds [n]; those of a constant are one number."""
    return logit(prior.probability(values)) if isinstance(prior, Calibrator) else math.log(prior / (1.0 - prior))


def _normal_scores(column: Array, mass: Array) -> tuple[Array, Array]:
    """Knots of the piecewise linear map from a feature to the probit of its weighted mid-rank, at most 43 of them."""
    if not len(column):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(column, kind="stable")
    ranks = (np.cumsum(mass[order]) - mass[order] / 2.0) / mass.sum()
    picks = np.searchsorted(ranks, 0.5 * (1.0 + np.vectorize(math.erf)(_LEVELS / math.sqrt(2.0))))
    knots = np.unique(np.concatenate([column[order][np.minimum(picks, len(column) - 1)], column[order][[0, -1]]]))
    # Ties share one rank, the middle of their run: half of what lies below and half of what lies at or below.
    at_or_below = np.concatenate([[0.0], np.cumsum(mass[order])]) / mass.sum()
    left = np.searchsorted(column[order], knots, side="left")
    right = np.searchsorted(column[order], knots, side="right")
    middle = (at_or_below[left] + at_or_below[right]) / 2.0
    return knots, np.clip(ndtri(middle), -3.0, 3.0)


def _with_logistic(model: Calibrator, values: Array, right: NDArray[np.bool_], mass: Array) -> Calibrator:
    """The model with intercept and slopes at the maximum of likelihood times prior."""
    nested = isinstance(model.prior, Calibrator)
    prior_line = np.broadcast_to(_prior_line(model.prior, values), len(values))
    centre = float(np.average(prior_line, weights=mass)) if nested else 0.0
    design = np.column_stack([np.ones(len(values)), prior_line - centre, model._basis(values)])
    start = np.zeros(design.shape[1])
    start[1] = 1.0
    # A fitted prior knows the shape already: labels must speak up before they bend it; a constant knows little.
    precision = np.full(design.shape[1], 20.0 if nested else 1.0)
    precision[0] = 8.0 if nested else 1.0
    upper = np.full(design.shape[1], np.inf)
    lower = np.zeros(design.shape[1])
    lower[0] = -np.inf
    if not nested:
        lower[1] = upper[1] = 1.0
    if float(mass.sum()) < CURVED_FROM:
        upper[2:] = np.where(np.arange(len(start) - 2) % len(_RAMPS) == 0, np.inf, 0.0)
    target = right.astype(np.float64)

    def loss(weights: Array) -> tuple[float, Array]:
        line = design @ weights + centre
        away = weights - start
        value = float(mass @ (np.logaddexp(0.0, line) - target * line) + 0.5 * precision @ np.square(away))
        return value, design.T @ (mass * (expit(line) - target)) + precision * away

    bounds = list(zip(lower, upper, strict=True))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300}).x
    return replace(
        model, intercept=float(found[0]), prior_slope=float(found[1]), prior_centre=centre, slopes=found[2:]
    )


def _with_bends(model: Calibrator, values: Array, right: NDArray[np.bool_], mass: Array) -> Calibrator:
    """The model with its log-odds corrected by centred isotonic regression over bins of equal mass."""
    line = model._line(values)
    order = np.argsort(line, kind="stable")
    total = float(mass.sum())
    bins = int(min(40, max(2, total / 100.0)))
    bucket = np.minimum(((np.cumsum(mass[order]) - mass[order] / 2.0) / total * bins).astype(np.intp), bins - 1)
    bucket = bucket[np.searchsorted(line[order], line[order], side="left")]
    _, bucket = np.unique(bucket, return_inverse=True)
    weight = np.bincount(bucket, mass[order])
    centre = np.bincount(bucket, mass[order] * line[order]) / weight
    expected = np.bincount(bucket, mass[order] * expit(line[order])) / weight
    observed = np.bincount(bucket, mass[order] * right[order]) / weight
    shrunk = (weight * observed + PRIOR_STRENGTH * expected) / (weight + PRIOR_STRENGTH)
    # Comparing averages over the bin and moving its centre by the difference keeps a wide bin's curvature out of it.
    moved = centre + logit(shrunk) - logit(expected)
    blocks = isotonic_regression(moved, weights=weight).blocks
    mass_of = np.add.reduceat(weight, blocks[:-1])
    return replace(
        model,
        bends_at=np.add.reduceat(weight * centre, blocks[:-1]) / mass_of,
        bends_to=np.add.reduceat(weight * moved, blocks[:-1]) / mass_of,
    )
