"""Texts that come again and again: how far their earlier copies agree says more of the next one than any router can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from engine.calibration import Calibrator
from engine.scores import log_odds

FEWEST_COPIES = 10
"""With fewer rows whose text recurs nothing can be said of how far copies agree, and the router's own confidence stays."""
STRENGTHS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Recurring:
    """The k texts of the training rows, where enough of them recur; empty else.

    For the next copy of a text a department is as likely as the mean of a Dirichlet distribution says (the model of
    J. E. Mosimann, Biometrika 49, 1962): its copies so far, on a prior that is the router's word on the text, unseen, and
    worth `strength` copies. The likeliest of several departments is less likely than it looks, which the calibrator
    knows from copies that were left out: it lowers, and never raises, what the copies say.

    place        the number of each text, by `key`
    cells        [c, 3] text, department, times; by text, and each text has a cell for the department that the router says
    said, word   [k] the department that the router says of the text unseen, and its confidence
    """

    place: Mapping[int, int]
    departments: tuple[str, ...]
    cells: Ints
    said: Ints
    word: Doubles
    strength: float
    calibrator: Calibrator | None

    @classmethod
    def empty(cls) -> Recurring:
        """Nothing is known to recur."""
        return cls({}, (), np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0), 1.0, None)

    @classmethod
    def of(
        cls, texts: Sequence[str], departments: Sequence[str], *, unseen: Mapping[str, tuple[str, float]]
    ) -> Recurring:
        """From training rows [n]; `unseen` are the router's answer and confidence for each text when that is left out."""
        if not recur(texts):
            return cls.empty()
        place: dict[int, int] = {}
        for text in texts:
            place.setdefault(key(text), len(place))
        names = tuple(dict.fromkeys((*departments, *(name for name, _ in unseen.values()))))
        number = {name: index for index, name in enumerate(names)}
        said, word = np.zeros(len(place), np.int64), np.zeros(len(place))
        for text in dict.fromkeys(texts):
            said[place[key(text)]], word[place[key(text)]] = number[unseen[text][0]], unseen[text][1]
        given = [(place[key(text)], number[name], 1) for text, name in zip(texts, departments, strict=True)]
        silent = np.column_stack([np.arange(len(place)), said, np.zeros(len(place), np.int64)])
        found = cls(place, names, _merged(np.concatenate([np.array(given, np.int64), silent])), said, word, 1.0, None)
        found = replace(found, strength=max(STRENGTHS, key=found._likelihood))
        return replace(found, calibrator=calibrated(*found.left_out()))

    def plus(self, texts: Sequence[str], departments: Sequence[str]) -> Recurring:
        """With more copies of its texts; others are left to the next fit, as is how far copies agree."""
        names = tuple(dict.fromkeys((*self.departments, *departments)))
        more = [
            (self.place[key(text)], names.index(name), 1)
            for text, name in zip(texts, departments, strict=True) if key(text) in self.place
        ]
        cells = _merged(np.concatenate([self.cells, np.array(more, np.int64)])) if more else self.cells
        return replace(self, departments=names, cells=cells) if self.place else self

    def confidence(self, text: str, department: str) -> float | None:
        """The probability in (0, 1) that the department is right; None where the text is not known."""
        at = self.place.get(key(text)) if self.place else None
        if at is None or department not in self.departments:
            return None
        own = self.cells[slice(*np.searchsorted(self.cells[:, 0], (at, at + 1)))]
        number, times = self.departments.index(department), float(own[:, 2].sum())
        weight = float(own[own[:, 1] == number, 2].sum()) + self.strength * float(self._words(np.array([[at, number, 0]]))[0])
        return float(lowered(self.calibrator, np.array([[log_odds(weight / (times + self.strength))]]))[0])

    def left_out(self) -> tuple[Doubles, Flags]:
        """For each copy of the texts that recur, that copy left out: what the calibrator takes [m, 1], and whether it was right."""
        text, times = self.cells[:, 0], self.cells[:, 2]
        weights = times + self.strength * self._words(self.cells)
        order = np.lexsort((-weights, text))
        starts = np.searchsorted(text, np.arange(len(self.said) + 1))
        first, alone = order[starts[:-1]], np.diff(starts) == 1
        second = np.where(alone, -np.inf, weights[order[np.minimum(starts[:-1] + 1, len(order) - 1)]])
        others = np.where(first[text] == np.arange(len(text)), second[text], weights[first][text])
        right = weights - 1.0 > others
        total = self._times()[text]
        shares = np.where(right, weights - 1.0, others) / (total - 1.0 + self.strength)
        copies = np.where(total > 1, times, 0)
        odds = np.array([log_odds(share) if times else 0.0 for share, times in zip(shares.tolist(), copies.tolist(), strict=True)])
        return np.repeat(odds, copies)[:, None], np.repeat(right, copies)

    def _likelihood(self, strength: float) -> float:
        """Log-likelihood of each copy of the texts that recur, given the others."""
        total = self._times()[self.cells[:, 0]]
        again = (total > 1) & (self.cells[:, 2] > 0)
        own = self.cells[again, 2] - 1 + strength * self._words(self.cells[again])
        return float(self.cells[again, 2] @ np.log(own / (total[again] - 1 + strength)))

    def _times(self) -> Ints:
        """[k] how often each text stands there."""
        return np.bincount(self.cells[:, 0], self.cells[:, 2], minlength=len(self.said)).astype(np.int64)

    def _words(self, cells: Ints) -> Doubles:
        """What the router gives each cell's department: its confidence to what it says, the rest evenly to the others."""
        word = self.word[cells[:, 0]]
        return np.where(self.said[cells[:, 0]] == cells[:, 1], word, (1.0 - word) / max(1, len(self.departments) - 1))

    def to_arrays(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Plain arrays and JSON values; `from_arrays` makes the same again."""
        place = np.array([*self.place.items()], np.uint64).reshape(-1, 2)
        arrays = {"recurring_place": place, "recurring_cells": self.cells, "recurring_said": self.said, "recurring_word": self.word}
        calibrator = self.calibrator.to_dict() if self.calibrator else None
        return arrays, {"departments": list(self.departments), "strength": self.strength, "calibrator": calibrator}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], data: Mapping[str, Any]) -> Recurring:
        """What `to_arrays` wrote. Raises KeyError or ValueError for anything else."""
        place, cells, said, word = (arrays[f"recurring_{name}"] for name in ("place", "cells", "said", "word"))
        calibrator = Calibrator.from_dict(data["calibrator"]) if data["calibrator"] else None
        return cls(dict(place.tolist()), tuple(data["departments"]), cells, said, word, float(data["strength"]), calibrator)


def calibrated(odds: Doubles, right: Flags) -> Calibrator:
    """What `left_out` gives as a calibrator that believes the copies until the labels say otherwise."""
    return Calibrator.fit(odds, right, prior=float(np.clip(expit(odds).mean(), 0.01, 0.99)))


def lowered(calibrator: Calibrator, odds: Doubles) -> Doubles:
    """What is shown [m] for these log-odds [m, 1] of a department: the calibrated probability, at most what the odds say."""
    return np.minimum(calibrator.probability(odds), expit(odds[:, 0]))


def recur(texts: Sequence[str]) -> bool:
    """Whether enough of them recur to say how far copies agree."""
    return sum(times for times in Counter(texts).values() if times > 1) >= FEWEST_COPIES


def key(text: str) -> int:
    """64 bits that stand for a text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _merged(cells: Ints) -> Ints:
    """Cells of the same text and department become one, their times added; by text, then department."""
    pairs, of = np.unique(cells[:, :2], axis=0, return_inverse=True)
    times = np.bincount(of.ravel(), cells[:, 2], minlength=len(pairs)).astype(np.int64)
    return np.column_stack([pairs, times])
