"""Solving with large matrices: the same numbers as scipy's own routines, and other threads go on meanwhile."""
from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg as la
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import lapack

Floats = npt.NDArray[np.float32]


def definite(size: int, *, seed: int = 0) -> Floats:
    """A positive definite matrix, Fortran-contiguous."""
    rows = np.random.default_rng(seed).normal(size=(size, size + 5)).astype(np.float32)
    return np.asfortranarray(rows @ rows.T / size + np.eye(size, dtype=np.float32))


def close(found: npt.ArrayLike, wanted: npt.ArrayLike) -> bool:
    return bool(np.allclose(found, wanted, rtol=2e-3, atol=2e-4))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 7), st.integers(0, 10_000))
def test_the_results_are_those_of_scipy(size: int, columns: int, seed: int) -> None:
    matrix = definite(size, seed=seed)
    right = np.random.default_rng(seed + 1).normal(size=(size, columns)).astype(np.float32)
    # What is above the diagonal is not read.
    lower = np.asfortranarray(np.tril(matrix) + np.triu(np.full((size, size), np.nan, np.float32), 1))
    assert close(np.tril(lapack.cholesky(lower.copy(order="F"))), la.cholesky(matrix, lower=True))
    root = lapack.cholesky(matrix.copy(order="F"), lower=False)
    assert close(np.triu(root), la.cholesky(matrix))
    assert close(np.tril(lapack.inverse(lower.copy(order="F"))), np.tril(la.inv(matrix.astype(np.float64))))
    assert close(lapack.symmetric_product(lower, right), matrix @ right)
    assert close(lapack.solve(lower, right), la.solve(matrix, right))
    for transposed in (False, True):
        found = lapack.solve_upper(root, right, transposed=transposed)
        assert close(found, la.solve_triangular(np.triu(root), right, trans=int(transposed)))


def test_what_is_given_stays_as_it_is_where_that_is_said() -> None:
    matrix, right = definite(20), np.ones((20, 3), np.float32)
    kept = matrix.copy()
    lapack.symmetric_product(matrix, right)
    lapack.solve(matrix, right)
    lapack.solve_upper(matrix, right)
    assert np.array_equal(matrix, kept) and (right == 1.0).all()


def test_a_matrix_that_is_not_definite_is_refused() -> None:
    for damaged in (-definite(8), np.full((8, 8), np.nan, np.float32, order="F"), np.zeros((8, 8), np.float32, order="F")):
        for use in (lapack.cholesky, lapack.inverse, lambda one: lapack.solve(one, np.ones((8, 1), np.float32))):
            with pytest.raises(ValueError, match="not positive definite"):
                use(damaged.copy(order="F"))


def test_a_matrix_in_another_order_or_of_another_kind_is_refused_and_not_read_as_if_it_were() -> None:
    good = definite(6)
    for wrong in (np.ascontiguousarray(good[:, ::-1]), good.astype(np.float64), good.astype(np.int32), good[::2, ::2]):
        with pytest.raises(ValueError, match="Fortran-contiguous array of float32"):
            lapack.cholesky(wrong)
    good.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        lapack.cholesky(good)


def test_shapes_that_do_not_fit_are_refused_before_anything_is_read() -> None:
    good, oblong = definite(6), np.ones((6, 4), np.float32, order="F")
    short, flat = np.ones((5, 2), np.float32), np.ones(6, np.float32)
    for use in (
        lambda: lapack.cholesky(oblong), lambda: lapack.inverse(oblong), lambda: lapack.solve(oblong, np.ones((6, 1))),
        *(lambda right=right: lapack.symmetric_product(good, right) for right in (short, flat)),
        *(lambda right=right: lapack.solve(good, right) for right in (short, flat)),
        *(lambda right=right: lapack.solve_upper(good, right) for right in (short, flat)),
    ):
        with pytest.raises(ValueError, match="square matrix"):
            use()


def test_other_threads_go_on_while_it_works() -> None:
    """The same routine of scipy.linalg holds them all up, here for about half a second: they get a turn before it and one after it."""
    matrix, turns, ended = definite(3000), [], threading.Event()

    def turning() -> None:
        while not ended.wait(0.002):
            turns.append(time.perf_counter())

    other = threading.Thread(target=turning)
    other.start()
    began = time.perf_counter()
    lapack.inverse(matrix)
    over = time.perf_counter()
    ended.set()
    other.join()
    assert sum(began < turn < over for turn in turns) > 5
