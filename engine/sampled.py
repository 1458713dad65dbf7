"""How much of what chance chose for review has a label, which is what estimates from labels rest on."""
from __future__ import annotations

from dataclasses import dataclass


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
