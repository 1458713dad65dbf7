"""Equal fingerprints mean the same question, identifiers aside."""
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.fingerprint import fingerprint, normalised


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("My bill is WRONG!!", "my bill is wrong"),
        ("where is order 88-10234", "Where is order 77-00001?"),
        ("invoice INV-200417 is wrong", "invoice INV-990000 is wrong"),
        ("I paid 49.99 € twice", "i paid €12 twice"),
        ("you took 20 pounds", "you took 35 dollars"),
        ("mail me at jo@example.org please", "mail me at al@example.com please"),
        ("see https://a.example/x?y=1", "see www.b.example"),
        ("due on 2026-01-31", "due on 31.01.2026"),
        ("My name is Kim. Where is my card?", "my name is Sam, where is my card"),
        ("don't charge me", "dont charge me"),
        ("where is my parcel\nKind regards\nAlex", "where is my parcel"),
        ("where is my parcel\nKind regards,\n\nAlex McDonald\n", "where is my parcel, best regards, Zoë O'Neill-Ruiz."),
        ("my name is Ann-Marie Lee, my card is lost", "My name is Kim. My card is lost"),
        ("My name is Kim\nWhere is my card?", "My name is Sam Lee! Where is my card?"),
        ("the  bill\n\nis late", "the bill is late"),
    ],
)
def test_texts_that_differ_only_in_identifiers_case_or_punctuation_share_a_fingerprint(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I can log in", "I can not log in"),
        ("I did receive it", "I didn't receive it"),
        ("cancel my order", "do not cancel my order"),
        ("activate my card", "deactivate my card"),
        ("paid twice", "paid once"),
        ("refund 12 items", "refund 12 euros"),
        ("where is my card", "where is my order"),
        ("error E4", "error E5"),
        # No name, or more than a name.
        ("hi my name is ann cancel my contract", "hi my name is ann extend my contract"),
        ("My name is Ann Cancel my contract", "My name is Ann Extend my contract"),
        ("my name is ann never got my card", "my name is ann finally got my card"),
        ("my name is not correct", "my name is now correct"),
        ("My name is Not Correct.", "My name is Now Correct."),
        ("MY NAME IS NOT CORRECT", "MY NAME IS NOW CORRECT"),
        ("my name is spelled wrong", "my name is ann lee"),
        ("My name is Ann never got my card", "My name is Ann finally got my card"),
        ("hello my name is Ann not happy with you", "hello my name is Ann very happy with you"),
        ("My name is Ann Cancel and refund me", "My name is Ann Keep and refund me"),
        ("please close it, regards no", "please close it, regards yes"),
        ("please close it. Regards, No", "please close it. Regards, Yes"),
        ("close it? cheers\nno", "close it? cheers\nyes"),
    ],
)
def test_a_negation_or_another_word_makes_another_fingerprint(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_the_masks_say_what_was_taken_away() -> None:
    assert normalised("Paid $12.50 on 3/4/2026, mail a@b.org, ref 00-4471") == (
        "paid <amount> on <date> mail <mail> ref <id>"
    )


@given(st.text())
def test_any_text_has_a_fingerprint_of_32_hex_digits_that_stays_the_same(text: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", fingerprint(text))
    assert fingerprint(text) == fingerprint(text.strip())
