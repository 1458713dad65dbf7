"""What is promised of a training set rests on confidences that no label had a part in which it is held against."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.held_out import HeldOut
from engine.promise import crossed_confidence


def rows(count: int = 400) -> HeldOut:
    """Rows whose one feature says how likely they are right; none of a department that is not there."""
    chance = np.random.default_rng(5)
    features = chance.normal(1.0, 1.5, (count, 1))
    return HeldOut(
        features=features, odds=features[:, 0], correct=chance.random(count) < 1 / (1 + np.exp(-features[:, 0])), departments=("D",) * count,
        topics=("",) * count, rows=np.arange(count), share=np.ones(count), lone=np.zeros(count, np.bool_), alien=np.zeros((count, 1)),
        has_alien=np.zeros(count, np.bool_),
    )


@pytest.mark.parametrize("row", [0, 57, 399])
def test_a_rows_confidence_does_not_move_with_its_own_label_and_others_do(row: int) -> None:
    held_out = rows()
    other = held_out.correct.copy()
    other[row] = not other[row]
    before, after = crossed_confidence(held_out), crossed_confidence(replace(held_out, correct=other))
    assert before[row] == after[row]
    assert (before != after).mean() > 0.8
