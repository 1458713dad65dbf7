"""What each part of the calibration is for: the shape it can follow and the prior it can leave."""
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from engine.calibration import CURVED_FROM, RECALIBRATED_FROM, Calibrator

Doubles = NDArray[np.float64]


def exactly(share: Doubles) -> NDArray[np.bool_]:
    """Labels without chance: among any neighbours as many are right as their shares add up to."""
    below = np.concatenate([[0.0], np.cumsum(share)])
    return np.diff(np.floor(below + 0.5)) > 0


def test_what_no_sum_of_features_can_say_is_corrected_by_what_was_observed() -> None:
    """Right only where both features are high: the logistic stage alone is off by a tenth."""
    def drawn(n: int, seed: int) -> tuple[Doubles, Doubles, NDArray[np.bool_]]:
        chance = np.random.default_rng(seed)
        features = chance.random((n, 2))
        truth = 0.5 + 0.48 * (features > 0.5).all(axis=1)
        return features, truth, chance.random(n) < truth

    features, _, right = drawn(4000, 1)
    new, truth, _ = drawn(20_000, 2)
    shown = Calibrator.fit(features, right).probability(new)
    gaps = [abs(shown[part].mean() - truth[part].mean()) for part in np.array_split(np.argsort(shown), 15)]
    assert np.mean(gaps) < 0.03 and max(gaps) < 0.08


def test_a_wide_bin_does_not_bend_a_curve_that_is_true() -> None:
    """In each of four bins the confidence runs far, so that its mean is not the confidence of the middle."""
    at = np.linspace(-3.0, 3.0, 400)
    shown = Calibrator.fit(at[:, None], exactly(expit(1.5 * at))).probability(at[:, None])
    assert np.abs(shown - expit(1.5 * at)).max() < 0.02


def test_few_labels_flatten_a_prior_that_is_much_too_sure() -> None:
    wide, at = np.linspace(-2.0, 2.0, 2000), np.linspace(-2.0, 2.0, 150)
    prior = Calibrator.fit(wide[:, None], exactly(expit(4.0 * wide)))
    assert len(at) < RECALIBRATED_FROM
    shown = Calibrator.fit(at[:, None], exactly(expit(at)), prior=prior).probability(at[:, None])
    assert np.abs(prior.probability(at[:, None]) - expit(at)).max() > 0.25
    assert np.abs(shown - expit(at)).max() < 0.1


def test_labels_bend_the_curve_by_what_they_are_worth_and_not_by_their_number() -> None:
    at = np.linspace(0.0, 1.0, 500)
    right = exactly(0.5 + 0.45 * (at > 0.5))
    uneven = np.where(np.arange(500) % 25 == 0, 60.0, 1.0)
    few, many = (Calibrator.fit(at[:, None], right, weights=weights) for weights in (uneven, None))
    assert few.effective < min(CURVED_FROM, RECALIBRATED_FROM) < many.effective
    assert (few.slopes[1:] == 0.0).all() and (many.slopes[1:] > 0.0).any()
    assert (len(few.bends_at), len(many.bends_at) > 0) == (0, True)


def test_tickets_that_look_alike_get_one_confidence_which_is_the_share_of_right_ones_among_them() -> None:
    """However many bins of equal mass their labels would fill."""
    alike = np.repeat([0.0, 1.0], [500, 1500])
    right = np.concatenate([exactly(np.full(500, 0.6)), exactly(np.full(1500, 0.95))])
    fitted = Calibrator.fit(alike[:, None], right)
    assert np.abs(fitted.probability([[0.0], [1.0]]) - [0.6, 0.95]).max() < 0.01
    assert len(fitted.bends_at) == 2


def test_a_score_that_few_labels_have_pulls_none_along_that_is_far_above_it_by_weight() -> None:
    """150 right ones stand above 1,500 of which 75% are right: together they are under the 80% of the next, unless each counts the same."""
    counts, shares = (1500, 150, 1500, 1000), (0.5, 1.0, 0.75, 0.8)
    scores = np.repeat(np.arange(4.0), counts)
    right = np.concatenate([np.arange(n) < share * n for n, share in zip(counts, shares, strict=True)])
    shown = Calibrator.fit(scores[:, None], right).probability(np.arange(4.0)[:, None])
    assert shown[3] == pytest.approx(0.8, abs=0.005)
    assert shown[0] == pytest.approx(0.5, abs=0.005)
