"""`routing_accuracy` equals a recount of the labels, whatever happens at the same time."""
from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from db.outcomes import Outcomes
from engine.domain import TicketDraft
from engine.outcome import Outcome

TEXTS = ("where is my parcel", "i forgot my password", "someone stole my card", "you charged me twice", "i want to send it back")


def test_accuracy_equals_a_recount_after_concurrent_labels_and_corrections(console) -> None:
    tickets = [console.router.admit(TicketDraft(body=f"{text} {word}")) for text in TEXTS for word in ("please", "now", "ok", "thanks")]
    decisions = console.router.route_tickets(tickets)
    departments = [d.name for d in console.taxonomy.departments()]
    store = Outcomes(console.outcomes._engine)

    def label(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            decision = chance.choice(decisions)
            department = decision.department if chance.random() < 0.6 else chance.choice(departments)
            store.label(Outcome(ticket_id=decision.ticket_id, department=department, labelled_by=f"t{seed}"), now=datetime.now(UTC))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(label, range(8)))
    counted = {(r.department, r.total, r.correct) for r in store.recount()}
    kept = {(r.department, r.total_predictions, r.correct_predictions) for r in store.accuracy()}
    assert kept == counted
    for row in store.accuracy():
        assert abs(float(row.accuracy_rate) - row.correct_predictions / row.total_predictions) < 5e-5


def test_a_label_after_a_few_seconds_can_be_corrected(console) -> None:
    """Its hours are kept with two decimals, which are none then."""
    made = console.router.route(TicketDraft(body=TEXTS[0]))
    for department in (made.department, "Complaints"):
        console.router.review(Outcome(ticket_id=made.ticket_id, department=department, labelled_by="sue", resolution_hours=0.001))
    (row,) = console.decisions.rows([made.ticket_id])
    assert row.actual_outcome == "Complaints"
