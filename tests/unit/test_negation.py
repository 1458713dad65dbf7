"""A cached answer is not given across a "not" or an opposite word."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.negation import conflict, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("my card works", "my card doesn't work"),
        ("I received the parcel", "I never received the parcel"),
        ("I can log in", "I cannot log in"),
        ("please activate my card", "please deactivate my card"),
        ("block my card", "unblock my card"),
        ("open an account", "close an account"),
        ("start my subscription", "cancel my subscription"),
        ("upgrade my plan", "downgrade my plan"),
        ("I sent the goods", "I received the goods"),
        ("payment accepted", "payment declined"),
        ("charged before the trial", "charged after the trial"),
    ],
)
def test_a_denial_or_an_opposite_on_one_side_alone_is_a_conflict_in_both_directions(one: str, other: str) -> None:
    assert conflict(one, other)
    assert conflict(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("my card doesn't work", "card not working"),
        ("I can’t log in", "cannot log in"),
        ("block my card", "please freeze my card"),
        ("lock and unlock the card", "unlock the card"),
        ("where is my order", "where is my parcel"),
        ("another notice", "a note"),
    ],
)
def test_texts_that_both_deny_or_say_the_same_are_no_conflict(one: str, other: str) -> None:
    assert not conflict(one, other)
    assert not conflict(other, one)


@given(st.text(), st.text())
def test_a_conflict_is_mutual_and_no_text_conflicts_with_itself(one: str, other: str) -> None:
    assert conflict(one, other) == conflict(other, one)
    assert not conflict(one, one)


def test_words_are_lower_case_without_apostrophes() -> None:
    assert words("Don't PANIC, don’t!") == {"dont", "panic"}
