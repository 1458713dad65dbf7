"""When similar labelled tickets answer for a new one, and when they must not."""
from __future__ import annotations

import numpy as np
import pytest

from engine.domain import Limits, Neighbour, Policy
from engine.semantic import NEARLY_SAME_TEXT, SAME_TEXT, SUPPORT, SUPPORT_ACROSS, answers, vote

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
    np.testing.assert_array_equal(found.features[:, :2], [[0.9, 1.0]])


def test_the_similarity_threshold_is_inclusive() -> None:
    assert decides(near([0.80] * 5))
    assert not decides(near([0.7999] * 5))


@pytest.mark.parametrize(("name", "answered"), [("Billing", True), ("Sales", False)])
def test_a_departments_own_similarity_counts_for_it_alone(name: str, answered: bool) -> None:
    policy, neighbours = Policy(similarity=0.95, neighbours=5, limits={name: Limits(similarity=0.85)}), near([0.9] * 5)
    assert answers(vote(neighbours, 5, LIVE), "my bill", neighbours, policy) is answered


@pytest.mark.parametrize(("similarity", "labelled"), [(SAME_TEXT, True), (SAME_TEXT - 0.001, False)])
def test_a_label_of_a_text_that_is_merely_similar_is_one_vote_among_others(similarity: float, labelled: bool) -> None:
    mixed = near([similarity] + [0.9] * 4, departments=["Billing"] + ["Sales"] * 4, source="confirmed")
    found = vote(mixed, 5, LIVE)
    assert found is not None and (found.labelled, found.agreement) == (labelled, 1.0 if labelled else pytest.approx(0.2))
    assert decides(mixed) is labelled


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


def labelled(*given: tuple[int, str, str, float], text: str = "my bill") -> list[Neighbour]:
    """Number, department, source and similarity of each."""
    return [Neighbour(number, name, "", similarity, text=text, source=source) for number, name, source, similarity in given]


def test_of_several_labels_of_one_text_the_newest_counts_whichever_is_listed_first() -> None:
    older = (7, "Billing", "confirmed", 1.0)
    newer = (9, "Sales", "corrected", 1.0)
    for both in ((older, newer), (newer, older)):
        found = vote(labelled(*both), 5, LIVE)
        assert found is not None and (found.department, found.labelled, found.nearest) == ("Sales", True, 9)
        assert decides(labelled(*both))
    back = vote(labelled(older, newer, (11, "Billing", "confirmed", 1.0)), 5, LIVE)
    assert back is not None and (back.department, back.nearest) == ("Billing", 11)


def test_the_newest_label_is_found_beyond_the_neighbours_that_are_counted() -> None:
    many = [(number, "Billing", "confirmed", 1.0) for number in range(1, 6)]
    found = vote(labelled(*many, (9, "Sales", "corrected", 1.0)), 5, LIVE)
    assert found is not None and found.department == "Sales"


def test_a_label_of_a_seeds_very_text_counts_more_than_the_seed() -> None:
    found = vote(labelled((1, "Billing", "seed", 1.0), (900, "Sales", "corrected", 1.0), (2, "Billing", "seed", 0.9)), 5, LIVE)
    assert found is not None and (found.department, found.labelled) == ("Sales", True)


def test_a_newer_label_of_another_text_does_not_speak_for_the_nearest() -> None:
    own = labelled((1, "Billing", "confirmed", 1.0))
    other = labelled((9, "Sales", "corrected", 0.99), text="my bill is not right")
    found = vote(own + other, 5, LIVE)
    assert found is not None and (found.department, found.nearest) == ("Billing", 1)
    seed = vote(labelled((1, "Billing", "seed", 1.0)) + other, 5, LIVE)
    assert seed is not None and (seed.department, seed.labelled) == ("Billing", False)


def test_an_exemplar_of_a_retired_department_neither_silences_the_cache_nor_is_named_as_its_source() -> None:
    retired = [Neighbour(99, "Retired", "", 0.97, text="I have not received my bill", source="seed")]
    neighbours = retired + near([0.95] * 5, text="I received my bill")
    found = vote(neighbours, 5, LIVE)
    assert found is not None and found.nearest == 1
    assert decides(neighbours, "I have received my bill")
    assert not decides(neighbours, "I have not received my bill")


def test_a_seed_of_the_same_text_does_not_outweigh_its_neighbours() -> None:
    found = vote(near([SAME_TEXT, 0.9, 0.9, 0.9, 0.9], departments=["Sales"] + ["Billing"] * 4), 5, LIVE)
    assert found is not None and found.agreement == pytest.approx(0.2)


def test_a_not_between_the_ticket_and_its_nearest_neighbour_silences_the_cache() -> None:
    neighbours = near([0.95] * 5, text="I received my bill")
    assert decides(neighbours, "i have received my bill")
    assert not decides(neighbours, "I have not received my bill")


LOW = Policy(similarity=0.70, neighbours=5)


def vouched(share: float, neighbours: list[Neighbour], text: str = "my bill", *, policy: Policy = LOW) -> bool:
    """Do the neighbours answer when the learned router gives their department this share?"""
    scores = {"Billing": share, "Sales": 1.0 - share}
    return answers(vote(neighbours, policy.neighbours, LIVE, scores=scores), text, neighbours, policy)


def test_neighbours_alone_must_be_nearer_than_those_that_the_learned_router_vouches_for() -> None:
    far = near([0.75] * 5)
    assert vouched(SUPPORT, far)
    assert not answers(vote(far, 5, LIVE), "my bill", far, LOW)


def test_a_learned_router_that_is_not_sure_of_the_same_department_silences_the_cache() -> None:
    assert not vouched(SUPPORT - 0.001, near([0.97] * 5))
    neighbours = near([0.97] * 5)
    unknown = vote(neighbours, 5, LIVE, scores={"Sales": 0.4})
    assert unknown is not None and unknown.support is None, "a department the router has not learned has no share"
    assert answers(unknown, "my bill", neighbours, LOW)


def test_across_a_not_the_learned_router_must_be_surer_and_nearly_equal_texts_stay_silent() -> None:
    asked = "I have not received my bill"
    neighbours = near([0.85] * 5, text="I received my bill")
    assert not vouched(SUPPORT, neighbours, asked)
    assert vouched(SUPPORT_ACROSS, neighbours, asked)
    assert not vouched(0.9999, near([NEARLY_SAME_TEXT] * 5, text="I received my bill"), asked)


def test_a_supervisors_label_of_the_very_same_text_needs_nobody_to_vouch_for_it() -> None:
    own = near([SAME_TEXT], source="corrected")
    assert vouched(0.01, own)
    sure, doubtful = (vote(own, 5, LIVE, scores={"Billing": share, "Sales": 1.0 - share}) for share in (0.99, 0.01))
    assert sure is not None and doubtful is not None
    np.testing.assert_array_equal(sure.features, doubtful.features)


@pytest.mark.parametrize("text", ["my bill", "not my bill"])
def test_raising_any_demand_never_lets_the_cache_answer_more(text: str) -> None:
    for share in (0.5, 0.9, 0.95, 0.97, 0.98, 0.999):
        for similarity in (0.65, 0.72, 0.81, 0.94, 0.96):
            neighbours = near([similarity] * 5)
            by_threshold = [vouched(share, neighbours, text, policy=Policy(similarity=t)) for t in (0.6, 0.7, 0.8, 0.9)]
            assert by_threshold == sorted(by_threshold, reverse=True)
            by_count = [vouched(share, neighbours, text, policy=Policy(neighbours=k)) for k in (3, 5, 6)]
            assert by_count == sorted(by_count, reverse=True)


def test_features_are_finite_and_rise_with_the_routers_share() -> None:
    odds = []
    for share in (0.0, 0.3, 0.95, 0.999, 1.0):
        found = vote(near([0.9] * 5), 5, LIVE, scores={"Billing": share})
        assert found is not None and np.isfinite(found.features).all()
        odds.append(found.features[0, 2])
    assert odds == sorted(odds) and len(set(odds)) == len(odds)
