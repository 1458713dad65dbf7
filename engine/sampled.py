"""At which rates chance chooses tickets for review, and how much of what it chose has a label."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.domain import Method, Policy

# One label cannot stand for more than a thousand tickets: it would outweigh all others.
LOWEST_RATE = 1e-3
# Decisions so rare among all (a share of the errors allowed) that they are counted as wrong instead of setting the rate.
NEGLIGIBLE = 0.02


def review_probability(policy: Policy, method: Method, *, alone: bool) -> float:
    """The chance in [0, 1] that a decision is looked at: what does not go alone always is, and audited hits are as well."""
    probability = policy.review_rate if alone else 1.0
    return 1 - (1 - probability) * (1 - policy.audit_rate) if method is Method.CACHED else probability


@dataclass(frozen=True, slots=True)
class Stratum:
    """Decisions of one department that were to be reviewed at the same rate in (0, 1], whether they have a label or not."""

    department: str
    rate: float
    decisions: int


def rarest(strata: Iterable[Stratum], *, target: float) -> tuple[float, int]:
    """The largest inverse rate that counts (0.0 without strata), and how many decisions of still lower rates there are.

    Lower rates are left out while their decisions are together at most a fiftieth of the errors that `target` allows: a
    policy that somebody tried for an hour would else cost all evidence. Whoever leaves them out counts them as wrong.
    """
    rising = sorted(strata, key=lambda stratum: stratum.rate)
    spared = NEGLIGIBLE * (1.0 - target) * sum(stratum.decisions for stratum in rising)
    left_out = 0
    for stratum in rising:
        if left_out + stratum.decisions > spared:
            return 1.0 / stratum.rate, left_out
        left_out += stratum.decisions
    return 0.0, left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Tickets that chance put into the review queue, and those that it never could.

    labelled, waiting   chosen tickets with a label, and still without
    beyond_chance       lately routed alone while the policy reviewed none of these: no label can speak for them
    """

    labelled: int
    waiting: int
    beyond_chance: int

    @property
    def notes(self) -> list[str]:
        """What a reader of the estimates has to know, one sentence each; empty when nothing is in their way."""
        found = []
        if self.waiting:
            found.append(
                f"{self.waiting:,} of {self.labelled + self.waiting:,} tickets that were sampled for review still wait for a label: the "
                "estimates hold when the queue is emptied. Overruled tickets are labelled first, so until then they may look worse."
            )
        if self.beyond_chance:
            found.append(
                f"{self.beyond_chance:,} tickets routed alone in the last 30 days were not sampled at all (the policy reviewed none of the sure "
                "ones): their accuracy is unknown, and no figure here speaks for them."
            )
        return found
