"""Kernel ridge regression with one target per class, and the scores that each row gets when it is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg as la

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

    left_out  [n, classes] scores of each row as if it had not been in the fit
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


def fit_exact(kernel: Floats, wanted: Floats, weights: Floats, groups: Ints) -> RidgeFit:
    """Solve (K + PENALTY / w) a = y with every row as a landmark; `kernel` [n, n] is destroyed. Costs n^3.

    Left-out scores are exact: y - a / diag of the inverse (C. Rasmussen, C. Williams, "Gaussian Processes for Machine
    Learning", 2006, section 5.4.2), and with the block of a group's rows in place of the diagonal for all of them
    at once. `groups` [n] is each row's group number.
    """
    kernel[np.diag_indices(len(kernel))] += np.float32(PENALTY) / weights
    factor, failed = la.lapack.spotrf(kernel.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise ValueError("the kernel is not positive definite: a vector is not of unit length or not finite")
    inverse, _ = la.lapack.spotri(factor, lower=1, overwrite_c=1)
    diagonal = np.diagonal(inverse).copy()
    coefficients = la.blas.ssymm(1.0, inverse, wanted, lower=1)
    alien = np.full(wanted.shape, np.nan, np.float32)
    for block in _blocks(groups):
        part = inverse[np.ix_(block, block)]
        missed = la.solve(part, coefficients[block], lower=True, assume_a="pos", overwrite_a=True, check_finite=False)
        alien[block] = wanted[block] - missed
    return RidgeFit(np.ascontiguousarray(coefficients), wanted - coefficients / diagonal[:, None], alien)


def _blocks(groups: Ints) -> Iterator[Ints]:
    """Row numbers of each group, ascending, without the groups that are too large."""
    for number in np.unique(groups):
        block = np.flatnonzero(groups == number)
        if len(block) <= LARGEST_BLOCK:
            yield block


def fit_sampled(
    rows: Rows, landmarks: Landmarks, wanted: Floats, weights: Floats, groups: Ints, *, dense_share: float
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
    root = la.cholesky(own, lower=False, overwrite_a=True, check_finite=False)
    system = np.zeros((size, size), np.float32)
    right = np.zeros((size, wanted.shape[1]), np.float32)
    for part in chunks(len(rows)):
        kernel = blend(*landmarks.similarities(rows[part]), dense_share=dense_share)
        features = la.solve_triangular(root, kernel.T, trans=1, check_finite=False)
        weighted = features * weights[part]
        system += weighted @ features.T
        right += weighted @ wanted[part]
    system[np.diag_indices(size)] += np.float32(PENALTY)
    factor = la.cholesky(system, lower=False, overwrite_a=True, check_finite=False)
    solved = la.cho_solve((factor, False), right, check_finite=False)
    left_out = np.empty(wanted.shape, np.float32)
    for part in chunks(len(rows)):
        kernel = blend(*landmarks.similarities(rows[part]), dense_share=dense_share)
        features = la.solve_triangular(root, kernel.T, trans=1, check_finite=False)
        halves = la.solve_triangular(factor, features, trans=1, check_finite=False)
        leverage = np.minimum(np.einsum("ij,ij->j", halves, halves) * weights[part], np.float32(0.999))
        scores = features.T @ solved
        left_out[part] = wanted[part] - (wanted[part] - scores) / (1.0 - leverage)[:, None]
    alien = np.full(wanted.shape, np.nan, np.float32)
    for block in _blocks(groups):
        kernel = blend(*landmarks.similarities(rows[block]), dense_share=dense_share)
        features = la.solve_triangular(root, kernel.T, trans=1, check_finite=False)
        halves = la.solve_triangular(factor, features, trans=1, check_finite=False)
        # (I - H) e' = e for the rows' hat matrix H = G W, W their weights; for u = W e' the system is symmetric.
        system = np.diag(1.0 / weights[block]) - halves.T @ halves
        system[np.diag_indices(len(block))] += np.float32(_JITTER)
        missed = la.solve(system, wanted[block] - features.T @ solved, assume_a="pos", overwrite_a=True, check_finite=False)
        alien[block] = wanted[block] - missed / weights[block][:, None]
    return RidgeFit(la.solve_triangular(root, solved, check_finite=False), left_out, alien)
