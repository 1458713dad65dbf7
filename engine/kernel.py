"""How alike two tickets are: the kernel of dense vectors and n-gram rows that the learned router rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SHARPNESS = 1.0
NEAREST = 3
CLOSE = 10
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
        return self.dense(rows.dense), self.lexical(rows.ngrams)

    def dense(self, vectors: Floats) -> Floats:
        """The similarity of vectors [n, d] to every landmark's, [n, len(self)] in [-1, 1]."""
        if len(vectors) == 1:
            return (self.rows.dense @ vectors[0])[None, :]
        return vectors @ self.rows.dense.T

    def lexical(self, ngrams: sp.csr_array) -> Floats:
        """The similarity of n-gram rows [n, BUCKETS] to every landmark's, [n, len(self)] in [0, 1]."""
        return (ngrams @ self.postings).toarray()

    def lexical_row(self, columns: Ints, values: Floats) -> Floats:
        """The same for one row as `NgramFeatures.row` gives it, [len(self)]: a third of the sparse product's time."""
        starts = self.postings.indptr[columns]
        counts = self.postings.indptr[columns + 1] - starts
        places = np.repeat(starts - counts.cumsum() + counts, counts)
        places += np.arange(len(places))
        weights = self.postings.data[places]
        weights *= np.repeat(values, counts)
        return np.bincount(self.postings.indices[places], weights, len(self)).astype(np.float32)


def blend(dense: Floats, ngrams: Floats, *, dense_share: float = DENSE_SHARE) -> Floats:
    """exp(SHARPNESS (s - 1)) of the blended similarity s, a positive definite kernel that is 1 for equal tickets."""
    mixed = dense_share * dense
    mixed += (1.0 - dense_share) * ngrams
    mixed -= np.float32(1.0)
    mixed *= np.float32(SHARPNESS)
    return np.exp(mixed, out=mixed)


def nearest(kernel: Floats) -> tuple[Ints, Doubles]:
    """Numbers and blended similarities in [-1, 1] of the CLOSE nearest landmarks, nearest first, from the kernel [n, landmarks]."""
    k = min(CLOSE, kernel.shape[1])
    found = kernel.argpartition(kernel.shape[1] - k, axis=1)[:, -k:]
    rows = np.arange(len(kernel))[:, None]
    close = kernel[rows, found]
    order = (-close).argsort(axis=1, kind="stable")
    return found[rows, order], 1.0 + np.log(close[rows, order], dtype=np.float64) / SHARPNESS


def surroundings(found: Ints, similarities: Doubles, crowding: Floats) -> Doubles:
    """[n, 3] from what `nearest` gave: familiarity in [-1, 1], how near the NEAREST landmarks are, and two leads.

    A lead is how much nearer the ticket is to its nearest landmarks than they are to theirs (`crowding` [landmarks]):
    among tickets that are all alike a stranger must be much alike to pass for known (M. Breunig et al., "LOF: identifying
    density-based local outliers", 2000). One is over half of CLOSE, one over all.
    """
    means = _means(similarities.shape[1])
    around = similarities @ means
    around[:, 1:] -= crowding[found] @ means[:, 1:]
    return around


@lru_cache(maxsize=CLOSE)
def _means(k: int) -> Doubles:
    """[k, 3]: what the first NEAREST, half of CLOSE and all of k similarities are multiplied with for their means."""
    return np.column_stack([(np.arange(k) < m) / min(m, k) for m in (NEAREST, CLOSE // 2, CLOSE)])


def chunks(rows: int, *, size: int = 1024) -> Iterator[slice]:
    """Slices that cover 0..rows, so that intermediate matrices stay small."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
