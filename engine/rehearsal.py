"""Meeting the unknown on purpose: what a ticket of no known department looks like, learned from departments left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.head import Head
from engine.kernel import Landmarks, Rows
from engine.novelty import Assurance
from engine.scores import Ranking

FEWEST_DEPARTMENTS = 4
FEWEST_ROWS = 300
FEWEST_MET = 20
MOST_ROWS = 5_000
FOLDS = 4
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def left_out_groups(parents: Ints) -> Ints:
    """[C] the group of each class that is left out as a whole: its department, or where departments are few the topic itself.

    With two or three departments too little is left when one of them is not there; a topic that nobody has met stands for
    what is unknown then. `parents` [C] are the classes' department numbers.
    """
    few = int(parents.max()) + 1 < FEWEST_DEPARTMENTS <= len(parents)
    return np.arange(len(parents), dtype=np.int64) if few else parents


def rehearse(
    rows: Rows, classes: Ints, weights: Floats, *, texts: Ints, parents: Ints, dense_shares: tuple[float, ...], seed: int
) -> tuple[Assurance | None, ...]:
    """For each dense share how much the signals say; None where departments or rows are too few to leave some out.

    Each fold of departments is left out once: half of the other rows are learned, and the other half and the rows of the
    fold are met as new. `classes` [n] are class numbers, `texts` [n] numbers of texts, `parents` each class's department number.
    """
    departments = parents[classes]
    names = np.unique(departments)
    if len(names) < FEWEST_DEPARTMENTS or len(rows) < FEWEST_ROWS:
        return (None,) * len(dense_shares)
    chance = np.random.default_rng(seed)
    sample = np.sort(chance.permutation(len(rows))[:MOST_ROWS])
    fold_of = np.empty(int(names.max()) + 1, np.int64)
    fold_of[chance.permutation(names)] = np.arange(len(names)) % FOLDS
    learned_half = chance.random(len(sample)) < 0.5
    seen: list[list[tuple[npt.NDArray, ...]]] = [[] for _ in dense_shares]
    for fold in range(FOLDS):
        inside = fold_of[departments[sample]] == fold
        fit, met = sample[~inside & learned_half], sample[inside | ~learned_half]
        if len(np.unique(departments[fit])) < 2:
            continue
        present, own = np.unique(classes[fit], return_inverse=True)
        above = np.unique(parents[present], return_inverse=True)[1]
        landmarks = Landmarks.of(rows[fit])
        found = landmarks.similarities(rows[met])
        for share, collected in zip(dense_shares, seen, strict=True):
            head = Head.fit(
                rows[fit], landmarks, np.arange(len(fit)), own, parents=above, groups=above, weights=weights[fit], texts=texts[fit],
                dense_share=share,
            )[0]
            scores, around = head.scores(*found)
            ranking = Ranking.of(scores, above, sharpness=head.sharpness)
            said = parents[present][ranking.topic]
            unknown = ~np.isin(departments[met], parents[present])
            collected.append((head.typical.signals(scores, ranking, around), said == departments[met], unknown))
    return tuple(_assurance(collected) for collected in seen)


def _assurance(collected: list[tuple[npt.NDArray, ...]]) -> Assurance | None:
    """None where either side is too small to learn from: with one ticket a department, whatever is not learned is unknown."""
    if not collected:
        return None
    signals, right, unknown = (np.concatenate(part) for part in zip(*collected, strict=True))
    if min(np.count_nonzero(right), np.count_nonzero(~unknown), np.count_nonzero(unknown)) < FEWEST_MET:
        return None
    return Assurance.fit(signals, right, unknown)
