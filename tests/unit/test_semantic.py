"""When similar labelled tickets answer for a new one, and when they must not."""
from __future__ import annotations

import numpy as np
import pytest

from engine.domain import Neighbour, Policy
from engine.semantic import SAME_TEXT, answers, vote

LIVE = {"Billing", "Sales"}
POLICY = Policy(similarity=0.80, neighbours=5)


def near(similarities: list[float], *, departments: list[str] | None = None, source: str = "seed", text: str = "my bill") -> list[Neighbour]:
    names = departments or ["Billing"] * len(similarities)
    return [
        Neighbour(number, name, f"{name} topic", similarity, text=text, source=source)
        for number, (name, similarity) in enumerate(zip(names, similarities, strict=True), start=1)
    ]


def decides(neighbours: list[Neighbour], text: str = "my bill") -> bool:
    return answers(vote(neighbours, POLICY.neighbours, LIVE), text, neighbours, POLICY)


def test_five_near_neighbours_of_one_department_answer() -> None:
    found = vote(near([0.9, 0.85, 0.8, 0.7, 0.6]), 5, LIVE)
    assert found is not None
    assert (found.department, found.topic, found.similarity, found.agreement, found.counted) == ("Billing", "Billing topic", 0.9, 1.0, 5)
    assert decides(near([0.9, 0.85, 0.8, 0.7, 0.6]))
    np.testing.assert_array_equal(found.features, [[0.9, 1.0]])


def test_the_similarity_threshold_is_inclusive() -> None:
    assert decides(near([0.80] * 5))
    assert not decides(near([0.7999] * 5))


def test_one_neighbour_of_another_department_silences_the_cache() -> None:
    mixed = near([0.9] * 5, departments=["Billing"] * 4 + ["Sales"])
    found = vote(mixed, 5, LIVE)
    assert found is not None and found.agreement == pytest.approx(0.8)
    assert not decides(mixed)


def test_fewer_neighbours_than_the_policy_asks_for_do_not_answer() -> None:
    assert not decides(near([0.95] * 4))


def test_only_as_many_neighbours_as_asked_are_counted() -> None:
    assert decides(near([0.9] * 6, departments=["Billing"] * 5 + ["Sales"]))


def test_retired_departments_and_untrusted_sources_have_no_vote() -> None:
    assert vote(near([0.9] * 5, departments=["Retired"] * 5), 5, LIVE) is None
    assert vote(near([0.9] * 5, source="guessed"), 5, LIVE) is None
    assert vote([], 5, LIVE) is None
    assert not answers(None, "my bill", [], POLICY)


@pytest.mark.parametrize("source", ["confirmed", "corrected"])
def test_a_supervisors_label_of_the_very_same_text_outweighs_what_is_merely_similar(source: str) -> None:
    own = near([SAME_TEXT], departments=["Sales"], source=source)
    others = near([0.9] * 4)
    found = vote(own + others, 5, LIVE)
    assert found is not None and (found.department, found.agreement, found.counted) == ("Sales", 1.0, 5)
    assert decides(own + others)


def test_a_seed_of_the_same_text_does_not_outweigh_its_neighbours() -> None:
    found = vote(near([SAME_TEXT, 0.9, 0.9, 0.9, 0.9], departments=["Sales"] + ["Billing"] * 4), 5, LIVE)
    assert found is not None and found.agreement == pytest.approx(0.2)


def test_a_not_between_the_ticket_and_its_nearest_neighbour_silences_the_cache() -> None:
    neighbours = near([0.95] * 5, text="I received my bill")
    assert decides(neighbours, "i have received my bill")
    assert not decides(neighbours, "I have not received my bill")
