"""What the learned router says about its own training rows when they are left out: the material of calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.head import Unseen
from engine.scores import Ranking

FEATURES = 3
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Each row as if it had not been in the fit. Exact duplicates of text and label are one row: none was told its answer.

    features     [n, 3] as `Predicted.features`
    correct      [n] whether the department was right
    departments  [n] and topics [n] what was said; a topic is "" where it is the department itself
    rows         [n] which of the training rows they are
    alien        [n, 3] features of the row when its whole department is left out, valid where has_alien [n]
    """

    features: Doubles
    correct: Flags
    departments: tuple[str, ...]
    topics: tuple[str, ...]
    rows: Ints
    alien: Doubles
    has_alien: Flags

    @classmethod
    def empty(cls) -> HeldOut:
        """Nothing held out."""
        nothing, no = np.zeros((0, FEATURES)), np.zeros(0, np.bool_)
        return cls(nothing, no, (), (), np.zeros(0, np.int64), nothing, no)

    @classmethod
    def of(
        cls,
        unseen: Unseen,
        alien: Unseen,
        classes: Ints,
        *,
        sharpness: float,
        names: Sequence[str],
        parents: Sequence[str],
        rows: Ints,
    ) -> HeldOut:
        """From the scores of left-out rows. `classes` [n] are their labels' numbers, `names` and `parents` per class."""
        numbers = numbered(parents)
        right = numbers[classes]
        ranking = Ranking.of(unseen.scores, numbers, sharpness=sharpness)
        # With two departments, leaving one out leaves nothing to choose from.
        has_alien = np.isfinite(alien.scores).all(axis=1) & (numbers.max() > 1)
        strange = np.zeros((len(right), FEATURES))
        if has_alien.any():
            own = numbers[None, :] == right[has_alien][:, None]
            others = Ranking.of(np.where(own, -np.inf, alien.scores[has_alien]), numbers, sharpness=sharpness)
            strange[has_alien] = others.features(alien.familiarity[has_alien])
        return cls(
            features=ranking.features(unseen.familiarity),
            correct=ranking.best == right,
            departments=tuple(parents[i] for i in ranking.topic),
            topics=tuple(topic_name(names[i], parents[i]) for i in ranking.topic),
            rows=rows,
            alien=strange,
            has_alien=has_alien,
        )


def numbered(parents: Sequence[str]) -> Ints:
    """Each class's department as a number, in the order in which departments first appear."""
    number = {name: index for index, name in enumerate(dict.fromkeys(parents))}
    return np.array([number[name] for name in parents], np.int64)


def topic_name(name: str, parent: str) -> str:
    """The class's name as a topic: empty where the class is the department itself."""
    return "" if name == parent else name
