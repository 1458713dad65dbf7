"""How alike two tickets are: the kernel of dense vectors and n-gram rows that the learned router rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.codes import Codes, Selection

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SHARPNESS = 1.0
NEAREST = 3
CLOSE = 10
DENSE_SHARE = 0.8
"""Weight of the dense similarity beside the n-grams'; both were chosen on held-out parts of a training set."""
CHUNK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Tickets as the kernel takes them: the codes of n vectors, and `ngrams` [n, BUCKETS]."""

    codes: Codes
    ngrams: sp.csr_array

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Selection) -> Rows:
        return Rows(self.codes[rows], self.ngrams[rows])

    def plus(self, more: Rows) -> Rows:
        """These rows, then the others."""
        return Rows(self.codes.plus(more.codes), sp.csr_array(sp.vstack([self.ngrams, more.ngrams])))


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
        return self.dense(rows.codes), self.lexical(rows.ngrams)

    def dense(self, codes: Codes) -> Floats:
        """The similarity of n vectors to every landmark's, [n, len(self)] in [-1, 1]."""
        return codes.cosines(self.rows.codes)

    def lexical(self, ngrams: sp.csr_array) -> Floats:
        """The similarity of n-gram rows [n, BUCKETS] to every landmark's, [n, len(self)] in [0, 1]."""
        return (ngrams @ self.postings).toarray()

    def lexical_row(self, columns: npt.NDArray[np.int32], values: Floats) -> Floats:
        """The same for one row as `NgramFeatures.row` gives it, [len(self)]: a third of the sparse product's time."""
        starts = self.postings.indptr[columns]
        counts = self.postings.indptr[columns + 1] - starts
        places = np.repeat(starts - counts.cumsum(dtype=np.int32) + counts, counts)
        places += np.arange(len(places), dtype=np.int32)
        weights = self.postings.data.take(places)
        weights *= np.repeat(values, counts)
        return np.bincount(self.postings.indices.take(places), weights, len(self)).astype(np.float32)


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


def chunks(rows: int) -> Iterator[slice]:
    """Slices that cover 0..rows, so that intermediate matrices stay small."""
    return (slice(start, min(start + CHUNK, rows)) for start in range(0, rows, CHUNK))
