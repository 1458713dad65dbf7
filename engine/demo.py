"""A fortnight of demo tickets for an empty database: routed by the real engine, with plausible outcomes.

Everything carries `Origin.DEMO`, so it can be told from real tickets for ever. Demo labels count in `routing_accuracy` and on
the charts, which is what makes the pages worth looking at, but they never become exemplars and never train a model: the texts
are made up, and a customer's first real labels must be the first thing that the product learns.
"""
from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from engine import demo_story, taxonomy_csv
from engine.demo_story import Message
from engine.domain import Decision, Department, Origin, Ticket, TicketDraft
from engine.errors import Conflict, InputRejected
from engine.outcome import Outcome
from engine.router import ConfidenceRouter

TEXTS = Path(__file__).resolve().parent.parent / "db" / "starter" / "demo.csv"
MAX_TICKETS = 50_000
MAX_DAYS = 366
# Of the decisions that sampling did not put in the review queue, supervisors look at this share all the same.
LOOKED_AT = 0.25
_CHUNK = 500


class DemoTickets(Protocol):
    """What the demo asks of the decision store."""

    def has_real_tickets(self) -> bool: ...

    def existing(self, ids: Sequence[str]) -> set[str]: ...


class DemoTaxonomy(Protocol):
    """What the demo asks of the taxonomy."""

    def departments(self) -> list[Department]: ...


class DemoEngine(Protocol):
    """The parts of `engine.bootstrap.Engine` that the demo uses."""

    @property
    def router(self) -> ConfidenceRouter: ...

    @property
    def decisions(self) -> DemoTickets: ...

    @property
    def taxonomy(self) -> DemoTaxonomy: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What a run added: tickets, labels among them, and labels that confirmed; `already` tickets were there before."""

    tickets: int
    labelled: int
    confirmed: int
    already: int

    def __str__(self) -> str:
        if not self.tickets:
            return f"The demo is already there ({self.already} tickets). Nothing was added."
        before = f" {self.already} were there before." if self.already else ""
        return (
            f"{self.tickets} demo tickets were routed and {self.labelled} of them labelled "
            f"({self.confirmed} confirmed, {self.labelled - self.confirmed} corrected).{before}"
        )


def fill(
    engine: DemoEngine, *, tickets: int = 600, days: int = 14, seed: int = 7, progress: Callable[[int, int], None] | None = None
) -> DemoReport:
    """Route `tickets` demo tickets spread over the last `days` days, and label those that supervisors would have come to.

    Supervisors come to every ticket that sampling put in the review queue, right or wrong, and to some of the others, once it is
    resolved: what is not resolved yet waits for review. Tickets are told in the order of their time, so a repeat finds what the
    cache holds of its original. `progress(done, total)` is called after each ticket. A second run with the same arguments adds
    nothing, and after an interruption only what is missing; the texts depend on `seed` alone, the times on the router's clock.
    Cached answers to demo texts stay for the cache's time to live.

    Raises InputRejected for arguments out of range, and Conflict when there are real tickets or other departments than the
    starter's; nothing is stored then.
    """
    if not 1 <= tickets <= MAX_TICKETS:
        raise InputRejected(f"tickets: 1 to {MAX_TICKETS:,}; found {tickets}. Nothing was stored.")
    if not 1 <= days <= MAX_DAYS:
        raise InputRejected(f"days: 1 to {MAX_DAYS}; found {days}. Nothing was stored.")
    if engine.decisions.has_real_tickets():
        raise Conflict(
            "demo: this database holds real tickets, and demo tickets would blur them. Nothing was stored. Use an empty DATA_DIR."
        )
    chance = random.Random(seed)
    now = engine.router.admit(TicketDraft(body="What time is it?", origin=Origin.DEMO)).created_at
    story = demo_story.tell(_texts(engine.taxonomy), tickets=tickets, since=now - timedelta(days=days), until=now, chance=chance)
    names = [f"DEMO-{seed}-{message.number:05d}" for message in story]
    stored: set[str] = set()
    for start in range(0, len(names), _CHUNK):
        stored |= engine.decisions.existing(names[start:start + _CHUNK])
    added = labelled = confirmed = 0
    waiting: list[tuple[float, str, Outcome]] = []
    for done, (name, message) in enumerate(zip(names, story, strict=True), start=1):
        after = random.Random(f"{seed}:{name}")
        if name not in stored:
            right = _label_due(engine.router, waiting, message.at.timestamp())
            labelled, confirmed = labelled + len(right), confirmed + sum(right)
            decision = engine.router.route_tickets([_ticket(engine.router, name, message)], at=message.at)[0]
            added += 1
            if decision.review_wanted or after.random() < LOOKED_AT:
                outcome, hours = _outcome(message, decision, after)
                heapq.heappush(waiting, (message.at.timestamp() + 3600 * hours, name, outcome))
        if progress is not None:
            progress(done, len(names))
    right = _label_due(engine.router, waiting, now.timestamp())
    return DemoReport(
        tickets=added, labelled=labelled + len(right), confirmed=confirmed + sum(right), already=len(stored)
    )


def _texts(taxonomy: DemoTaxonomy) -> list[tuple[str, str]]:
    known = taxonomy.departments()
    rows = taxonomy_csv.read_rows(TEXTS.read_bytes(), name=TEXTS.name, columns=("text", "department"))
    strange = sorted({row["department"] for _, row in rows} - {department.name for department in known})
    if strange:
        raise Conflict(
            f"demo: the demo tickets are for the starter departments, and {', '.join(strange[:3])} is not among yours. "
            "Nothing was stored."
        )
    return [(row["text"], row["department"]) for _, row in rows]


def _ticket(router: ConfidenceRouter, name: str, message: Message) -> Ticket:
    ticket = router.admit(
        TicketDraft(
            body=message.body, subject=message.subject, channel=message.channel, customer_ref=message.customer_ref,
            priority=message.priority, ticket_id=name, created_by="demo", origin=Origin.DEMO,
        )
    )
    return replace(ticket, created_at=message.at)


def _outcome(message: Message, decision: Decision, chance: random.Random) -> tuple[Outcome, float]:
    """What a supervisor says, and after how many hours."""
    right = decision.department == message.department
    hours = demo_story.resolution_hours(message.department, right=right, chance=chance)
    outcome = Outcome(
        ticket_id=decision.ticket_id,
        department=message.department,
        labelled_by="demo",
        resolution_hours=hours,
        satisfaction=demo_story.satisfaction(message.department, right=right, chance=chance),
    )
    return outcome, hours + chance.uniform(0.2, 4.0)


def _label_due(router: ConfidenceRouter, waiting: list[tuple[float, str, Outcome]], until: float) -> list[bool]:
    """Store the labels that are due, oldest first, and take them from `waiting`; for each whether the decision was right."""
    right = []
    while waiting and waiting[0][0] <= until:
        due, _, outcome = heapq.heappop(waiting)
        right.append(router.review(outcome, at=datetime.fromtimestamp(due, UTC), learn=False).correct)
    return right
