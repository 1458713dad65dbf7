"""One linear head over the kernel: learns from rows, scores new ones, and knows what it would have said unseen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.linalg as la

from engine import ridge
from engine.kernel import SHARPNESS, Landmarks, Rows, blend, chunks, familiarity
from engine.scores import fit_sharpness

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# The kernel of two tickets that could not be less alike.
_UNLIKE = np.float32(np.exp(-2.0 * SHARPNESS))


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """Scores [n, classes] and familiarity [n] that training rows get from a fit that has not seen them."""

    scores: Floats
    familiarity: Doubles


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """`coefficients` [landmarks, classes]; `dense_share` is 0 for the head that answers without vectors.

    `constant` [landmarks] are the coefficients of the function that the fit says is 1 for every known ticket: with it a
    class that is new can be denied to all that was known before.
    """

    coefficients: Floats
    constant: Floats
    sharpness: float
    dense_share: float

    @classmethod
    def fit(
        cls, rows: Rows, landmarks: Landmarks, chosen: Ints, labels: Ints, *, parents: Ints, weights: Floats, dense_share: float
    ) -> tuple[Head, Unseen, Unseen]:
        """The head, what it says of each row when that is left out, and when its whole department is.

        `chosen` are the row numbers of the landmarks, ascending; `parents` [classes] each class's department number.
        """
        wanted = np.column_stack([ridge.targets(labels, parents), np.ones(len(rows), np.float32)])
        departments = parents[labels]
        exact = len(landmarks) == len(rows)
        whole = np.empty((len(rows), len(rows)) if exact else (0, 0), np.float32)
        near, alien_near = np.empty(len(rows)), np.empty(len(rows))
        for part in chunks(len(rows)):
            kernel = blend(*landmarks.similarities(rows[part]), dense_share=dense_share)
            if exact:
                whole[part] = kernel
            itself = np.flatnonzero((chosen >= part.start) & (chosen < part.stop))
            kernel[chosen[itself] - part.start, itself] = _UNLIKE
            near[part] = familiarity(kernel)
            kernel[departments[part][:, None] == departments[chosen][None, :]] = _UNLIKE
            alien_near[part] = familiarity(kernel)
        if exact:
            found = ridge.fit_exact(whole, wanted, weights, departments)
        else:
            found = ridge.fit_sampled(rows, landmarks, wanted, weights, departments, dense_share=dense_share)
        left_out = found.left_out[:, :-1]
        coefficients, constant = np.ascontiguousarray(found.coefficients[:, :-1]), found.coefficients[:, -1].copy()
        head = cls(coefficients, constant, fit_sharpness(left_out, labels), dense_share)
        return head, Unseen(left_out, near), Unseen(found.alien[:, :-1], alien_near)

    def scores(self, dense: Floats, ngrams: Floats) -> tuple[Floats, Doubles]:
        """[n, classes] and the familiarity [n], from the similarities to the landmarks, each [n, landmarks]."""
        kernel = blend(dense, ngrams, dense_share=self.dense_share)
        return kernel @ self.coefficients, familiarity(kernel)

    def extended(self, dense: Floats, ngrams: Floats, own: Floats, labels: Ints, *, parents: Ints) -> Head:
        """The head after more rows, which become landmarks; what was learned before stays as it is.

        One block step of Gauss-Seidel on the ridge's equations: the new rows learn what the head gets wrong about them.
        `dense` and `ngrams` are similarities to the old landmarks, `own` the blended kernel among the new rows.
        """
        known, old = self.coefficients.shape
        kernel = blend(dense, ngrams, dense_share=self.dense_share)
        before = np.empty((known, len(parents)), np.float32)
        before[:, :old] = self.coefficients
        # Nothing that was known before belongs to a class that is new.
        before[:, old:] = -(1.0 + ridge.KINSHIP) * self.constant[:, None]
        system = own.copy()
        system[np.diag_indices(len(system))] += np.float32(ridge.PENALTY)
        wanted = np.column_stack([ridge.targets(labels, parents), np.ones(len(labels), np.float32)])
        missing = wanted - kernel @ np.column_stack([before, self.constant])
        after = la.solve(system, missing, assume_a="pos", check_finite=False)
        return replace(
            self,
            coefficients=np.concatenate([before, after[:, :-1]]),
            constant=np.concatenate([self.constant, after[:, -1]]),
        )
