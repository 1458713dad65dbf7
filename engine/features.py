"""N-gram features of a text as one sparse row, hashed, so that no vocabulary has to be stored."""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

WORD_BUCKETS = 1 << 17
CHARACTER_BUCKETS = 1 << 18
BUCKETS = WORD_BUCKETS + CHARACTER_BUCKETS
COMMON_SHARE = 0.05
COMMON_ROWS = 50
"""An n-gram in more than both this share and this number of texts is left out: it tells little and costs most."""
LONGEST_TEXT = 4_000
"""Characters that are looked at; what follows is ignored, as the embedder ignores what follows its last token."""
_CHARACTER_SIZES = (2, 3, 4, 5)
_WORDS = re.compile(r"\w+|[^\w\s]", re.UNICODE)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0x100000001B3)

Buckets = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


def normalise(text: str) -> str:
    """Return the text as the features see it: NFKC, case-folded, white space collapsed, cut at LONGEST_TEXT."""
    return " ".join(unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).casefold().split())


def _word_buckets(text: str) -> Buckets:
    words = _WORDS.findall(text)
    grams = words + [f"{left} {right}" for left, right in zip(words, words[1:], strict=False)]
    return np.fromiter((zlib.crc32(gram.encode("utf-8", "replace")) % WORD_BUCKETS for gram in grams), np.int32, len(grams))


def _character_buckets(text: str) -> Buckets:
    codes = np.frombuffer(f" {text} ".encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    found: list[npt.NDArray[np.uint64]] = []
    rolling = codes
    for size in _CHARACTER_SIZES:
        if len(codes) < size:
            break
        # One more character is mixed into the running hash of each position, so all sizes cost one pass each.
        rolling = (rolling[: len(codes) - size + 1] * _STEP) ^ codes[size - 1 :]
        found.append(rolling + np.uint64(size))
    mixed = np.concatenate(found)
    mixed *= _MULTIPLIER
    mixed >>= np.uint64(46)
    return mixed.astype(np.int32) + np.int32(WORD_BUCKETS)


@dataclass(frozen=True, slots=True)
class NgramFeatures:
    """Word 1-2-grams and character 2-5-grams, log counts times inverse document frequency, each half of unit length.

    A row is [word half, character half] / sqrt(2), so the dot product of two rows is the mean of both cosine
    similarities, in [0, 1]. `frequency_weights` [BUCKETS] float32 holds ln((1 + n) / (1 + df)) + 1 per bucket, and 0 for
    n-grams that are too common.
    """

    frequency_weights: Floats

    @classmethod
    def fit(cls, texts: Sequence[str]) -> NgramFeatures:
        """Learn the document frequencies of the texts (any number, also none)."""
        documents = np.zeros(BUCKETS, np.int64)
        for text in texts:
            plain = normalise(text)
            documents[np.unique(_word_buckets(plain))] += 1
            documents[np.unique(_character_buckets(plain))] += 1
        weights = np.log((1.0 + len(texts)) / (1.0 + documents)) + 1.0
        weights[documents > max(COMMON_ROWS, COMMON_SHARE * len(texts))] = 0.0
        return cls(weights.astype(np.float32))

    def row(self, text: str) -> tuple[Buckets, Floats]:
        """Return the columns (ascending, distinct) and the values of one text; both are empty for a text without signs."""
        plain = normalise(text)
        buckets = np.concatenate([_word_buckets(plain), _character_buckets(plain)])
        # Sorted and counted by hand, both halves at once: `numpy.unique` costs a single short text three times as much.
        buckets.sort()
        last = np.ones(len(buckets), np.bool_)
        np.not_equal(buckets[1:], buckets[:-1], out=last[:-1])
        ends = np.flatnonzero(last)
        columns, counts = buckets[ends], ends + 1
        counts[1:] -= counts[:-1].copy()
        values = np.log(counts, dtype=np.float32)
        values += np.float32(1.0)
        values *= self.frequency_weights[columns]
        telling = values > 0.0
        columns, values = columns[telling], values[telling]
        words = int(columns.searchsorted(WORD_BUCKETS))
        for half in (values[:words], values[words:]):
            half *= np.float32(1.0 / math.sqrt(2.0 * max(float(half @ half), 1e-12)))
        return columns, values

    def transform(self, texts: Sequence[str]) -> sp.csr_array:
        """Return the rows of the texts, [len(texts), BUCKETS] float32."""
        rows = [self.row(text) for text in texts]
        ends = np.cumsum([0, *(len(columns) for columns, _ in rows)], dtype=np.int32)
        columns = np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, np.int32)
        values = np.concatenate([values for _, values in rows]) if rows else np.zeros(0, np.float32)
        return sp.csr_array((values, columns, ends), shape=(len(rows), BUCKETS))

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the state as plain arrays: only the buckets some text has filled, and the weight of the others."""
        rest = float(self.frequency_weights.max(initial=1.0))
        seen = np.flatnonzero(self.frequency_weights != np.float32(rest)).astype(np.int32)
        return {
            "ngram_seen": seen,
            "ngram_weights": self.frequency_weights[seen],
            "ngram_rest": np.asarray([rest], np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> NgramFeatures:
        """Rebuild what `to_arrays` wrote; a missing array is a KeyError."""
        weights = np.full(BUCKETS, arrays["ngram_rest"][0], np.float32)
        weights[arrays["ngram_seen"]] = arrays["ngram_weights"]
        return cls(weights)
