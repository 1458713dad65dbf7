"""Vectors rounded to 8 bits: how near they stay, and what has no vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.codes import Codes


def unit(rows: int, width: int, *, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(1, 40), st.integers(1, 400), st.integers(0, 99))
def test_similarities_stay_within_a_hundredth_and_never_leave_their_range(rows: int, width: int, seed: int) -> None:
    vectors = unit(rows, width, seed=seed)
    found = Codes.of(vectors).cosines(Codes.of(vectors))
    np.testing.assert_allclose(found, vectors @ vectors.T, atol=1e-2)
    assert np.abs(found).max() <= 1.0 + 1e-6
    np.testing.assert_allclose(np.diagonal(found), 1.0, atol=1e-6)


@pytest.mark.parametrize("width", [32, 384, 1040, 3072])
def test_few_rows_and_many_get_the_same_similarities(width: int) -> None:
    known, asked = Codes.of(unit(50, width)), Codes.of(unit(30, width, seed=1))
    together = asked.cosines(known)
    for row in range(30):
        np.testing.assert_allclose(asked[row : row + 1].cosines(known)[0], together[row], atol=1e-6)


def test_a_row_of_zeros_stays_without_direction() -> None:
    vectors = unit(3, 16)
    vectors[1] = 0.0
    codes = Codes.of(vectors)
    assert list(codes.scales == 0.0) == [False, True, False]
    assert not codes.cosines(codes)[1].any()


def test_length_does_not_count() -> None:
    vectors = unit(5, 64)
    np.testing.assert_array_equal(Codes.of(vectors * np.float32(0.25)).numbers, Codes.of(vectors).numbers)


def test_rows_are_taken_and_put_together() -> None:
    codes = Codes.of(unit(6, 8))
    again = codes[:2].plus(codes[np.array([2, 3])]).plus(codes[np.arange(6) > 3])
    np.testing.assert_array_equal(again.numbers, codes.numbers)
    np.testing.assert_array_equal(again.scales, codes.scales)
    assert len(again) == 6


def test_no_rows_have_no_similarities() -> None:
    assert Codes.of(np.zeros((0, 8), np.float32)).cosines(Codes.of(unit(4, 8))).shape == (0, 4)
