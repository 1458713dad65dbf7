"""One linear head over the kernel: learns from rows, scores new ones, and knows what it would have said unseen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine import lapack, ridge
from engine.kernel import CLOSE, SHARPNESS, Landmarks, Rows, blend, chunks, nearest, surroundings
from engine.novelty import Assurance, Typical
from engine.scores import Ranking, fit_sharpness

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# The kernel of two tickets that could not be less alike.
_UNLIKE = np.float32(np.exp(-2.0 * SHARPNESS))
ANCHORS = 64
"""Known tickets beside the new ones that are taken in. On a training set with a whole department kept back, 20 of its tickets
taken in left 96% of the others right, as a new fit does; without anchors it was 81%."""


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """Scores [n, classes] and surroundings [n, 3] that training rows get from a fit that has not seen them."""

    scores: Floats
    around: Doubles


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """`coefficients` [landmarks, classes]; `dense_share` is 0 for the head that answers without vectors.

    The coefficients of a class lie side by side in memory (Fortran's order): one ticket is scored in two thirds of the time.
    `constant` [landmarks] are the coefficients of the function that the fit says is 1 for every known ticket: with it a
    class that is new can be denied to all that was known before. `crowding` [landmarks] is how near the landmarks nearest
    to each one are. Without an `assurance` (too little to learn it from) the plain features are calibrated.
    """

    coefficients: Floats
    constant: Floats
    crowding: Floats
    typical: Typical
    sharpness: float
    dense_share: float
    assurance: Assurance | None = None

    @classmethod
    def fit(
        cls, rows: Rows, landmarks: Landmarks, chosen: Ints, labels: Ints, *, parents: Ints, groups: Ints, weights: Floats,
        texts: Ints, dense_share: float,
    ) -> tuple[Head, Unseen, Unseen]:
        """The head, what it says of each row when its text is left out, and when its whole group is.

        `chosen` are the row numbers of the landmarks, ascending; `parents` [classes] each class's department number, `groups`
        [classes] what is left out as a whole (`rehearsal.left_out_groups`); `texts` [n] number the rows' texts.
        """
        wanted = np.column_stack([ridge.targets(labels, parents), np.ones(len(rows), np.float32)])
        group = groups[labels]
        exact = len(landmarks) == len(rows)
        whole = np.empty((len(rows), len(rows)) if exact else (0, 0), np.float32)
        close = min(CLOSE, len(landmarks))
        near, alien_near = ((np.empty((len(rows), close), np.int64), np.empty((len(rows), close))) for _ in range(2))
        for part in chunks(len(rows)):
            kernel = blend(*landmarks.similarities(rows[part]), dense_share=dense_share)
            if exact:
                whole[part] = kernel
            kernel[texts[part][:, None] == texts[chosen][None, :]] = _UNLIKE
            near[0][part], near[1][part] = nearest(kernel)
            kernel[group[part][:, None] == group[chosen][None, :]] = _UNLIKE
            alien_near[0][part], alien_near[1][part] = nearest(kernel)
        if exact:
            found = ridge.fit_exact(whole, wanted, weights, texts=texts, groups=group)
        else:
            found = ridge.fit_sampled(rows, landmarks, wanted, weights, texts=texts, groups=group, dense_share=dense_share)
        left_out = found.left_out[:, :-1]
        coefficients, constant = np.asfortranarray(found.coefficients[:, :-1]), found.coefficients[:, -1].copy()
        crowding = near[1][chosen].mean(axis=1).astype(np.float32)
        head = cls(
            coefficients, constant, crowding, Typical.of(left_out, labels), fit_sharpness(left_out, labels), dense_share
        )
        alien = Unseen(found.alien[:, :-1], surroundings(*alien_near, crowding))
        return head, Unseen(left_out, surroundings(*near, crowding)), alien

    def scores(self, dense: Floats, ngrams: Floats) -> tuple[Floats, Doubles]:
        """[n, classes] and the surroundings [n, 3], from the similarities to the landmarks, each [n, landmarks]."""
        kernel = blend(dense, ngrams, dense_share=self.dense_share)
        return kernel @ self.coefficients, surroundings(*nearest(kernel), self.crowding)

    def features(self, scores: Floats, ranking: Ranking, around: Doubles, *, labels: Ints | None = None) -> Doubles:
        """[n, k] what calibration takes, each the surer the higher: assurance alone, or log-odds, margin and familiarity.

        Arguments as for `Typical.signals`.
        """
        if self.assurance is None:
            return np.column_stack([ranking.odds, ranking.margin, around[:, 0]])
        return self.assurance.of(self.typical.signals(scores, ranking, around, labels=labels))

    def extended(self, landmarks: Landmarks, new: Rows, labels: Ints, *, parents: Ints) -> Head:
        """The head after more rows, which become landmarks: they learn what the head gets wrong about them.

        One step of block Gauss-Seidel on the ridge's equations (G. Golub, C. Van Loan, "Matrix Computations", 11.2), the
        block being the new rows and the ANCHORS landmarks nearest to them. These are told that what was right about them
        still is: a few tickets of a new class would otherwise draw their known neighbours over to it.
        """
        known, old = self.coefficients.shape
        kernel = blend(*landmarks.similarities(new), dense_share=self.dense_share)
        before = np.empty((known, len(parents)), np.float32)
        before[:, :old] = self.coefficients
        # Nothing that was known before belongs to a class that is new.
        before[:, old:] = -(1.0 + ridge.KINSHIP) * self.constant[:, None]
        wanted = np.column_stack([ridge.targets(labels, parents), np.ones(len(labels), np.float32)])
        anchors = np.sort((-kernel.max(axis=0)).argsort(kind="stable")[:ANCHORS])
        block = landmarks.rows[anchors].plus(new)
        system = blend(*Landmarks.of(block).similarities(block), dense_share=self.dense_share)
        among = system[len(anchors) :, len(anchors) :].copy()
        among[np.diag_indices(len(among))] = _UNLIKE
        crowding = nearest(np.concatenate([kernel, among], axis=1))[1].mean(axis=1).astype(np.float32)
        missing = np.zeros((len(block), wanted.shape[1]), np.float32)
        missing[len(anchors) :] = wanted - kernel @ np.column_stack([before, self.constant])
        system[np.diag_indices(len(system))] += np.float32(ridge.PENALTY)
        change = lapack.solve(system, missing)
        constant = self.constant.copy()
        before[anchors] += change[: len(anchors), :-1]
        constant[anchors] += change[: len(anchors), -1]
        return replace(
            self,
            coefficients=np.asfortranarray(np.concatenate([before, change[len(anchors) :, :-1]])),
            constant=np.concatenate([constant, change[len(anchors) :, -1]]),
            crowding=np.concatenate([self.crowding, crowding]),
            typical=self.typical.widened(len(parents)),
        )

    def to_arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Plain arrays whose names begin with `name`."""
        return {
            name: self.coefficients,
            f"{name}_constant": self.constant,
            f"{name}_crowding": self.crowding,
            f"{name}_means": self.typical.means,
            f"{name}_spread": self.typical.spread,
            f"{name}_counts": self.typical.counts,
        }

    def to_json(self) -> dict[str, Any]:
        """What belongs to the arrays, as JSON values."""
        return {
            "sharpness": self.sharpness,
            "dense_share": self.dense_share,
            "fallback": list(self.typical.fallback),
            "assurance": self.assurance.to_json() if self.assurance else None,
        }

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, npt.NDArray[Any]], data: Mapping[str, Any]) -> Head:
        """The head that `to_arrays` and `to_json` wrote. Raises KeyError or ValueError for anything else."""
        own, other = data["fallback"]
        means, spread, counts = (arrays[f"{name}_{part}"] for part in ("means", "spread", "counts"))
        return cls(
            np.asfortranarray(arrays[name]), arrays[f"{name}_constant"], arrays[f"{name}_crowding"],
            Typical(means, spread, counts, (own, other)), data["sharpness"], data["dense_share"], Assurance.from_json(data["assurance"]),
        )
