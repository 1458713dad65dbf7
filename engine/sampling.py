"""Which training rows count how much, and which of them stand for all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LARGEST_WEIGHT = 4.0
# So many labels next to each other have about the same score.
ALIKE = 30
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def landmark_rows(classes: Ints, *, count: int, seed: int) -> Ints:
    """Row numbers of `count` landmarks, ascending: all rows, or a sample in which rare classes are kept whole."""
    if len(classes) <= count:
        return np.arange(len(classes))
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    # The i-th of a class's rows is taken before the i+1-th of any.
    turn = np.empty(len(classes), np.int64)
    for name in np.unique(classes):
        own = shuffled[classes[shuffled] == name]
        turn[own] = np.arange(len(own))
    return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")[:count]])


def balanced(classes: Ints, mass: Doubles, *, texts: Ints, count: int) -> Floats:
    """Row weights: the square root of how much rarer the class is than the average, times the row's own, mean 1.

    `texts` [n] number the texts of the rows. A text may stand there once for each label that it was given: together they count
    LARGEST_WEIGHT times a usual one at most, and each label its share of that, whatever its class, so that the commoner wins.
    """
    sizes = np.bincount(classes, mass, minlength=count)
    rarity = np.clip((sizes.sum() / (count * sizes)) ** 0.5, 1.0 / LARGEST_WEIGHT, LARGEST_WEIGHT)
    given = np.bincount(texts, mass)
    scarce = np.bincount(texts, mass * rarity[classes]) / given
    counted = scarce * np.minimum(given / np.median(given), LARGEST_WEIGHT)
    weights = counted[texts] * (mass / given[texts])
    return (weights / weights.mean()).astype(np.float32)


def evidence(scores: Doubles, raw: Doubles) -> Doubles:
    """What each label counts [n]: its weight, scaled so that labels of about the same score [n] count as many as even ones would (Kish).

    Over all labels at once, a few sure ones that each stand for fifty tickets would leave hundreds of doubtful ones next to nothing to
    say, also of doubtful tickets, which are told by them alone. Which share of tickets has a score is no matter of this map. What is
    given less than a ticket to say, as left-out departments are, never gets more than that, or than over all labels at once.
    """
    order = np.argsort(scores, kind="stable")
    bucket = np.arange(len(scores)) // ALIKE
    # Ties go together, so that the order of the labels does not matter.
    bucket = bucket[np.searchsorted(scores[order], scores[order], side="left")]
    total, squared = np.bincount(bucket, raw[order]), np.bincount(bucket, np.square(raw[order]))
    most = max(1.0, float(raw.sum() / np.square(raw).sum()))
    mass = np.empty(len(scores))
    mass[order] = raw[order] * np.minimum(total[bucket] / squared[bucket], most)
    return mass
