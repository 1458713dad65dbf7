"""Whether labels say that less was right than was asked for."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.intervals import clopper_pearson_lower
from engine.kept import LASTS, OPENS, Kept


def kept(right: int, labels: int, *, target: float = 0.95, weight: float = 1.0, department: str = "D1") -> Kept:
    """Labels of one weight each."""
    return Kept(department=department, target=target, weight=weight * labels, right=weight * right, squared=weight**2 * labels)


def drawn(correct: Sequence[bool], weights: Sequence[float]) -> Kept:
    right, each = np.asarray(correct), np.asarray(weights, dtype=float)
    return Kept(department="", target=0.95, weight=each.sum(), right=each[right].sum(), squared=np.square(each).sum())


def test_with_labels_of_one_weight_chance_is_the_distance_to_the_exact_bound() -> None:
    found = kept(170, 200)
    assert (found.accuracy, found.shortfall, found.labels) == (0.85, pytest.approx(0.10), 200)
    assert found.chance(OPENS) == pytest.approx(0.15 - clopper_pearson_lower(30, 200, delta=OPENS))
    assert found.missed()


@pytest.mark.parametrize(("right", "labels", "missed"), [
    (200, 200, False), (195, 200, False), (186, 200, False), (180, 200, False), (172, 200, True), (0, 1, False), (0, 3, True),
])
def test_it_is_missed_only_where_the_bound_itself_is_worse_than_the_target(right: int, labels: int, missed: bool) -> None:
    assert kept(right, labels).missed() is missed
    assert kept(right, labels).missed() is (clopper_pearson_lower(labels - right, labels, delta=OPENS) > 0.05 + 1e-12)


def test_a_stricter_proof_is_needed_to_open_an_alert_than_to_keep_it() -> None:
    between = kept(182, 200)
    assert between.chance(OPENS) > between.shortfall > between.chance(LASTS)


def test_above_the_target_nothing_is_missed_and_nothing_is_divided_by_zero() -> None:
    perfect = kept(40, 40)
    assert (perfect.shortfall, perfect.chance(), perfect.missed()) == (pytest.approx(-0.05), 0.0, False)
    assert Kept.together([]) is None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6))
def test_departments_together_are_all_their_labels(parts: list[tuple[int, int]]) -> None:
    rows = [kept(right, right + wrong) for right, wrong in parts if right + wrong]
    whole = Kept.together(rows)
    if not rows:
        assert whole is None
        return
    assert whole is not None and whole.department == ""
    assert whole.labels == pytest.approx(sum(row.labels for row in rows))
    assert whole.accuracy == pytest.approx(sum(row.right for row in rows) / sum(row.weight for row in rows))
    assert Kept.together(reversed(rows)) == whole


@given(st.integers(1, 300), st.integers(0, 300), st.floats(1.0, 1000.0))
def test_what_matters_of_weights_is_how_they_differ(labels: int, wrong: int, weight: float) -> None:
    right = max(0, labels - wrong)
    one, other = kept(right, labels), kept(right, labels, weight=weight)
    assert other.shortfall == pytest.approx(one.shortfall)
    assert other.chance() == pytest.approx(one.chance(), rel=1e-6)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 20.0), (1.0, 50.0)])
def test_a_router_as_good_as_its_target_is_hardly_ever_accused(weights: tuple[float, float]) -> None:
    rng = np.random.default_rng(5)
    accused = 0
    for _ in range(2000):
        each = np.where(rng.random(300) < 0.3, weights[1], weights[0])
        found = drawn(rng.random(300) >= 0.05, each)
        accused += found.shortfall > max(0.0, found.chance(LASTS))
    assert accused / 2000 <= LASTS


def test_a_router_that_is_much_worse_than_its_target_is_found_with_two_hundred_labels() -> None:
    rng = np.random.default_rng(6)
    found = [drawn(rng.random(200) >= 0.15, np.ones(200)).missed() for _ in range(300)]
    assert np.mean(found) > 0.8
