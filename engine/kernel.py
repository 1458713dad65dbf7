"""How alike two tickets are: the kernel of dense vectors and n-gram rows that the learned router rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Floats = npt.NDArray[np.float32]
SHARPNESS = 2.0
NEAREST = 3
DENSE_SHARE = 0.8
"""Weight of the dense similarity beside the n-grams'; both were chosen on held-out parts of a training set."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Tickets as the kernel takes them: `dense` [n, d] float32, each row of unit length, and `ngrams` [n, BUCKETS]."""

    dense: Floats
    ngrams: sp.csr_array

    def __len__(self) -> int:
        return len(self.dense)

    def __getitem__(self, rows: slice | npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Rows:
        return Rows(self.dense[rows], self.ngrams[rows])

    def plus(self, more: Rows) -> Rows:
        """These rows, then the others."""
        return Rows(np.concatenate([self.dense, more.dense]), sp.csr_array(sp.vstack([self.ngrams, more.ngrams])))


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Known tickets that new ones are compared with, laid out for comparing one ticket fast."""

    rows: Rows
    postings: sp.csr_array

    @classmethod
    def of(cls, rows: Rows) -> Landmarks:
        """Index the rows."""
        return cls(rows, rows.ngrams.T.tocsr())

    def __len__(self) -> int:
        return len(self.rows)

    def similarities(self, rows: Rows) -> tuple[Floats, Floats]:
        """Dense and n-gram similarity to every landmark, each [len(rows), len(self)]; in [-1, 1] and [0, 1]."""
        if len(rows) == 1:
            return (self.rows.dense @ rows.dense[0])[None, :], self._one(rows.ngrams)[None, :]
        return rows.dense @ self.rows.dense.T, (rows.ngrams @ self.postings).toarray()

    def _one(self, ngrams: sp.csr_array) -> Floats:
        """The same for one n-gram row, without the sparse product's second pass and index checks."""
        ends, documents, values = self.postings.indptr, self.postings.indices, self.postings.data
        starts, stops = ends[ngrams.indices], ends[ngrams.indices + 1]
        parts = [(int(a), int(b)) for a, b in zip(starts, stops, strict=True) if b > a]
        if not parts:
            return np.zeros(len(self), np.float32)
        found = np.concatenate([documents[a:b] for a, b in parts])
        weights = np.concatenate([values[a:b] for a, b in parts])
        weights *= np.repeat(ngrams.data[stops > starts], (stops - starts)[stops > starts])
        return np.bincount(found, weights, len(self)).astype(np.float32)


def blend(dense: Floats, ngrams: Floats, *, dense_share: float = DENSE_SHARE) -> Floats:
    """exp(SHARPNESS (s - 1)) of the blended similarity s, a positive definite kernel that is 1 for equal tickets."""
    mixed = dense_share * dense + (1.0 - dense_share) * ngrams
    return np.exp(np.float32(SHARPNESS) * (mixed - np.float32(1.0)))


def familiarity(kernel: Floats) -> npt.NDArray[np.float64]:
    """[n] in [-1, 1]: the mean blended similarity of the NEAREST landmarks, from the kernel [n, landmarks]."""
    k = min(NEAREST, kernel.shape[1])
    nearest = np.partition(kernel, kernel.shape[1] - k, axis=1)[:, -k:].astype(np.float64)
    return 1.0 + np.log(nearest).mean(axis=1) / SHARPNESS


def chunks(rows: int, *, size: int = 1024) -> Iterator[slice]:
    """Slices that cover 0..rows, so that intermediate matrices stay small."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
