"""How much tickets of no known department count beside the known ones."""
from __future__ import annotations

import numpy as np
import pytest

from engine import scope
from engine.held_out import HeldOut


def alike(known: int, *, lone: int = 0, twice: int = 0) -> HeldOut:
    """Rows that all look the same, nine of ten right, and the same again as strangers; of the last `twice`, all wrong, each text is there twice."""
    count = known + lone + twice
    right = np.arange(count) % 10 > 0
    right[known:] = False
    features = np.zeros((count, 1))
    return HeldOut(
        features=features, odds=np.zeros(count), correct=right, departments=("D",) * count, topics=("",) * count, rows=np.arange(count),
        share=np.where(np.arange(count) >= known + lone, 0.5, 1.0), lone=(np.arange(count) >= known) & (np.arange(count) < known + lone),
        alien=features, has_alien=np.ones(count, np.bool_),
    )


@pytest.mark.parametrize(("rows", "right", "weight"), [
    ({"known": 10_000}, 9000, 10_000 + 50), ({"known": 1000}, 900, 1000 + 25), ({"known": 100}, 90, 100 + 10),
    ({"known": 1000, "lone": 500}, 900, 1000 + 100 + 25), ({"known": 1000, "twice": 400}, 900, 1000 + 200 + 25),
])
def test_strangers_and_lone_rows_count_as_much_as_is_said_of_them(rows: dict[str, int], right: int, weight: int) -> None:
    """Strangers one in two hundred, but 25 at least and a tenth at most; rows alone in their department a tenth together; a text once."""
    shown = scope.fit_calibrator(alike(**rows)).probability([[0.0]])[0]
    assert shown == pytest.approx(right / weight, abs=0.006 + 2 / weight)
