"""The learned router: dense vectors beside n-grams in one kernel model over topics, answering with departments."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine import ridge
from engine.codes import Codes
from engine.errors import InputRejected
from engine.features import BUCKETS, NgramFeatures
from engine.head import Head
from engine.held_out import HeldOut, numbered, topic_name
from engine.kernel import DENSE_SHARE, Landmarks, Rows, chunks
from engine.rehearsal import left_out_groups, rehearse
from engine.sampling import balanced, landmark_rows
from engine.scores import Ranking

FORMAT_VERSION = 4
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Answers for n tickets.

    departments  names of the departments that could be answered; `scores` [n, len(departments)] in [0, 1], summing
                 to at most 1 (what is missing belongs to departments that are not live)
    best         [n] number of the best of them; topics [n] best topic under it, "" where it has none
    margin       [n] lead of the best topic over the best one of another department, raw
    familiarity  [n] in [-1, 1], how near the nearest known tickets are
    features     [n, k] what calibration takes (`Head.features`)
    lexical      [n] whether the words alone have answered, for want of a vector
    """

    departments: tuple[str, ...]
    scores: Doubles
    best: Ints
    topics: tuple[str, ...]
    margin: Doubles
    familiarity: Doubles
    features: Doubles
    lexical: Flags


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Immutable. Use `fit`, `refreshed` and `from_arrays`; a text without a vector is answered by its n-grams alone."""

    names: tuple[str, ...]
    parents: tuple[str, ...]
    ngrams: NgramFeatures
    landmarks: Landmarks
    main: Head
    lexical: Head
    seed: int
    rows: int
    out_of_fold: HeldOut
    lexical_out_of_fold: HeldOut

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        vectors: Floats,
        labels: Sequence[str],
        *,
        parents: Mapping[str, str] | None = None,
        weights: Sequence[float] | None = None,
        seed: int = 0,
    ) -> Classifier:
        """Learn labels (topics, or departments where there are no topics) from texts and their vectors.

        `vectors` [n, d] float32 of unit length; a row of zeros means that there is none. `parents` gives a label's
        department, itself where missing. `weights` [n] above 0 say how much a row counts. Rows of rare classes count
        more on top of that. The order of rows decides ties; the names of labels decide nothing.
        Raises InputRejected for fewer than two departments or classes, or shapes that do not fit.
        """
        dense = _checked(texts, vectors, labels)
        given = np.ones(len(texts)) if weights is None else np.asarray(weights, np.float64)
        if given.shape != (len(texts),) or not bool((given > 0).all() and np.isfinite(given).all()):
            raise InputRejected(f"weights: need {len(texts)} finite numbers above 0")
        first: dict[tuple[str, str], int] = {}
        place = np.array([first.setdefault(key, len(first)) for key in zip(texts, labels, strict=True)])
        kept, copies = np.unique(place, return_index=True, return_counts=True)[1:]
        mass = np.bincount(place, given)
        names = tuple(dict.fromkeys(labels))
        above = tuple((parents or {}).get(name, name) for name in names)
        if len(set(above)) < 2:
            raise InputRejected("labels: at least two departments are needed before anything can be learned")
        number = {name: index for index, name in enumerate(names)}
        classes = np.array([number[labels[row]] for row in kept], np.int64)
        kept_texts = [texts[row] for row in kept]
        ngrams = NgramFeatures.fit(kept_texts)
        rows = Rows(Codes.of(dense[kept]), ngrams.transform(kept_texts))
        chosen = landmark_rows(classes, count=ridge.landmark_count(len(classes)), seed=seed)
        landmarks = Landmarks.of(rows if len(chosen) == len(rows) else rows[chosen])
        spoken: dict[str, int] = {}
        alike = np.array([spoken.setdefault(text, len(spoken)) for text in kept_texts])
        counted = balanced(classes, mass, texts=alike, count=len(names))
        share_of_text = copies / np.bincount(alike, copies)[alike]
        numbers = numbered(above)
        groups = left_out_groups(numbers)
        heads, held = [], []
        shares = (DENSE_SHARE, 0.0)
        learned = rehearse(rows, classes, counted, texts=alike, parents=numbers, dense_shares=shares, seed=seed)
        for share, assurance in zip(shares, learned, strict=True):
            head, unseen, alien = Head.fit(
                rows, landmarks, chosen, classes, parents=numbers, groups=groups, weights=counted, texts=alike, dense_share=share
            )
            head = replace(head, assurance=assurance)
            heads.append(head)
            held.append(HeldOut.of(head, unseen, alien, classes, names=names, parents=above, groups=groups, rows=kept, share=share_of_text))
        return cls(names, above, ngrams, landmarks, heads[0], heads[1], seed, len(texts), held[0], held[1])

    @property
    def dimensions(self) -> int:
        """Length of the vectors it takes."""
        return self.landmarks.rows.codes.numbers.shape[1]

    @property
    def departments(self) -> tuple[str, ...]:
        """The departments it has learned, in the order in which they first appeared."""
        return tuple(dict.fromkeys(self.parents))

    def read(self, texts: Sequence[str]) -> Floats:
        """What the words alone say: similarity [n, landmarks] of the texts' n-grams, for `predict`; needs no vectors."""
        if len(texts) == 1:
            return self.landmarks.lexical_row(*self.ngrams.row(texts[0]))[None, :]
        return self.landmarks.lexical(self.ngrams.transform(texts))

    def predict(
        self, texts: Sequence[str], vectors: Floats, *, live: Collection[str] | None = None, words: Floats | None = None
    ) -> Predicted:
        """Answer each text; `vectors` [n, dimensions], zeros for "none". Only `live` departments are answered.

        `words` is what `read` said of these texts, where somebody has asked already.

        Raises InputRejected when no live department has been learned, or shapes do not fit.
        """
        codes = self._coded(_checked(texts, vectors, None))
        answered, allowed = _answerable(self.parents, None if live is None else frozenset(live))
        parts = [
            self._part(self.read(texts[part]) if words is None else words[part], codes[part], allowed)
            for part in chunks(max(len(texts), 1))
        ]
        whole = parts[0] if len(parts) == 1 else [np.concatenate(column) for column in zip(*parts, strict=True)]
        shares, best, topic, margin, familiarity, features, lexical = whole
        if len(answered) < shares.shape[1]:
            shares, best = shares[:, allowed], (np.cumsum(allowed) - 1)[best]
        topics = tuple(topic_name(self.names[i], self.parents[i]) for i in topic)
        return Predicted(answered, shares, best, topics, margin, familiarity, features, lexical)

    def _coded(self, dense: Floats) -> Codes:
        if dense.shape[1] != self.dimensions:
            raise InputRejected(f"vectors: have length {dense.shape[1]}, the classifier takes {self.dimensions}")
        return Codes.of(dense)

    def _part(self, words: Floats, codes: Codes, allowed: Flags) -> tuple[npt.NDArray, ...]:
        found = self.landmarks.dense(codes), words
        numbers = numbered(self.parents)
        without = codes.scales == 0.0
        if not without.any():
            # Nearly always: nothing is copied, which is what one ticket would spend most on.
            scores, around = self.main.scores(*found)
            ranking = Ranking.of(scores, numbers, sharpness=self.main.sharpness, allowed=allowed)
            features = self.main.features(scores, ranking, around)
            return ranking.shares, ranking.best, ranking.topic, ranking.margin, around[:, 0], features, without
        shape = (len(words), len(allowed))
        shares, best, topic = np.zeros(shape), np.zeros(shape[0], np.int64), np.zeros(shape[0], np.int64)
        margin, familiarity = np.zeros(shape[0]), np.zeros(shape[0])
        features = np.zeros((shape[0], 3 if self.main.assurance is None else 1))
        for head, mask in ((self.main, ~without), (self.lexical, without)):
            if not mask.any():
                continue
            scores, around = head.scores(found[0][mask], found[1][mask])
            ranking = Ranking.of(scores, numbers, sharpness=head.sharpness, allowed=allowed)
            shares[mask], best[mask], topic[mask] = ranking.shares, ranking.best, ranking.topic
            margin[mask], familiarity[mask] = ranking.margin, around[:, 0]
            features[mask] = head.features(scores, ranking, around)
        return shares, best, topic, margin, familiarity, features, without

    def refreshed(
        self, texts: Sequence[str], vectors: Floats, labels: Sequence[str], *, parents: Mapping[str, str] | None = None
    ) -> Classifier:
        """A new classifier that has taken these rows in at once, also with labels it did not know.

        Costs a small part of `fit`, which should follow in the background: what was learned before is
        not revised here. Held-out predictions stay those of the last fit. Raises InputRejected for shapes that do not fit.
        """
        dense = _checked(texts, vectors, labels)
        if not len(texts):
            return self
        names = tuple(dict.fromkeys((*self.names, *labels)))
        above = self.parents + tuple((parents or {}).get(name, name) for name in names[len(self.names) :])
        number = {name: index for index, name in enumerate(names)}
        classes = np.array([number[label] for label in labels], np.int64)
        new = Rows(self._coded(dense), self.ngrams.transform(texts))
        main, lexical = (
            head.extended(self.landmarks, new, classes, parents=numbered(above)) for head in (self.main, self.lexical)
        )
        landmarks = Landmarks.of(self.landmarks.rows.plus(new))
        return replace(
            self, names=names, parents=above, landmarks=landmarks, main=main, lexical=lexical, rows=self.rows + len(texts)
        )

    def to_arrays(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Plain arrays (`numpy.savez` without pickle) and a manifest of JSON values that belongs to them."""
        rows = self.landmarks.rows
        arrays: dict[str, npt.NDArray[Any]] = {
            **self.ngrams.to_arrays(),
            "code_numbers": rows.codes.numbers,
            "code_scales": rows.codes.scales,
            "gram_columns": rows.ngrams.indices,
            "gram_values": rows.ngrams.data,
            "gram_ends": rows.ngrams.indptr,
            **self.main.to_arrays("main"),
            **self.lexical.to_arrays("lexical"),
        }
        manifest = {
            "version": FORMAT_VERSION,
            "classes": list(self.names),
            "departments": list(self.parents),
            "sizes": {name: list(array.shape) for name, array in arrays.items()},
            "heads": [self.main.to_json(), self.lexical.to_json()],
            "seed": self.seed,
            "rows": self.rows,
            "sha256": _digest(arrays),
        }
        return arrays, manifest

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], manifest: Mapping[str, Any]) -> Classifier:
        """The classifier that `to_arrays` wrote; its held-out predictions are not stored and come back empty.

        Raises ValueError for another version, or arrays that are not those of the manifest.
        """
        if manifest.get("version") != FORMAT_VERSION:
            raise ValueError(f"classifier format {manifest.get('version')} is not {FORMAT_VERSION}: fit it again")
        own = {name: arrays[name] for name in manifest["sizes"] if name in arrays}
        if _digest(own) != manifest["sha256"]:
            raise ValueError("the stored classifier is damaged (arrays do not match the manifest): fit it again")
        grams = sp.csr_array(
            (own["gram_values"], own["gram_columns"], own["gram_ends"]), shape=(len(own["code_scales"]), BUCKETS)
        )
        main, lexical = manifest["heads"]
        return cls(
            names=tuple(manifest["classes"]),
            parents=tuple(manifest["departments"]),
            ngrams=NgramFeatures.from_arrays(own),
            landmarks=Landmarks.of(Rows(Codes(own["code_numbers"], own["code_scales"]), grams)),
            main=Head.from_arrays("main", own, main),
            lexical=Head.from_arrays("lexical", own, lexical),
            seed=manifest["seed"],
            rows=manifest["rows"],
            out_of_fold=HeldOut.empty(),
            lexical_out_of_fold=HeldOut.empty(),
        )


@lru_cache(maxsize=64)
def _answerable(parents: tuple[str, ...], live: frozenset[str] | None) -> tuple[tuple[str, ...], Flags]:
    """The departments that may be answered, and which of all learned ones they are. Raises InputRejected for none."""
    known = tuple(dict.fromkeys(parents))
    allowed = np.array([live is None or department in live for department in known])
    if not allowed.any():
        raise InputRejected("departments: none of the live ones has labelled tickets yet")
    return tuple(department for department, ok in zip(known, allowed, strict=True) if ok), allowed


def _checked(texts: Sequence[str], vectors: Floats, labels: Sequence[str] | None) -> Floats:
    dense = np.ascontiguousarray(vectors, np.float32)
    if dense.ndim != 2 or len(dense) != len(texts) or (labels is not None and len(labels) != len(texts)):
        raise InputRejected(f"vectors and labels: need one for each of the {len(texts)} texts")
    if not bool(np.isfinite(dense).all()):
        raise InputRejected("vectors: hold NaN or infinity")
    return dense


def _digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
