"""Confidence intervals: known values, order, and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.intervals import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    effective_size,
    wilson,
    wilson_weighted,
)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 5000))
    return draw(st.integers(0, n)), n


def test_wilson_gives_the_values_worked_out_by_hand() -> None:
    # 8 of 10 at 95%: z = 1.959964, centre (0.8 + 0.192073) / 1.384146, half-width 0.226583.
    lower, upper = wilson(8, 10)
    assert lower == pytest.approx(0.4901625, abs=1e-6)
    assert upper == pytest.approx(0.9433178, abs=1e-6)


def test_exact_bounds_without_errors_are_the_closed_form() -> None:
    assert clopper_pearson_upper(0, 59, delta=0.05) == pytest.approx(1.0 - 0.05 ** (1 / 59))
    assert clopper_pearson_lower(59, 59, delta=0.05) == pytest.approx(0.05 ** (1 / 59))


def test_nothing_observed_excludes_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson_weighted(0.0, 0.0, squared_weight=0.0) == (0.0, 1.0)
    assert clopper_pearson_upper(0, 0, delta=0.1) == 1.0
    assert clopper_pearson_lower(0, 0, delta=0.1) == 0.0


@given(counts(), st.floats(0.5, 0.999))
def test_wilson_holds_the_observed_rate_and_stays_in_the_unit_interval(seen: tuple[int, int], level: float) -> None:
    lower, upper = wilson(*seen, level=level)
    assert 0.0 <= lower <= seen[0] / seen[1] <= upper <= 1.0


@given(counts(), st.floats(0.001, 0.5))
def test_exact_bounds_surround_the_observed_rate_and_mirror_each_other(seen: tuple[int, int], delta: float) -> None:
    errors, n = seen
    lower, upper = clopper_pearson_lower(errors, n, delta=delta), clopper_pearson_upper(errors, n, delta=delta)
    assert lower <= errors / n <= upper
    assert upper == pytest.approx(1.0 - clopper_pearson_lower(n - errors, n, delta=delta), abs=1e-9)


@given(st.integers(1, 2000), st.floats(0.001, 0.5), st.data())
def test_one_more_error_never_lowers_the_upper_bound(n: int, delta: float, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, n - 1))
    before = clopper_pearson_upper(errors, n, delta=delta)
    assert clopper_pearson_upper(errors + 1, n, delta=delta) >= before


@given(counts(), st.floats(0.01, 100.0))
def test_equal_weights_give_the_unweighted_interval(seen: tuple[int, int], weight: float) -> None:
    good, n = seen
    found = wilson_weighted(min(good * weight, n * weight), n * weight, squared_weight=n * weight**2)
    assert found == pytest.approx(wilson(good, n), abs=1e-9)


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=50))
def test_the_effective_size_is_at_most_the_count(weights: list[float]) -> None:
    assert effective_size(sum(weights), sum(w * w for w in weights)) <= len(weights) * (1 + 1e-9)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("n", [20, 150, 1000])
def test_the_true_rate_is_above_the_exact_upper_bound_in_at_most_delta_of_samples(rate: float, n: int) -> None:
    errors = np.random.default_rng(7).binomial(n, rate, size=4000)
    bounds = {int(e): clopper_pearson_upper(int(e), n, delta=0.05) for e in np.unique(errors)}
    missed = np.mean([bounds[int(e)] < rate for e in errors])
    # Three standard errors of 4000 draws above the promise.
    assert missed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_wilson_covers_the_true_rate_about_as_often_as_it_says(rate: float) -> None:
    right = np.random.default_rng(11).binomial(200, rate, size=4000)
    covered = np.mean([wilson(int(r), 200)[0] <= rate <= wilson(int(r), 200)[1] for r in right])
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(("part", "whole"), [(-1, 5), (6, 5), (math.nan, 5), (1, math.nan), (1, math.inf)])
def test_impossible_counts_are_refused(part: float, whole: float) -> None:
    with pytest.raises(ValueError, match="must lie in 0..n"):
        wilson(part, whole)


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, math.nan])
def test_a_tolerance_outside_its_range_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="delta must lie between"):
        clopper_pearson_upper(1, 5, delta=delta)


@pytest.mark.parametrize("seen", [(1.5, 5), (1, 5.5)])
def test_exact_bounds_refuse_broken_counts(seen: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="whole counts"):
        clopper_pearson_upper(*seen, delta=0.05)


def test_weight_sums_must_be_numbers() -> None:
    with pytest.raises(ValueError, match="finite"):
        effective_size(math.nan, 1.0)
