"""The semantic cache's rule: when do similar earlier tickets answer for a new one?"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine import negation
from engine.domain import Neighbour, Policy
from engine.fingerprint import fingerprint
from engine.scores import log_odds

LABELLED_SOURCES = frozenset({"confirmed", "corrected"})
TRUSTED_SOURCES = LABELLED_SOURCES | {"seed", "imported"}
# At this similarity and above, two texts differ in identifiers or punctuation at most.
SAME_TEXT = 0.985
# Neighbours alone, without a learned router that knows their department, must be at least this near.
ALONE_SIMILARITY = 0.80
# Before any evidence, a cached answer is believed as much as the policy's default confidence asks.
CACHED_PRIOR = 0.85
# The learned router's share for the neighbours' department; chosen on held-out rows of a training set.
SUPPORT = 0.95
# The same across a negation or an opposite word. Texts this near and yet denying each other differ in little else, and a
# router that has never seen the one of them cannot tell: there the neighbours stay silent.
SUPPORT_ACROSS = 0.98
NEARLY_SAME_TEXT = 0.95


@dataclass(frozen=True, slots=True)
class Vote:
    """What the neighbours say.

    agreement  share in [0, 1] of them that name the nearest one's department
    support    the learned router's share in [0, 1] for that department, None without a router that has learned it
    labelled   a supervisor has labelled this very text
    nearest    the number of the exemplar that the department and the similarity are of
    """

    department: str
    topic: str
    similarity: float
    agreement: float
    counted: int
    support: float | None = None
    labelled: bool = False
    nearest: int = 0

    @property
    def features(self) -> np.ndarray:
        """float64 [1, 3]: similarity, agreement, log-odds of the support, as the calibrator of cached answers takes them."""
        support = 1.0 if self.labelled else SUPPORT if self.support is None else self.support
        return np.array([[self.similarity, self.agreement, log_odds(support)]])


def vote(
    neighbours: Sequence[Neighbour], k: int, departments: Collection[str], *, scores: Mapping[str, float] | None = None
) -> Vote | None:
    """The vote of the k nearest trusted exemplars of live departments, None when there is none.

    `scores` are the learned router's shares of the departments, None while nothing was learned. Where supervisors have
    labelled the nearest text, the newest of their labels (the highest number) is the vote, whatever else stands beside it.
    """
    trusted = [n for n in neighbours if n.department in departments and n.source in TRUSTED_SOURCES]
    if not trusted:
        return None
    counted, nearest = trusted[:k], _newest(trusted)
    support = None if scores is None else scores.get(nearest.department)
    if nearest.similarity >= SAME_TEXT and nearest.source in LABELLED_SOURCES:
        # A supervisor has labelled this very text: that outweighs what merely similar texts say.
        return Vote(
            nearest.department, nearest.topic, nearest.similarity, 1.0, max(len(counted), k), support, labelled=True,
            nearest=nearest.exemplar_id,
        )
    same = sum(n.department == nearest.department for n in counted)
    return Vote(
        nearest.department, nearest.topic, nearest.similarity, same / len(counted), len(counted), support, nearest=nearest.exemplar_id
    )


def _newest(trusted: Sequence[Neighbour]) -> Neighbour:
    """The newest label of the nearest one's text, the nearest itself where nobody has labelled that."""
    first = trusted[0]
    labelled = [n for n in trusted if n.similarity >= SAME_TEXT and n.source in LABELLED_SOURCES]
    if not labelled or labelled == [first]:
        return first
    text = fingerprint(first.text)
    return max((n for n in labelled if n is first or fingerprint(n.text) == text), key=lambda n: n.exemplar_id, default=first)


def answers(found: Vote | None, text: str, neighbours: Sequence[Neighbour], policy: Policy) -> bool:
    """True when the neighbours may answer: near enough, enough of them, all agreeing, and somebody vouches for them.

    That is the learned router, which must be sure of the same department, surer still across a negation. Without it (and
    for a text that a supervisor has labelled, which needs no second opinion) there must be no "not" in between.
    """
    if found is None or found.counted < policy.neighbours or found.agreement < 1.0:
        return False
    if found.similarity < policy.similarity_of(found.department):
        return False
    # Not simply the first one: that may be of a retired department, which has no vote.
    denied = any(negation.conflict(text, n.text) for n in neighbours if n.exemplar_id == found.nearest)
    if found.support is None or found.labelled:
        return found.similarity >= ALONE_SIMILARITY and not denied
    if denied:
        return found.similarity < NEARLY_SAME_TEXT and found.support >= SUPPORT_ACROSS
    return found.support >= SUPPORT
