"""The demo fills an empty database through the real engine, marks everything, and leaves real use alone."""
from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from engine import demo
from engine.bootstrap import Engine
from engine.domain import Origin, TicketDraft
from engine.errors import Conflict, InputRejected
from engine.outcome import Outcome


def test_demo_tickets_are_routed_dated_back_labelled_and_marked(console: Engine) -> None:
    exemplars = console.exemplars.count()
    steps: list[tuple[int, int]] = []
    report = demo.fill(console, tickets=150, days=7, progress=lambda done, total: steps.append((done, total)))
    assert (report.tickets, report.already) == (150, 0)
    assert steps[-1] == (150, 150)
    assert 0.4 * 150 <= report.labelled <= 0.8 * 150
    assert 0 < report.confirmed < report.labelled
    rows = console.decisions.latest(limit=500)
    assert len(rows) == 150 and all(row.demo for row in rows)
    assert {console.decisions.find(row.ticket_id)[0].origin for row in rows[:20]} == {Origin.DEMO}
    now = datetime.now(UTC)
    assert all(now - timedelta(days=7, minutes=5) <= row.created_at <= now for row in rows)
    assert {"cached", "learned", "fallback"} <= set(Counter(row.method for row in rows))
    for row in rows:
        assert (row.reviewed_at is None) == (row.actual_outcome is None)
        assert row.reviewed_at is None or row.created_at < row.reviewed_at <= now
    assert sum(row.actual_outcome is not None for row in rows) == report.labelled
    counted = {row.department: (row.total_predictions, row.correct_predictions) for row in console.outcomes.accuracy()}
    assert counted == {row.department: (row.total, row.correct) for row in console.outcomes.recount()}
    assert console.exemplars.count() == exemplars, "demo labels must not teach the product anything"
    assert not console.decisions.has_real_tickets()


def test_a_second_run_adds_nothing_and_says_so(console: Engine) -> None:
    demo.fill(console, tickets=20)
    again = demo.fill(console, tickets=20)
    assert (again.tickets, again.labelled, again.already) == (0, 0, 20)
    assert "already there" in str(again)
    assert len(console.decisions.latest(limit=100)) == 20


def test_a_database_with_a_real_ticket_is_refused_and_stays_as_it_is(console: Engine) -> None:
    console.router.route(TicketDraft(body="my bill is wrong"))
    with pytest.raises(Conflict, match="real tickets"):
        demo.fill(console, tickets=5)
    assert len(console.decisions.latest(limit=100)) == 1


def test_nobody_is_asked_for_a_demo_tickets_label_once_there_is_a_real_one(console: Engine) -> None:
    """From then on such a label counts for nothing; by its number the ticket can be labelled all the same."""
    demo.fill(console, tickets=60)
    waited = console.outcomes.queue(limit=100)
    assert waited and sum(console.outcomes.waiting().values()) == len(waited)
    # Nothing knows it, so that it waits for a label.
    real = console.router.route(TicketDraft(body="the lantern by the gate is counted by owls"))
    assert [row.ticket_id for row in console.outcomes.queue(limit=100)] == [real.ticket_id]
    assert console.outcomes.waiting() == {real.department: 1}
    console.router.review(Outcome(ticket_id=waited[0].ticket_id, department="Sales", labelled_by="sue"))


@pytest.mark.parametrize("arguments", [{"tickets": 0}, {"tickets": 50_001}, {"days": 0}, {"days": 367}])
def test_arguments_out_of_range_are_refused_by_name(console: Engine, arguments: dict[str, int]) -> None:
    with pytest.raises(InputRejected, match=f"^{next(iter(arguments))}: "):
        demo.fill(console, **arguments)
    assert console.decisions.latest(limit=1) == []
