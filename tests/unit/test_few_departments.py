"""With two to five departments too, a ticket unlike anything known gets a low confidence: the real embedder on the starter's tickets."""
from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from engine import taxonomy_csv
from engine.adapters.minilm import MiniLM
from engine.domain import Policy
from engine.training import fit

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = [
    "how long does it take to boil an egg", "my tomato plants have yellow leaves", "which wine goes with salmon",
    "what is the capital of Australia", "sing me a lullaby", "how do I train a puppy to sit", "the moon is far away",
    "my child has a fever of 39", "which guitar should a beginner learn on", "set an alarm for seven", "I would like to adopt a cat",
    "explain photosynthesis to me", "who won the match last night", "what rhymes with orange", "how tall is the highest mountain",
]
FEW = [
    ["Billing and Payments", "Technical Support"],
    ["Billing and Payments", "Technical Support", "Account Access"],
    ["Complaints", "Orders and Delivery", "Account Access", "Returns and Refunds"],
]


@pytest.mark.parametrize("names", FEW, ids=len)
def test_foreign_tickets_are_not_answered_and_known_ones_are(embedder: MiniLM, names: list[str]) -> None:
    exemplars = [e for e in taxonomy_csv.starter(ROOT / "db" / "starter")[2] if e.department in names]
    model = fit(exemplars, embedder.embed([e.text for e in exemplars]), policy=Policy())

    def shown(texts: list[str]) -> np.ndarray:
        return np.array([p.best.confidence for p in model.predict(texts, list(embedder.embed(texts)), live=set(names))])

    with (ROOT / "tests" / "data" / "starter_kept_apart.csv").open(encoding="utf-8", newline="") as file:
        known = [row["text"] for row in csv.DictReader(file) if row["department"] in names]
    assert shown(known).mean() > 0.85
    foreign = shown(FOREIGN)
    assert (foreign < 0.85).all(), dict(zip(FOREIGN, foreign.round(3), strict=True))
