"""Calibration: true on new tickets, monotone, honest about few labels, and the measures that judge it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit

from engine.calibration import Calibrator, expected_calibration_error, reliability
from engine.intervals import wilson_weighted
from engine.reliability import debiased_calibration_error

Draw = tuple[NDArray[np.float64], NDArray[np.bool_]]


def draw_tickets(rng: np.random.Generator, n: int, *, shift: float = 0.0) -> Draw:
    """Four features of different scales that all know something about a hidden log-odds of being right."""
    line = rng.normal(3.0 + shift, 2.2, size=n)
    raw = expit(0.7 * line + rng.normal(0, 0.5, n) - 1.0)
    margin = np.clip(raw**2 + rng.normal(0, 0.05, n), 0, 1)
    agreement = np.clip(np.round((expit(line) + rng.normal(0, 0.2, n)) * 5) / 5, 0, 1)
    similarity = np.clip(0.5 + line / 30 + rng.normal(0, 0.1, n), -1, 1)
    return np.column_stack([raw, margin, agreement, similarity]), rng.random(n) < expit(line)


def test_without_labels_the_prior_is_answered() -> None:
    found = Calibrator.fit(np.zeros((0, 2)), [], prior=0.7).probability([[0.1, 0.2], [5.0, -3.0]])
    assert found.tolist() == [0.7, 0.7]
    assert Calibrator.fit(np.zeros((0, 2)), []).probability([[0.0, 0.0]]).tolist() == [0.5]


def test_without_labels_a_fitted_prior_is_answered_exactly() -> None:
    rng = np.random.default_rng(1)
    method = Calibrator.fit(*draw_tickets(rng, 800))
    department = Calibrator.fit(np.zeros((0, 4)), [], prior=method)
    fresh, _ = draw_tickets(rng, 100)
    assert np.array_equal(department.probability(fresh), method.probability(fresh))
    assert department.labels == 0


@pytest.mark.parametrize(("n", "bar"), [(1000, 0.035), (3000, 0.02), (5000, 0.02)])
def test_the_confidence_is_true_on_new_tickets(n: int, bar: float) -> None:
    rng = np.random.default_rng(n)
    fitted = Calibrator.fit(*draw_tickets(rng, n))
    fresh, right = draw_tickets(rng, 50_000)
    assert fitted.labels == n
    assert expected_calibration_error(fitted.probability(fresh), right) <= bar


def test_a_shape_that_is_not_logistic_is_learned() -> None:
    """Accuracy jumps from 0.55 to 0.97 in the middle of the score, which no single logistic curve follows."""
    rng = np.random.default_rng(3)
    score = rng.random((6000, 1))
    right = rng.random(6000) < np.where(score[:, 0] < 0.5, 0.55, 0.97)
    fitted = Calibrator.fit(score, right)
    assert fitted.probability([[0.25], [0.75]]) == pytest.approx([0.55, 0.97], abs=0.04)


def test_a_few_labels_move_the_prior_only_a_little() -> None:
    rng = np.random.default_rng(4)
    method = Calibrator.fit(*draw_tickets(rng, 5000))
    few, _ = draw_tickets(rng, 3)
    department = Calibrator.fit(few, [False, False, False], prior=method)
    fresh, _ = draw_tickets(rng, 500)
    before, after = method.probability(fresh), department.probability(fresh)
    assert after.mean() < before.mean()
    assert before.mean() - after.mean() < 0.2
    assert department.labels == 3


def test_labels_draw_the_answer_away_from_a_wrong_prior() -> None:
    rng = np.random.default_rng(5)
    features, right = draw_tickets(rng, 3000)
    method = Calibrator.fit(features, right & (rng.random(3000) < 0.6))
    department = Calibrator.fit(*draw_tickets(rng, 2000), prior=method)
    fresh, truth = draw_tickets(rng, 30_000)
    error = expected_calibration_error(department.probability(fresh), truth)
    assert error < 0.25 * expected_calibration_error(method.probability(fresh), truth)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.integers(1, 4), st.booleans())
def test_no_probability_falls_when_a_feature_rises(seed: int, n: int, width: int, nested: bool) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(n, width)) * rng.choice([0.01, 1.0, 50.0], width), rng.integers(0, 4))
    prior = Calibrator.fit(values[::2], rng.random(len(values[::2])) < 0.8, prior=0.8) if nested else 0.8
    fitted = Calibrator.fit(values, rng.random(n) < rng.random(), prior=prior)
    for j in range(width):
        line = np.tile(values[rng.integers(n)], (200, 1))
        line[:, j] = np.linspace(values[:, j].min() - 1.0, values[:, j].max() + 1.0, 200)
        found = fitted.probability(line)
        assert np.all(np.diff(found) >= -1e-12)
        assert np.all((found > 0.0) & (found < 1.0))


@pytest.mark.parametrize("n", [1, 10, 400, 3000])
@pytest.mark.parametrize("verdict", [True, False])
def test_no_number_of_like_labels_makes_certainty(n: int, verdict: bool) -> None:
    values = np.linspace(0, 1, n)[:, None]
    found = Calibrator.fit(values, np.full(n, verdict), prior=0.9).probability([[0.0], [0.5], [1.0]])
    assert np.all((found >= 0.5 / (n + 21)) & (found <= 1 - 0.5 / (n + 21)))


def test_thresholds_cut_single_tickets_and_not_blocks() -> None:
    rng = np.random.default_rng(6)
    fitted = Calibrator.fit(*draw_tickets(rng, 4000))
    fresh, _ = draw_tickets(rng, 4000)
    assert len(np.unique(fitted.probability(fresh))) > 3900


def test_a_constant_feature_is_harmless() -> None:
    found = Calibrator.fit(np.ones((500, 2)), np.arange(500) % 10 > 0).probability(np.ones((1, 2)))
    assert found == pytest.approx([0.9], abs=0.02)


def test_weights_undo_oversampling_of_doubtful_tickets() -> None:
    """Doubtful tickets are all reviewed, sure ones at one in ten: without weights accuracy looks worse than it is."""
    rng = np.random.default_rng(8)
    right = rng.random(40_000) < 0.9
    rate = np.where(right, 0.1, 1.0)
    seen = rng.random(40_000) < rate
    noise = rng.random((40_000, 1))
    plain = Calibrator.fit(noise[seen], right[seen]).probability(noise).mean()
    weighted = Calibrator.fit(noise[seen], right[seen], weights=1.0 / rate[seen])
    assert plain < 0.6
    assert weighted.probability(noise).mean() == pytest.approx(0.9, abs=0.02)
    assert weighted.effective < weighted.labels


def test_hundreds_of_doubtful_labels_count_beside_a_few_sure_ones_that_weigh_much() -> None:
    """The examples were easier than the tickets, and of the sure tickets one in fifty is reviewed."""
    chance = np.random.default_rng(9)

    def tickets(n: int, *, easier: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        line = chance.normal(2.5, 2.0, n)
        true = expit(line + easier)
        return line[:, None], true, chance.random(n) < true

    gaps: dict[tuple[float, float], list[float]] = {(0.5, 0.7): [], (0.7, 0.9): [], (0.9, 1.0): []}
    for _ in range(10):
        features, _, right = tickets(1000, easier=1.0)
        prior = Calibrator.fit(features, right)
        features, _, right = tickets(2000)
        rate = np.where(prior.probability(features) >= 0.9, 0.02, 1.0)
        reviewed = chance.random(2000) < rate
        fitted = Calibrator.fit(features[reviewed], right[reviewed], prior=prior, weights=1.0 / rate[reviewed])
        fresh, true, _ = tickets(6000)
        shown = fitted.probability(fresh)
        for (low, high), found in gaps.items():
            found.append(float(np.mean((shown - true)[(shown >= low) & (shown < high)])))
    assert all(abs(np.mean(found)) < 0.03 for found in gaps.values()), {band: float(np.mean(found)) for band, found in gaps.items()}


def test_few_labels_that_weigh_much_are_believed_as_few() -> None:
    """Five wrong ones stand for five thousand tickets and three hundred right ones for as many: that is what five labels say."""
    values, right = np.tile([[0.2], [0.4], [0.6], [0.8], [1.0]], (61, 1)), np.arange(305) >= 5
    uneven = Calibrator.fit(values, right, prior=0.9, weights=np.where(right, 1.0, 1000.0)).probability(values).mean()
    five = Calibrator.fit(values[:5], right[:5], prior=0.9).probability(values).mean()
    many = Calibrator.fit(values, np.zeros(305, dtype=bool), prior=0.9).probability(values).mean()
    assert many < 0.05
    assert uneven == pytest.approx(five, abs=0.05)


def test_a_department_with_few_labels_may_still_be_as_sure_as_its_method() -> None:
    rng = np.random.default_rng(14)
    method = Calibrator.fit(*draw_tickets(rng, 5000))
    few, _ = draw_tickets(rng, 10)
    department = Calibrator.fit(few, [True] * 10, prior=method)
    fresh, _ = draw_tickets(rng, 2000)
    assert min(department.probability(fresh).max(), method.probability(fresh).max()) > 0.99


def test_the_map_survives_json_and_answers_the_same() -> None:
    rng = np.random.default_rng(9)
    method = Calibrator.fit(*draw_tickets(rng, 1500))
    fitted = Calibrator.fit(*draw_tickets(rng, 300), prior=method)
    again = Calibrator.from_dict(json.loads(json.dumps(fitted.to_dict())))
    fresh, _ = draw_tickets(rng, 200)
    assert np.array_equal(again.probability(fresh), fitted.probability(fresh))
    assert (again.labels, again.effective) == (fitted.labels, fitted.effective)


def test_the_same_labels_give_the_same_map() -> None:
    labels = draw_tickets(np.random.default_rng(10), 900)
    assert Calibrator.fit(*labels).to_dict() == Calibrator.fit(*labels).to_dict()


@pytest.mark.parametrize("damage", [{"version": 99}, {"slopes": [0.0]}, {"knots": []}, {"intercept": None}])
def test_a_damaged_or_foreign_map_is_refused(damage: dict[str, object]) -> None:
    data = Calibrator.fit([[0.1], [0.9]], [False, True]).to_dict() | damage
    with pytest.raises(ValueError, match="fit it again"):
        Calibrator.from_dict(data)


@pytest.mark.parametrize(
    ("features", "correct", "options", "message"),
    [
        ([[np.nan]], [True], {}, "finite"),
        ([[np.inf]], [True], {}, "finite"),
        ([1.0, 2.0], [True, False], {}, "shape"),
        (np.zeros((2, 0)), [True, False], {}, "shape"),
        ([[1.0], [2.0]], [True], {}, "correct must have shape"),
        ([[1.0]], [0.5], {}, "booleans"),
        ([[1.0]], [True], {"weights": [0.0]}, "above 0"),
        ([[1.0]], [True], {"weights": [1.0, 1.0]}, "weights must have shape"),
        ([[1.0]], [True], {"prior": 1.0}, "strictly between"),
        ([[1.0]], [True], {"prior": float("nan")}, "strictly between"),
        ([[1.0]], [True], {"prior": Calibrator.fit(np.zeros((0, 2)), [])}, "the prior takes 2"),
    ],
)
def test_unfit_input_is_refused(features: object, correct: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Calibrator.fit(features, correct, **options)  # type: ignore[arg-type]


def test_a_prediction_needs_the_features_of_the_fit() -> None:
    fitted = Calibrator.fit([[0.1], [0.9]], [False, True])
    with pytest.raises(ValueError, match=r"shape \[n, 1\]"):
        fitted.probability([[0.1, 0.2]])
    with pytest.raises(ValueError, match="finite"):
        fitted.probability([[np.nan]])


def test_fits_are_not_stacked_without_end() -> None:
    fitted: Calibrator | float = 0.5
    for _ in range(8):
        fitted = Calibrator.fit([[0.0], [1.0]], [False, True], prior=fitted)
    with pytest.raises(ValueError, match="chain of 8 priors"):
        Calibrator.fit([[0.0], [1.0]], [False, True], prior=fitted)


def test_calibration_error_is_the_gap_worked_out_by_hand() -> None:
    confidence, correct = [0.2, 0.2, 0.8, 0.8], [False, True, True, True]
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx((0.3 + 0.2) / 2)


def test_no_labels_make_an_empty_diagram() -> None:
    assert reliability([], []) == []
    assert expected_calibration_error([], []) == 0.0
    assert debiased_calibration_error([], []) == 0.0


@pytest.mark.parametrize("doubtful_only", [False, True])
def test_a_true_confidence_hardly_ever_looks_off_by_the_alert_s_limit_even_on_200_labels(doubtful_only: bool) -> None:
    """The plain error in 15 bins is over 0.05 almost always then; weighted labels must not do it either."""
    rng = np.random.default_rng(11)
    plain, debiased = 0, 0
    for _ in range(300):
        confidence = rng.beta(5, 1, 400)
        rate = np.where(confidence < 0.9, 1.0, 0.5) if doubtful_only else np.full(400, 0.5)
        seen = rng.random(400) < rate
        if doubtful_only:
            seen &= np.cumsum(seen) <= 260
        correct, weights = rng.random(400) < confidence, 1.0 / rate
        plain += expected_calibration_error(confidence[seen], correct[seen], weights=weights[seen]) > 0.05
        debiased += debiased_calibration_error(confidence[seen], correct[seen], weights=weights[seen]) > 0.05
    assert plain >= 200
    assert debiased <= 15


def test_a_confidence_that_promises_a_tenth_too_much_is_found_on_200_labels() -> None:
    rng = np.random.default_rng(12)
    found = 0
    for _ in range(200):
        confidence = rng.beta(5, 1, 200) * 0.8 + 0.2
        found += debiased_calibration_error(confidence, rng.random(200) < confidence - 0.1) > 0.05
    assert found >= 160


def test_with_many_labels_the_debiased_error_is_the_plain_one() -> None:
    rng = np.random.default_rng(13)
    confidence = rng.random(50_000)
    correct = rng.random(50_000) < confidence**2
    both = (measure(confidence, correct) for measure in (expected_calibration_error, debiased_calibration_error))
    assert np.ptp(list(both)) < 0.002


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200), st.integers(1, 30))
def test_the_diagram_counts_every_label_once_and_never_splits_ties(rows: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = zip(*rows, strict=True)
    points = reliability(confidence, correct, bins=bins)
    assert 1 <= len(points) <= bins
    assert sum(point.count for point in points) == len(rows)
    assert all(a.high < b.low for a, b in zip(points, points[1:], strict=False))
    assert all(point.lower <= point.accuracy <= point.upper for point in points)
    total = sum(point.accuracy * point.count for point in points)
    assert total == pytest.approx(sum(correct), abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=100), st.randoms())
def test_the_order_of_labels_does_not_matter(rows: list[tuple[float, bool]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = expected_calibration_error(*zip(*shuffled, strict=True))
    assert found == pytest.approx(expected_calibration_error(*zip(*rows, strict=True)), abs=1e-9)


def test_true_confidence_lies_within_its_intervals() -> None:
    rng = np.random.default_rng(12)
    confidence = rng.random(20_000)
    points = reliability(confidence, rng.random(20_000) < confidence)
    assert len(points) == 15
    assert sum(point.true for point in points) >= 13


@pytest.mark.parametrize("bad", [[np.nan], [1.2], [-0.1]])
def test_a_confidence_outside_the_unit_interval_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"confidence must lie in \[0, 1\]"):
        reliability(bad, [True])


def test_a_label_weighs_as_much_in_the_diagram_and_in_the_error_as_the_tickets_it_stands_for() -> None:
    """Two bins of twelve tickets each: three labels that stand for two and six for one, then one for four and eight for one."""
    confidence = np.repeat([0.4, 0.5, 0.8, 0.9], [3, 6, 1, 8])
    weights = np.repeat([2.0, 1.0, 4.0, 1.0], [3, 6, 1, 8])
    correct = np.array([True, True, False] + [True] * 2 + [False] * 4 + [False] + [True] * 8)
    low, high = reliability(confidence, correct, bins=2, weights=weights)
    assert (low.count, low.weight, high.count, high.weight) == (9, 12.0, 9, 12.0)
    assert (low.confidence, high.confidence) == (pytest.approx((6 * 0.4 + 6 * 0.5) / 12), pytest.approx((4 * 0.8 + 8 * 0.9) / 12))
    assert (low.accuracy, high.accuracy) == (pytest.approx(6 / 12), pytest.approx(8 / 12))
    assert (low.lower, low.upper) == pytest.approx(wilson_weighted(6.0, 12.0, squared_weight=3 * 4 + 6))
    assert (high.lower, high.upper) == pytest.approx(wilson_weighted(8.0, 12.0, squared_weight=16 + 8))
    error = expected_calibration_error(confidence, correct, bins=2, weights=weights)
    assert error == pytest.approx((abs(0.45 - 0.5) + abs(10.4 / 12 - 8 / 12)) / 2)


def test_the_error_without_chance_weighs_labels_and_takes_as_many_bins_as_they_are_worth() -> None:
    """120 labels are worth 71 even ones: one bin, where three would not let the errors of its ends make up for each other."""
    confidence, correct = np.repeat([0.6, 0.9], 60), np.repeat([False, True], 60)
    weights = np.where(np.arange(120) < 10, 5.0, 1.0)
    gap = (100 * (0.0 - 0.6) + 60 * (1.0 - 0.9)) / 160
    variance = ((10 * 25 + 50) * 0.6 * 0.4 + 60 * 0.9 * 0.1) / 160**2
    found = debiased_calibration_error(confidence, correct, weights=weights)
    assert found == pytest.approx((gap**2 - variance) ** 0.5)
