"""Texts that recur: the confidence of the next copy is how often such copies are right, and nothing is said without evidence."""
from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from engine.recurring import FEWEST_COPIES, STRENGTHS, Recurring

NAMES = ("a", "b", "c")
rows = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(NAMES)), min_size=1, max_size=60)


def made(drawn: list[tuple[int, str]], *, word: float = 0.6, said: str = "a") -> Recurring:
    texts, departments = [f"text {number}" for number, _ in drawn], [name for _, name in drawn]
    return Recurring.of(texts, departments, unseen={text: (said, word) for text in texts})


@given(rows)
def test_leaving_one_copy_out_is_what_counting_the_others_gives(drawn: list[tuple[int, str]]) -> None:
    found = made(drawn)
    counts: dict[int, Counter[str]] = {}
    for number, name in drawn:
        counts.setdefault(number, Counter())[name] += 1
    if sum(c.total() for c in counts.values() if c.total() > 1) < FEWEST_COPIES:
        assert not found.place
        assert found.confidence("text 0", "a") is None
        return
    known = len({"a", *(name for _, name in drawn)})
    expected = []
    for own in counts.values():
        for name, times in own.items():
            rest = own - Counter([name])
            if not rest:
                continue
            shares = {
                other: (rest[other] + found.strength * (0.6 if other == "a" else 0.4 / max(1, known - 1))) / (rest.total() + found.strength)
                for other in {*own, "a"}
            }
            others = max((share for other, share in shares.items() if other != name), default=-1.0)
            right = shares[name] > others
            expected += [(round(max(shares.values()), 6), right)] * times
    features, right = found.left_out()
    assert Counter(expected) == Counter((round(float(expit(odds)), 6), bool(ok)) for odds, ok in zip(features[:, 0], right, strict=True))


@given(rows)
def test_the_routers_word_weighs_as_much_as_makes_left_out_copies_likeliest_and_nothing_is_shown_surer_than_copies_and_word(
    drawn: list[tuple[int, str]],
) -> None:
    found = made(drawn)
    if not found.place:
        return
    counts, known = Counter(drawn), len({"a", *(name for _, name in drawn)})
    totals = Counter(number for number, _ in drawn)

    def word(name: str) -> float:
        return 0.6 if name == "a" else 0.4 / max(1, known - 1)

    def likelihood(strength: float) -> float:
        return sum(
            times * math.log((times - 1 + strength * word(name)) / (totals[number] - 1 + strength))
            for (number, name), times in counts.items() if totals[number] > 1
        )

    assert likelihood(found.strength) == pytest.approx(max(map(likelihood, STRENGTHS)))
    for (number, name), times in counts.items():
        share = (times + found.strength * word(name)) / (totals[number] + found.strength)
        assert found.confidence(f"text {number}", name) <= share + 1e-9


@pytest.mark.parametrize(("copies", "said"), [(FEWEST_COPIES - 1, False), (FEWEST_COPIES, True)])
def test_ten_rows_must_share_their_text_with_another_before_anything_is_said(copies: int, said: bool) -> None:
    found = made([(0, "a")] * copies + [(number, "a") for number in range(1, 30)])
    assert (found.confidence("text 0", "a") is not None) is said


@pytest.mark.parametrize(("texts", "agree"), [(10, 0.6), (10, 0.95), (200, 0.7)])
def test_what_is_shown_is_how_often_the_next_copy_is_right(texts: int, agree: float) -> None:
    rng = np.random.default_rng(texts)
    usual = [NAMES[i] for i in rng.integers(3, size=texts)]

    def drawn(count: int) -> list[tuple[int, str]]:
        numbers = rng.integers(texts, size=count).tolist()
        return [(n, usual[n] if rng.random() < agree else NAMES[(NAMES.index(usual[n]) + 1) % 3]) for n in numbers]

    known = drawn(800)
    found = made(known, word=0.9)
    commonest = {n: Counter(name for other, name in known if other == n).most_common(1)[0][0] for n in {n for n, _ in known}}
    shown, right = [], []
    for number, name in drawn(2000):
        if number in commonest:
            shown.append(found.confidence(f"text {number}", commonest[number]))
            right.append(commonest[number] == name)
    assert np.mean(shown) == pytest.approx(np.mean(right), abs=0.04)


def test_more_copies_are_counted_and_other_texts_wait_for_the_next_fit() -> None:
    found = made([(n, "a") for n in range(10) for _ in range(3)])
    more = found.plus(["text 1"] * 6 + ["text 77"], ["d"] * 6 + ["a"])
    assert more.confidence("text 1", "a") == pytest.approx(3 / 9, abs=0.03)
    assert more.confidence("text 1", "d") > more.confidence("text 1", "a")
    assert more.confidence("text 2", "a") == pytest.approx(found.confidence("text 2", "a"), abs=0.01)
    assert found.confidence("text 2", "a") > 0.93, "30 copies that all agree"
    assert more.confidence("text 77", "a") is None
    assert found.confidence("text 1", "d") is None, "a department that nobody has heard of"
    assert Recurring.empty().plus(["x"], ["a"]).place == {}


def test_what_was_written_says_the_same() -> None:
    rng = np.random.default_rng(1)
    found = made([(int(n), NAMES[(n + (rng.random() < 0.3)) % 3]) for n in rng.integers(20, size=200)])
    arrays, data = found.to_arrays()
    again = Recurring.from_arrays(arrays, data)
    for number in range(20):
        for name in NAMES:
            assert again.confidence(f"text {number}", name) == found.confidence(f"text {number}", name)
    arrays, data = Recurring.empty().to_arrays()
    assert Recurring.from_arrays(arrays, data).confidence("text 1", "a") is None
