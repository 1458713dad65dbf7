"""The semantic cache's rule: when do similar earlier tickets answer for a new one?"""
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from engine import negation
from engine.domain import Neighbour, Policy

TRUSTED_SOURCES = frozenset({"seed", "imported", "confirmed", "corrected"})
# At this similarity and above, two texts differ in identifiers or punctuation at most.
SAME_TEXT = 0.985


@dataclass(frozen=True, slots=True)
class Vote:
    """What the neighbours say. `agreement` is the share in [0, 1] of them that name the nearest one's department."""

    department: str
    topic: str
    similarity: float
    agreement: float
    counted: int

    @property
    def features(self) -> np.ndarray:
        """float64 [1, 2]: similarity and agreement, as the calibrator of cached answers takes them."""
        return np.array([[self.similarity, self.agreement]])


def vote(neighbours: Sequence[Neighbour], k: int, departments: Collection[str]) -> Vote | None:
    """The vote of the k nearest trusted exemplars of live departments, None when there is none."""
    counted = [n for n in neighbours if n.department in departments and n.source in TRUSTED_SOURCES][:k]
    if not counted:
        return None
    nearest = counted[0]
    if nearest.similarity >= SAME_TEXT and nearest.source in {"confirmed", "corrected"}:
        # A supervisor has labelled this very text: that outweighs what merely similar texts say.
        return Vote(nearest.department, nearest.topic, nearest.similarity, 1.0, max(len(counted), k))
    same = sum(n.department == nearest.department for n in counted)
    return Vote(nearest.department, nearest.topic, nearest.similarity, same / len(counted), len(counted))


def answers(found: Vote | None, text: str, neighbours: Sequence[Neighbour], policy: Policy) -> bool:
    """True when the neighbours may answer: near enough, enough of them, all agreeing, and no "not" in between."""
    return (
        found is not None
        and found.similarity >= policy.similarity
        and found.counted >= policy.neighbours
        and found.agreement == 1.0
        and not negation.conflict(text, neighbours[0].text)
    )
