"""One linear head over the kernel: learns from rows, scores new ones, and knows what it would have said unseen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.linalg as la

from engine import ridge
from engine.kernel import Landmarks, Rows, blend, chunks
from engine.scores import fit_sharpness

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """`coefficients` [landmarks, classes]; `dense_share` is 0 for the head that answers without vectors."""

    coefficients: Floats
    sharpness: float
    dense_share: float

    @classmethod
    def fit(
        cls, rows: Rows, landmarks: Landmarks, labels: Ints, *, classes: int, weights: Floats, dense_share: float
    ) -> tuple[Head, Floats]:
        """The head, and the scores [n, classes] that each row gets when it is left out."""
        wanted = ridge.targets(labels, classes)
        if len(landmarks) == len(rows):
            kernel = np.empty((len(rows), len(rows)), np.float32)
            for part in chunks(len(rows)):
                kernel[part] = blend(*landmarks.similarities(rows[part]), dense_share=dense_share)
            found = ridge.fit_exact(kernel, wanted, weights)
        else:
            found = ridge.fit_sampled(rows, landmarks, wanted, weights, dense_share=dense_share)
        head = cls(found.coefficients, fit_sharpness(found.left_out, labels), dense_share)
        return head, found.left_out

    def scores(self, dense: Floats, ngrams: Floats) -> Floats:
        """[n, classes] from the similarities to the landmarks, each [n, landmarks]."""
        return blend(dense, ngrams, dense_share=self.dense_share) @ self.coefficients

    def extended(self, dense: Floats, ngrams: Floats, own: Floats, labels: Ints, *, classes: int) -> Head:
        """The head after more rows, which become landmarks; what was learned before stays as it is.

        One block step of Gauss-Seidel on the ridge's equations: the new rows learn what the head gets wrong about them.
        `dense` and `ngrams` are similarities to the old landmarks, `own` the blended kernel among the new rows.
        """
        coefficients = np.zeros((len(self.coefficients) + len(labels), classes), np.float32)
        coefficients[: len(self.coefficients), : self.coefficients.shape[1]] = self.coefficients
        # A class that is new has no score yet: nothing known speaks for it.
        said = np.full((len(labels), classes), -1.0, np.float32)
        said[:, : self.coefficients.shape[1]] = self.scores(dense, ngrams)
        system = own.copy()
        system[np.diag_indices(len(system))] += np.float32(ridge.PENALTY)
        missing = ridge.targets(labels, classes) - said
        coefficients[len(self.coefficients) :] = la.solve(system, missing, assume_a="pos", check_finite=False)
        return replace(self, coefficients=coefficients)
