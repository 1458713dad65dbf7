"""What is counted from reviewed tickets: a fair part of them, real ones as soon as there is one, and what is missing is said."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine as Database
from sqlalchemy import event, text

from db.outcomes import Outcomes
from db.reviewed import Reviewed
from db.rollups import Rollups
from db.session import reading
from engine import demo
from engine.bootstrap import Engine
from engine.domain import Automation, Policy, TicketDraft
from engine.outcome import Outcome
from engine.sampled import Sampled
from engine.tracking import Tracking
from tests.integration.test_rollups import decision as made_up
from tests.integration.test_rollups import store

_CHANCE = random.Random(3)
_PLAIN = {"actual": None, "audit": None, "demo": False, "method": "learned", "department": "D1", "probability": 1.0}


def add(database: Database, count: int, *, first: int, wanted: bool = True, at: datetime | None = None, **values: object) -> Sequence[str]:
    rows = [made_up(first + i, _CHANCE, at=at or datetime.now(UTC), **{**_PLAIN, **values}) for i in range(count)]
    store(database, *rows)
    ids = [str(row["id"]) for row in rows]
    with database.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = :wanted where ticket_id = any(:ids)"), {"wanted": wanted, "ids": ids})
    return ids


def test_a_queue_that_is_never_emptied_still_yields_labels_of_the_sampled_sure_tickets(database: Database) -> None:
    """Of 200 doubtful and 200 sure ones a quarter is looked at: about as many of each, and overruled ones before all."""
    add(database, 200, first=0, confidence=0.4)
    sure = set(add(database, 200, first=200, confidence=0.97, automation="auto", probability=0.2))
    overruled = add(database, 3, first=400, wanted=False, confidence=0.9)
    with database.begin() as connection:
        connection.execute(text("update routing_history set overruled_to = 'D2' where ticket_id = any(:ids)"), {"ids": overruled})
    queue = [row.ticket_id for row in Outcomes(database).queue(limit=103)]
    assert set(queue[:3]) == set(overruled)
    assert 35 <= len(sure & set(queue)) <= 65


def test_sampled_tickets_without_a_label_and_those_that_nobody_could_sample_are_counted(database: Database) -> None:
    reviewed = Reviewed(database)
    add(database, 4, first=0, actual="D1")
    add(database, 3, first=10)
    add(database, 5, first=20, wanted=False, automation="auto", probability=1.0)
    add(database, 6, first=30, wanted=False, automation="auto", probability=0.2)
    add(database, 7, first=40, demo=True)
    found = reviewed.sampled(demo=False)
    assert found == Sampled(labelled=4, waiting=3, beyond_chance=5)
    assert ["3 of 7" in found.notes[0], "accuracy is unknown" in found.notes[1]] == [True, True]
    assert Sampled(labelled=9, waiting=0, beyond_chance=0).notes == []
    with database.begin() as connection:
        connection.execute(text("update tickets set text_removed_at = now() where id in ('T-10', 'T-11')"))
    found = reviewed.sampled(demo=False)
    assert (found.waiting, found.removed) == (1, 2)
    assert "2 tickets that were sampled for review lost their text" in found.notes[1]


def test_what_review_and_accuracy_look_for_is_found_without_reading_every_decision(database: Database) -> None:
    """Few of 20,000 wait for a label, were wrong, audited or lost their text: the plans name indexes, no walk through a table."""
    store(database, *(made_up(i, _CHANCE, at=datetime.now(UTC), **_PLAIN | {"actual": "D1"}) for i in range(20_000)))
    add(database, 9, first=30_000, actual="D2", confidence=0.9)
    add(database, 40, first=40_000)
    add(database, 9, first=50_000, method="cached", audit="D1")
    Rollups(database).roll()
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("update tickets set text_removed_at = now() where id = 'T-40000'"))
        connection.execute(text("vacuum analyze"))
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        asked.append((statement, parameters))

    event.listen(database, "before_cursor_execute", note)
    reviewed, outcomes = Reviewed(database), Outcomes(database)
    assert (len(outcomes.queue(limit=25)), len(outcomes.queue(limit=25, department="D1"))) == (25, 25)
    assert outcomes.waiting() == {"D1": 48}
    assert len(reviewed.confident_mistakes(demo=False)) == 9
    assert reviewed.audits(demo=False) == (9, 0)
    event.remove(database, "before_cursor_execute", note)
    with database.connect() as connection:
        plans = ["\n".join(connection.exec_driver_sql(f"explain {statement}", parameters).scalars()) for statement, parameters in asked]
    assert len(plans) == 5
    # Whether there is a real ticket is known at the first one, which stands behind those of the demo alone.
    walks = [plan.replace('Seq Scan on tickets "real"', "") for plan in plans]
    assert [plan for plan in walks if "Seq Scan on routing_history" in plan or "Seq Scan on tickets" in plan] == []


def test_audited_answers_are_counted_alike_whether_rolled_up_or_not(database: Database) -> None:
    add(database, 5, first=0, method="cached", audit="D1")
    add(database, 3, first=10, method="cached", audit="D2")
    add(database, 2, first=20, method="cached", audit="D2", demo=True)
    add(database, 4, first=30, method="cached")
    assert Reviewed(database).audits(demo=False) == (8, 3)
    Rollups(database).roll()
    assert (Reviewed(database).audits(demo=False), Reviewed(database).audits(demo=True)) == ((8, 3), (2, 2))


def test_a_label_on_an_overruled_ticket_that_was_not_sampled_carries_no_weight(database: Database) -> None:
    ids = add(database, 2, first=0, wanted=False, actual="D2")
    with database.begin() as connection:
        connection.execute(text("update routing_history set overruled_to = 'D2' where ticket_id = any(:ids)"), {"ids": ids})
    assert Reviewed(database).decisions(demo=False) == []


def test_a_label_stands_for_as_many_tickets_as_its_chance_says_and_fades_by_the_day_of_its_decision(database: Database) -> None:
    """In the tracked accuracy as in what thresholds are derived from; for a thousand at most, whatever stands there."""
    now = datetime.now(UTC)
    add(database, 3, first=0, actual="D1", automation="auto", probability=0.25)
    add(database, 2, first=10, actual="D2")
    add(database, 1, first=20, department="D3", actual="D3", automation="auto", probability=1e-5)
    add(database, 1000, first=100, department="D3", actual="D2")
    add(database, 4, first=30, department="D4", actual="D4", at=now)
    add(database, 4, first=40, department="D4", actual="D2", at=now - timedelta(days=42))
    with database.begin() as connection:
        connection.execute(text("update routing_history set reviewed_at = :now"), {"now": now})
        connection.execute(text(
            "insert into outcomes (ticket_id, kind, predicted, actual, labelled_by) "
            "select ticket_id, 'corrected', department, actual_outcome, 'sue' from routing_history"
        ))
    tracking = Tracking(Reviewed(database), clock=lambda: now, has_real_tickets=lambda: True)
    snapshot, evidence = tracking.snapshot(), tracking.evidence()
    for name, right, weighed in (("D1", 3 * 4, 3 * 4 + 2), ("D3", 1000, 2000)):
        mine = np.array([department == name for department in evidence.departments])
        weights = evidence.weights[mine]
        assert snapshot.cell(name).rate == pytest.approx(right / weighed)
        assert (weights[evidence.correct[mine]].sum(), weights.sum()) == (pytest.approx(right), pytest.approx(weighed))
    assert snapshot.cell("D1").effective == pytest.approx(14 ** 2 / (3 * 16 + 2))
    assert (snapshot.cell("D4").rate, snapshot.cell("D4").recent) == (0.5, pytest.approx(4 / (4 + 0.5)))
    assert sum(stratum.decisions for stratum in evidence.strata) == 3 + 2 + 1 + 1000 + 4 + 4, "those of earlier months too"


def test_of_more_labels_than_are_asked_for_those_of_the_newest_decisions_count_whenever_they_were_given(database: Database) -> None:
    """One late label of a ticket from long ago must not bring along all decisions since, whose labels are cut off."""
    now = datetime.now(UTC)
    (old,) = add(database, 1, first=0, actual="D1", at=now - timedelta(days=400))
    ids = [add(database, 1, first=1 + days, actual="D1", at=now - timedelta(days=days))[0] for days in range(4)]
    with database.begin() as connection:
        connection.execute(text("update routing_history set reviewed_at = now() + interval '1 hour' where ticket_id = :id"), {"id": old})
    assert [row.ticket_id for row in Reviewed(database).decisions(demo=False, limit=3)] == ids[:3]
    assert [row.ticket_id for row in Reviewed(database).decisions(demo=False)] == [*ids, old]


def test_the_rates_at_which_decisions_were_drawn_are_those_stored_with_each_whether_rolled_up_or_not(build: Callable[..., Engine]) -> None:
    """Under two policies and the built-in one; nobody labelled any of the tickets that went alone at the lower rate."""
    console = build(working=False)
    policies = [None, replace(Policy(), review_rate=0.02, audit_rate=0.3), replace(Policy(), review_rate=0.0, audit_rate=0.0)]
    texts = ["i want to transfer money to another account", "my card has not come yet", "what is this", "where is my refund", "hello there"]
    for turn, policy in enumerate(policies):
        if policy is not None:
            console.policies.add(policy, author="maria", reason="test")
            console.state.refresh()
        for text_ in texts:
            for number in (turn, turn, 7):
                decision = console.router.route(TicketDraft(body=f"{text_} {number}"))
                if decision.automation is not Automation.AUTO:
                    console.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="lea"))
        with reading(console.decisions._engine) as connection:
            stored = connection.execute(text(
                "select department, review_probability, count(*) from routing_history "
                "where not (automation = 'auto' and review_probability = 1) group by 1, 2"
            )).all()
        for roll in (False, True):
            if roll:
                Rollups(console.decisions._engine).roll()
            counted, asked = Counter[tuple[str, float]](), set[float]()
            for stratum in console.tracking.evidence().strata:
                counted[stratum.department, round(stratum.rate, 9)] += stratum.decisions
                asked.add(stratum.review_rate)
            assert counted == {(name, round(rate, 9)): count for name, rate, count in stored}
    assert {0.02, 0.2, 1.0} <= {rate for _, rate in counted}
    evidence = console.tracking.evidence()
    assert asked == {0.2, 0.02, 0.0}
    assert set(evidence.review_rates) == {0.2, 0.02, 0.0} and set(evidence.telling().review_rates) == {0.2}


@pytest.mark.parametrize(("days", "wanted"), [(30, 6.0), (3, 14.0), (0.1, 42.0)])
def test_the_volume_divides_by_the_time_that_went_by(database: Database, days: float, wanted: float) -> None:
    """42 tickets of the last week are 6 a day, although 8 dates are touched; a console of three days is not diluted."""
    now = datetime.now(UTC)
    for i in range(42):
        add(database, 1, first=i, at=now - timedelta(days=min(7, days) * (i + 0.5) / 42.5))
    add(database, 1, first=100, at=now - timedelta(days=days), demo=days <= 7)
    with database.begin() as connection:
        connection.execute(text("update routing_history set created_at = :at where ticket_id = 'T-41'"), {"at": now - timedelta(days=min(6.9, days))})
    assert Reviewed(database).volume(demo=False) == pytest.approx(wanted, rel=0.01)


def test_from_the_first_real_ticket_on_demo_labels_count_nowhere(build: Callable[..., Engine]) -> None:
    console = build(working=False)
    demo.fill(console, tickets=60)
    console.state.refresh()
    assert console.tracking.demo
    assert len(console.tracking.evidence()) > 0
    assert console.state.current().accuracy.cell(None).n > 0
    console.router.route(TicketDraft(body="you took the money twice for my october bill"))
    assert len(console.tracking.evidence()) == 0, "before anybody took a snapshot"
    assert not console.tracking.demo
    assert console.state.refresh(), "nothing but the first real ticket has changed"
    assert console.state.current().accuracy.cell(None).n == 0
