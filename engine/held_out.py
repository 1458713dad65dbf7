"""What the learned router says about its own training rows when they are left out: the material of calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engine.head import Head, Unseen
from engine.scores import Ranking

# The unit separator: no topic of a ticket file holds it.
_WITHIN = "\x1f"
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Each row as if its text had not been in the fit, with whatever label. Exact duplicates of text and label are one row.

    features     [n, k] as `Predicted.features`
    odds         [n] log-odds of the department that was said
    correct      [n] whether the department was right
    departments  [n] and topics [n] what was said; a topic is "" where it is the department itself
    rows         [n] which of the training rows they are
    share        [n] in (0, 1], which part of its text's copies has this label: as new, a text is one ticket
    lone         [n] whether no other row has its department, so that it could not be right
    alien        [n, k] features of the row when its whole department is left out (its topic, where departments are few: see
                 `rehearsal.left_out_groups`), valid where has_alien [n]
    """

    features: Doubles
    odds: Doubles
    correct: Flags
    departments: tuple[str, ...]
    topics: tuple[str, ...]
    rows: Ints
    share: Doubles
    lone: Flags
    alien: Doubles
    has_alien: Flags

    @classmethod
    def empty(cls) -> HeldOut:
        """Nothing held out."""
        nothing, no = np.zeros((0, 1)), np.zeros(0, np.bool_)
        return cls(nothing, np.zeros(0), no, (), (), np.zeros(0, np.int64), np.zeros(0), no, nothing, no)

    @classmethod
    def of(
        cls,
        head: Head,
        unseen: Unseen,
        alien: Unseen,
        classes: Ints,
        *,
        names: Sequence[str],
        parents: Sequence[str],
        groups: Ints,
        rows: Ints,
        share: Doubles,
    ) -> HeldOut:
        """From what the head says of left-out rows. `classes` [n] are their labels' numbers, `names` and `parents` per class.

        `groups` [C] say which classes were left out together for `alien`.
        """
        numbers = numbered(parents)
        right = numbers[classes]
        ranking = Ranking.of(unseen.scores, numbers, sharpness=head.sharpness)
        features = head.features(unseen.scores, ranking, unseen.around, labels=classes)
        # With two groups, leaving one out leaves nothing to choose from.
        has_alien = np.isfinite(alien.scores).all(axis=1) & (groups.max() > 1)
        strange = np.zeros_like(features)
        if has_alien.any():
            own = groups[None, :] == groups[classes][has_alien][:, None]
            rest = np.where(own, np.float32(-np.inf), alien.scores[has_alien])
            others = Ranking.of(rest, numbers, sharpness=head.sharpness)
            strange[has_alien] = head.features(rest, others, alien.around[has_alien])
        return cls(
            features=features,
            odds=ranking.odds,
            correct=ranking.best == right,
            departments=tuple(parents[i] for i in ranking.topic),
            topics=tuple(topic_name(names[i], parents[i]) for i in ranking.topic),
            rows=rows,
            share=share,
            lone=np.bincount(right)[right] < 2,
            alien=strange,
            has_alien=has_alien,
        )


def numbered(parents: Sequence[str]) -> Ints:
    """Each class's department as a number, in the order in which departments first appear."""
    return _numbered(tuple(parents))


@lru_cache(maxsize=16)
def _numbered(parents: tuple[str, ...]) -> Ints:
    number = {name: index for index, name in enumerate(dict.fromkeys(parents))}
    numbers = np.array([number[name] for name in parents], np.int64)
    numbers.flags.writeable = False
    return numbers


def in_department(topic: str, department: str) -> str:
    """A class name for a topic of a department that no topic of another department has; the department where there is none."""
    return department if topic in ("", department) else f"{topic}{_WITHIN}{department}"


def topic_name(name: str, parent: str) -> str:
    """The class's name as a topic, without what `in_department` added: empty where the class is the department itself."""
    return "" if name == parent else name.removesuffix(f"{_WITHIN}{parent}")
