"""N-gram rows: what two texts share, without a stored vocabulary."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.features import BUCKETS, COMMON_ROWS, LONGEST_TEXT, NgramFeatures, normalise

TEXTS = ["my card is lost", "the transfer is late", "refund my transfer please"]


def similarity(features: NgramFeatures, left: str, right: str) -> float:
    rows = features.transform([left, right])
    return float((rows[[0]] @ rows[[1]].T).toarray()[0, 0])


def test_a_text_is_wholly_similar_to_itself_and_not_to_one_that_shares_nothing() -> None:
    features = NgramFeatures.fit(TEXTS)
    assert similarity(features, TEXTS[0], TEXTS[0]) == pytest.approx(1.0, abs=1e-5)
    assert similarity(features, "abc", "xyz") == pytest.approx(0.0, abs=1e-5)
    assert 0.1 < similarity(features, TEXTS[1], TEXTS[2]) < 0.9


def test_case_width_and_white_space_make_no_difference() -> None:
    assert normalise("  My\tCARD \n") == normalise("my card")
    assert normalise("ＭＹ card") == "my card"


def test_a_rare_word_links_two_texts_more_than_a_frequent_one() -> None:
    features = NgramFeatures.fit([*["hello there"] * 40, "zebra"])
    assert similarity(features, "hello one", "hello two") < similarity(features, "zebra one", "zebra two")


def test_an_ngram_of_nearly_every_text_is_left_out_once_there_are_many() -> None:
    features = NgramFeatures.fit(["please"] * (COMMON_ROWS + 1) + ["card"])
    columns, _ = features.row("please")
    assert len(columns) == 0
    assert len(NgramFeatures.fit(["please"] * COMMON_ROWS).row("please")[0]) > 0


@pytest.mark.parametrize("text", ["", " \n\t", "?", "卡丢了", "🙂🙂", "a" * 50_000, "\ud800x"])
def test_any_text_gives_a_row_in_range(text: str) -> None:
    columns, values = NgramFeatures.fit(TEXTS).row(text)
    assert len(columns) == len(values)
    assert np.isfinite(values).all()
    assert not len(columns) or (columns.min() >= 0 and columns.max() < BUCKETS)


def test_what_follows_the_longest_text_is_ignored() -> None:
    features = NgramFeatures.fit(TEXTS)
    long = "card " * (LONGEST_TEXT // 5)
    np.testing.assert_array_equal(features.row(long)[0], features.row(long + " entirely different end")[0])


def test_texts_without_spaces_share_characters() -> None:
    features = NgramFeatures.fit(["我的银行卡丢了", "我想退款"])
    asked = "银行卡丢了怎么办"
    assert similarity(features, asked, "我的银行卡丢了") > similarity(features, asked, "我想退款")


def test_arrays_bring_the_same_rows_back() -> None:
    features = NgramFeatures.fit(TEXTS)
    again = NgramFeatures.from_arrays(features.to_arrays())
    np.testing.assert_array_equal(again.frequency_weights, features.frequency_weights)


def test_common_ngrams_stay_left_out_after_storing() -> None:
    features = NgramFeatures.fit(["please"] * (COMMON_ROWS + 1) + ["card"])
    assert len(NgramFeatures.from_arrays(features.to_arrays()).row("please")[0]) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_one_by_one_and_together_give_the_same_rows(texts: list[str]) -> None:
    features = NgramFeatures.fit(texts)
    together = features.transform(texts)
    for number, text in enumerate(texts):
        np.testing.assert_array_equal(together[[number]].indices, features.row(text)[0])
        np.testing.assert_array_equal(together[[number]].data, features.row(text)[1])
