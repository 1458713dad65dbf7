"""Kernel ridge regression with one target per class, and the scores that each row gets when it is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine import lapack
from engine.kernel import Landmarks, Rows, blend, chunks

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
PENALTY = 0.05
KINSHIP = 0.4
EXACT_ROWS = 16_000
"""Up to here every row is a landmark; beyond, a sample stands for them. So many take 1 GB while they are solved. A fit of 15,900
rows took 93 s on two cores, and 137 s through the largest sample, which on 10,000 training rows made a sixth more mistakes."""
MOST_LANDMARKS = 6_144
BUDGET = 6e11
"""What n m^2 may be for n rows and m landmarks, so that 100,000 rows take minutes and not an hour."""
LARGEST_BLOCK = 6_000
_JITTER = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFit:
    """`coefficients` [landmarks, classes] weigh the kernels.

    left_out  [n, classes] scores of each row as if its text had not been in the fit, with whatever label
    alien     the same as if its whole group (its department, or its topic) had not been there: what an unknown ticket gets.
              NaN for groups of more than LARGEST_BLOCK rows
    """

    coefficients: Floats
    left_out: Floats
    alien: Floats


def landmark_count(rows: int) -> int:
    """How many landmarks a fit of so many rows can afford: all of them, or as many as keep it within BUDGET."""
    return rows if rows <= EXACT_ROWS else min(MOST_LANDMARKS, int((BUDGET / rows) ** 0.5))


def targets(labels: Ints, parents: Ints) -> Floats:
    """[n, classes] float32: +1 at each row's own class, -1 elsewhere, plus KINSHIP times the same for its department.

    `labels` [n] are class numbers, `parents` [classes] each class's department number. The second part says that a
    topic of the same department is the smaller mistake.
    """
    own = np.full((len(labels), len(parents)), -1.0, np.float32)
    own[np.arange(len(labels)), labels] = 1.0
    kin = np.where(parents[labels][:, None] == parents[None, :], np.float32(KINSHIP), np.float32(-KINSHIP))
    return own + kin


def fit_exact(kernel: Floats, wanted: Floats, weights: Floats, *, texts: Ints, groups: Ints) -> RidgeFit:
    """Solve (K + PENALTY / w) a = y with every row as a landmark; `kernel` [n, n] is destroyed. Costs n^3.

    Left-out scores are exact: y - a / diag of the inverse (C. Rasmussen, C. Williams, "Gaussian Processes for Machine
    Learning", 2006, section 5.4.2), and with a block of rows in place of the diagonal for all of them at once. `texts` [n]
    and `groups` [n] number each row's text and group.
    """
    kernel[np.diag_indices(len(kernel))] += np.float32(PENALTY) / weights
    inverse = lapack.inverse(kernel.T)
    diagonal = np.diagonal(inverse).copy()
    coefficients = lapack.symmetric_product(inverse, wanted)
    left_out = wanted - coefficients / diagonal[:, None]
    alien = np.full(wanted.shape, np.nan, np.float32)
    for found, numbers, fewest in ((left_out, texts, 2), (alien, groups, 1)):
        for block in _blocks(numbers, fewest=fewest):
            found[block] = wanted[block] - lapack.solve(inverse[np.ix_(block, block)], coefficients[block])
    return RidgeFit(np.ascontiguousarray(coefficients), left_out, alien)


def _blocks(numbers: Ints, *, fewest: int = 1) -> Iterator[Ints]:
    """The rows of each number, ascending, where they are at least `fewest` and at most LARGEST_BLOCK."""
    order = np.argsort(numbers, kind="stable")
    for block in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        if fewest <= len(block) <= LARGEST_BLOCK:
            yield block


def fit_sampled(
    rows: Rows, landmarks: Landmarks, wanted: Floats, weights: Floats, *, texts: Ints, groups: Ints, dense_share: float
) -> RidgeFit:
    """The same with few landmarks (Nystroem: C. Williams, M. Seeger, 2000); costs n m^2, and never holds [n, m].

    A row enters as f = k(x, landmarks) R^-1 with R^T R = k(landmarks, landmarks). Left-out scores for fixed landmarks:
    y - (y - s) / (1 - h) with the leverage h (R. D. Cook, S. Weisberg, "Residuals and influence in regression", 1982).
    """
    size = len(landmarks)
    own = np.concatenate(
        [blend(*landmarks.similarities(landmarks.rows[part]), dense_share=dense_share) for part in chunks(size)]
    )
    own[np.diag_indices(size)] += np.float32(_JITTER)
    root = lapack.cholesky(own.T, lower=False)
    system = np.zeros((size, size), np.float32)
    right = np.zeros((size, wanted.shape[1]), np.float32)
    for part in chunks(len(rows)):
        kernel = blend(*landmarks.similarities(rows[part]), dense_share=dense_share)
        features = lapack.solve_upper(root, kernel.T, transposed=True)
        weighted = features * weights[part]
        system += weighted @ features.T
        right += weighted @ wanted[part]
    system[np.diag_indices(size)] += np.float32(PENALTY)
    factor = lapack.cholesky(system.T, lower=False)
    solved = lapack.solve_upper(factor, lapack.solve_upper(factor, right, transposed=True))

    def seen(part: Ints) -> tuple[Floats, Floats]:
        """What the fit misses of these rows, and columns whose products are their shares in the hat matrix."""
        kernel = blend(*landmarks.similarities(rows[part]), dense_share=dense_share)
        features = lapack.solve_upper(root, kernel.T, transposed=True)
        halves = lapack.solve_upper(factor, features, transposed=True)
        return wanted[part] - features.T @ solved, halves

    left_out, alien = np.empty(wanted.shape, np.float32), np.full(wanted.shape, np.nan, np.float32)
    order = np.argsort(texts, kind="stable")
    for part in _parts(texts[order]):
        within = order[part]
        missed, halves = seen(within)
        leverage = np.minimum(np.einsum("ij,ij->j", halves, halves) * weights[within], np.float32(0.999))
        left_out[within] = wanted[within] - missed / (1.0 - leverage)[:, None]
        for alike in _blocks(texts[within], fewest=2):
            block = within[alike]
            left_out[block] = wanted[block] - _without(missed[alike], halves[:, alike], weights[block])
    for block in _blocks(groups):
        missed, halves = seen(block)
        alien[block] = wanted[block] - _without(missed, halves, weights[block])
    return RidgeFit(lapack.solve_upper(root, solved), left_out, alien)


def _parts(numbers: Ints) -> Iterator[slice]:
    """Slices as `chunks` gives them, but longer where it would part equal numbers, of which there are runs."""
    start = 0
    for part in chunks(len(numbers)):
        stop = int(np.searchsorted(numbers, numbers[part.stop - 1], side="right"))
        if stop > start:
            yield slice(start, stop)
            start = stop


def _without(missed: Floats, halves: Floats, weights: Floats) -> Floats:
    """What a fit without these rows together misses of them, from what the fit with them does; see `fit_sampled`."""
    # (I - H) e' = e for the rows' hat matrix H = G W, W their weights; for u = W e' the system is symmetric.
    system = np.diag(1.0 / weights) - halves.T @ halves
    system[np.diag_indices(len(system))] += np.float32(_JITTER)
    return lapack.solve(system, missed) / weights[:, None]
