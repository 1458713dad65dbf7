"""At which rates chance chooses tickets for review, and how much of what it chose has a label."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from engine.domain import Method, Policy

# One label cannot stand for more than a thousand tickets: it would outweigh all others.
LOWEST_RATE = 1e-3


def review_probability(policy: Policy, method: Method, *, alone: bool) -> float:
    """The chance in [0, 1] that a decision is looked at: what does not go alone always is, and audited hits are as well."""
    probability = policy.review_rate if alone else 1.0
    return 1 - (1 - probability) * (1 - policy.audit_rate) if method is Method.CACHED else probability


@dataclass(frozen=True, slots=True)
class Stratum:
    """Decisions of one department that were to be reviewed at the same rate in (0, 1], whether they have a label or not.

    `review_rate` is what their policy asked of those that went alone, in [0, 1].
    """

    department: str
    rate: float
    decisions: int
    review_rate: float


def telling_rate(strata: Iterable[Stratum]) -> float:
    """The review rate in [0, 1] from which on policies are counted, so that thresholds rest on as much as there is.

    Evidence is worth what it would be if all had been reviewed at the lowest rate among it. A policy that reviews few can cost
    more than its tickets add: of all rates it is the one for which rate x decisions under policies with at least that rate is
    largest. Whole policies are left out, counts alone decide, and tickets come alike under all of them: what is left is as fair a
    sample as all. 0.0 where no policy reviewed any that went alone.
    """
    decisions: Counter[float] = Counter()
    for stratum in strata:
        decisions[stratum.review_rate] += stratum.decisions
    rates = sorted(decisions, reverse=True)
    worth = {rate: rate * sum(decisions[other] for other in rates if other >= rate) for rate in rates}
    return max(rates, key=worth.__getitem__, default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Tickets that chance put into the review queue, and those that it never could.

    labelled, waiting   chosen tickets with a label, and still without
    removed             chosen ones without a label whose text was removed, so that nobody can label them any more
    beyond_chance       lately routed alone while the policy reviewed none of these: no label can speak for them
    """

    labelled: int
    waiting: int
    beyond_chance: int
    removed: int = 0

    @property
    def notes(self) -> list[str]:
        """What a reader of the estimates has to know, one sentence each; empty when nothing is in their way."""
        found = []
        if self.waiting:
            found.append(
                f"{self.waiting:,} of {self.labelled + self.waiting:,} tickets that were sampled for review still "
                f"{'waits' if self.waiting == 1 else 'wait'} for a label: the "
                "estimates and promises hold when the queue is emptied. Until then they may look worse, because overruled tickets are "
                "labelled first, or better, where easy ones are."
            )
        if self.removed:
            found.append(
                f"{self.removed:,} tickets that were sampled for review lost their text before anybody labelled them: the estimates hold if "
                "these were like the others." if self.removed > 1 else
                "1 ticket that was sampled for review lost its text before anybody labelled it: the estimates hold if it was like the others."
            )
        if self.beyond_chance:
            found.append(
                "Tickets routed alone in the last 30 days that were not sampled at all (the policy reviewed none of the sure ones): "
                f"{self.beyond_chance:,}. Their accuracy is unknown, and no figure here speaks for them."
            )
        return found
