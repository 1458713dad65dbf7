"""Drift: zero for equal shares, large for a shift, and silent while chance alone would explain it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.drift import (
    Drift,
    chance_index,
    department_drift,
    histogram_drift,
    population_stability_index,
)

def is_chance(found: Drift) -> bool:
    return found.index <= found.chance


histograms = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=20)


def test_the_index_is_the_formula_worked_out_by_hand() -> None:
    before, after = np.array([100.5, 100.5]) / 201, np.array([50.5, 150.5]) / 201
    expected = float(((after - before) * np.log(after / before)).sum())
    assert population_stability_index([100, 100], [50, 150]) == pytest.approx(expected)
    assert expected == pytest.approx(0.2707, abs=1e-3)


@given(histograms)
def test_the_index_is_symmetric_and_never_negative(drawn: list[tuple[int, int]]) -> None:
    before, after = zip(*drawn, strict=True)
    index = population_stability_index(before, after)
    assert index >= -1e-12
    assert math.isfinite(index)
    assert index == pytest.approx(population_stability_index(after, before), abs=1e-9)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
def test_equal_histograms_have_no_drift(counts: list[int]) -> None:
    assert population_stability_index(counts, counts) == 0.0


@given(histograms, st.randoms())
def test_the_order_of_the_bins_does_not_matter(drawn: list[tuple[int, int]], random: object) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = population_stability_index(*zip(*shuffled, strict=True))
    assert found == pytest.approx(population_stability_index(*zip(*drawn, strict=True)), abs=1e-9)


def test_the_chance_index_is_the_chi_square_quantile_from_the_tables() -> None:
    # Nine degrees of freedom at 1%: 21.666.
    assert chance_index(2000, 500, bins=10) == pytest.approx((1 / 2000 + 1 / 500) * 21.666, rel=1e-4)


def test_chance_alone_stays_under_the_chance_index_in_99_of_100_comparisons() -> None:
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.full(10, 5.0))
    bound = chance_index(2000, 500, bins=10)
    above = np.mean(
        [
            population_stability_index(rng.multinomial(2000, shares), rng.multinomial(500, shares)) > bound
            for _ in range(3000)
        ]
    )
    assert above <= 0.02


def test_a_small_sample_is_not_called_drift() -> None:
    """Ten tickets never look like the shares of ten thousand, yet they say nothing."""
    found = histogram_drift([1000] * 10, [4, 0, 0, 1, 2, 0, 1, 0, 1, 1])
    assert found.index > 0.25
    assert is_chance(found)


def test_a_real_shift_is_beyond_chance_and_has_its_size() -> None:
    rng = np.random.default_rng(2)
    before, same, near, far = (np.histogram(rng.beta(a, b, 5000), 10, (0, 1))[0] for a, b in ((8, 2), (8, 2), (6, 2), (4, 3)))
    assert is_chance(histogram_drift(before, same))
    found = [histogram_drift(before, after) for after in (near, far)]
    assert not any(is_chance(one) for one in found)
    assert 0.10 < found[0].index < 0.25 < found[1].index


def test_a_new_department_counts_as_zero_before() -> None:
    found = department_drift({"billing": 500, "cards": 500}, {"billing": 300, "cards": 300, "loans": 400})
    assert found.index > 0.25 and not is_chance(found)
    assert (found.expected, found.actual) == (1000, 1000)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 500), min_size=1), st.permutations("abcd"))
def test_renaming_departments_changes_nothing(counts: dict[str, int], names: list[str]) -> None:
    renamed = dict(zip("abcd", names, strict=True))
    other = {"a": 40, "c": 10}
    found = department_drift({renamed[k]: n for k, n in counts.items()}, {renamed[k]: n for k, n in other.items()})
    before = department_drift(counts, other)
    assert found.index == pytest.approx(before.index, abs=1e-12)
    assert found.chance == before.chance


def test_nothing_to_compare_is_no_drift() -> None:
    assert is_chance(department_drift({}, {}))
    assert is_chance(department_drift({"a": 10}, {}))
    assert is_chance(department_drift({"a": 10, "b": 500}, {})), "a day without tickets"
    assert chance_index(5, 5, bins=1) == 0.0


def test_bins_that_are_empty_on_both_sides_add_nothing_to_what_chance_explains() -> None:
    assert histogram_drift([40, 60] + [0] * 8, [60, 40] + [0] * 8).chance == histogram_drift([40, 60], [60, 40]).chance


def test_unfit_histograms_are_refused() -> None:
    with pytest.raises(ValueError, match="same bins"):
        population_stability_index([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="not negative"):
        population_stability_index([1, -2], [1, 2])
    with pytest.raises(ValueError, match="not negative"):
        population_stability_index([1, math.nan], [1, 2])
    with pytest.raises(ValueError, match="one-dimensional"):
        histogram_drift([[1]], [[1]])
    with pytest.raises(ValueError, match="bins >= 1"):
        chance_index(1, 1, bins=0)
