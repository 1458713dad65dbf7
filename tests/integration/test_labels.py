"""A label, its row in the audit log and its exemplar are stored together; what follows from it is done or done later."""
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import text

from db.session import reading
from engine.bootstrap import Engine
from engine.domain import Decision, Department, Method, TicketDraft
from engine.errors import ServiceUnavailable
from engine.outcome import Outcome, Overrule

TEXT = "you took the money twice for my october bill"


@pytest.fixture
def console(idle: Engine) -> Engine:
    return idle


def label(console, ticket_id: str, department: str, by: str = "sue") -> Outcome:  # noqa: ANN001
    return Outcome(ticket_id=ticket_id, department=department, labelled_by=by)


def active(console) -> list[tuple[str, str, str]]:  # noqa: ANN001
    """Ticket, department and source of every exemplar that tickets have made."""
    with reading(console.decisions._engine) as connection:
        rows = connection.execute(text("select ticket_id, department, source from exemplars where active and ticket_id is not null order by id"))
        return [tuple(row) for row in rows]


def away(service: str, *_: object, **__: object) -> None:
    raise ServiceUnavailable(service, "went away")


class Killed(BaseException):
    """The process ended here."""


def killed(*_: object, **__: object) -> None:
    raise Killed


def test_a_label_whose_audit_row_cannot_be_stored_is_not_stored_at_all(console, monkeypatch) -> None:
    decision = console.router.route(TicketDraft(body=TEXT))
    monkeypatch.setattr(console.audit, "record", partial(away, "database"))
    with pytest.raises(ServiceUnavailable):
        console.router.review(label(console, decision.ticket_id, "Complaints"))
    with pytest.raises(ServiceUnavailable):
        console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="ann"))
    row = next(iter(console.decisions.rows([decision.ticket_id])))
    assert (row.actual_outcome, row.overruled_to, active(console)) == (None, None, [])
    assert console.outcomes.accuracy() == []


def test_a_label_is_stored_and_says_so_when_the_embedder_is_away_and_learned_from_later(console, monkeypatch) -> None:
    decision = console.router.route(TicketDraft(body=TEXT))
    real = console.trainer._embedder
    gone = type("Gone", (), {"name": real.name, "dimensions": real.dimensions, "embed": partial(away, "embedder")})()
    monkeypatch.setattr(console.trainer, "_embedder", gone)
    reviewed = console.router.review(label(console, decision.ticket_id, "Complaints"))
    assert (reviewed.late, reviewed.actual) == ("embedder", "Complaints")
    assert active(console) == [(decision.ticket_id, "Complaints", "corrected")]
    assert [row.action for row in console.audit.find(limit=1)] == ["ticket_reviewed"]
    console.state.refresh()
    seen = console.state.current().versions["model"]
    assert console.reembedder.run() == 1
    assert console.state.refresh(), "a vector that came later is a change that every instance sees"
    assert console.state.current().versions["model"] != seen
    assert console.router.route(TicketDraft(body=TEXT)).department == "Complaints"


@pytest.mark.parametrize("step", ["learn", "overrule"])
def test_a_process_killed_right_after_the_commit_leaves_no_wrong_answer_in_the_cache(console, monkeypatch, step: str) -> None:
    decision = console.router.route(TicketDraft(body=TEXT))
    assert console.router.route(TicketDraft(body=TEXT)).source == f"ticket:{decision.ticket_id}"
    monkeypatch.setattr(console.router, "_late", killed)
    with pytest.raises(Killed):
        if step == "learn":
            console.router.review(label(console, decision.ticket_id, "Complaints"))
        else:
            console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="ann"))
    assert not console.router.route(TicketDraft(body=TEXT)).source.startswith("ticket:")
    assert console.reembedder.run() == (1 if step == "learn" else 0)
    if step == "learn":
        assert console.router.route(TicketDraft(body=TEXT)).department == "Complaints"


def test_an_identical_ticket_decided_before_the_correction_and_kept_after_it_does_not_bring_the_answer_back(console, monkeypatch) -> None:
    """Its decision waits on its way into the cache while the correction is made by another thread, as on another instance."""
    first = console.router.route(TicketDraft(body=TEXT))
    console.router.settle()
    state, put = console.state.current(), console.router._exact._cache.put
    held: list[tuple] = []
    with monkeypatch.context() as patch:
        patch.setattr(type(console.router._exact._cache), "put", lambda _, routes, epoch: held.append((routes, epoch)))
        second = console.router.route(TicketDraft(body=TEXT + " again please"))
        console.router.settle()
    assert held and held[0][1] == state.epoch
    console.router.review(label(console, second.ticket_id, "Complaints"))
    put(*held[0])
    after = console.router.route(TicketDraft(body=TEXT + " again please"))
    assert (after.department, after.source.startswith("exemplar:")) == ("Complaints", True)
    assert first.department == "Billing and Payments"


def test_correcting_a_correction_removes_the_answer_that_the_first_one_made(console, monkeypatch) -> None:
    """The mark of the first label is gone by then, so that its answer was kept; the last label confirms the decision."""
    briefly(console, monkeypatch)
    one = asked(console)
    console.router.review(label(console, one.ticket_id, "Complaints"))
    time.sleep(1.2)
    asked(console)
    kept = asked(console)
    assert (kept.department, kept.source.startswith("ticket:")) == ("Complaints", True)
    console.router.review(label(console, one.ticket_id, one.department))
    assert active(console) == [(one.ticket_id, one.department, "confirmed")]
    after = asked(console)
    assert (after.department, after.source.startswith("exemplar:")) == (one.department, True)


def test_confirming_another_ticket_of_a_corrected_text_removes_the_answer_that_the_correction_made(console, monkeypatch) -> None:
    briefly(console, monkeypatch)
    one, other = asked(console), asked(console)
    console.router.review(label(console, one.ticket_id, "Complaints"))
    time.sleep(1.2)
    asked(console)
    assert asked(console).department == "Complaints"
    console.router.review(label(console, other.ticket_id, other.department))
    assert asked(console).department == other.department == one.department


def test_a_label_that_the_cached_answer_agrees_with_leaves_it_there(console) -> None:
    one = asked(console)
    console.router.review(label(console, one.ticket_id, one.department))
    assert asked(console).source == f"ticket:{one.ticket_id}"


def asked(console) -> Decision:  # noqa: ANN001
    """The decision for the test's text, once it is in the cache."""
    decision = console.router.route(TicketDraft(body=TEXT))
    console.router.settle()
    return decision


def briefly(console, monkeypatch) -> None:  # noqa: ANN001
    """A label keeps answers of its text out of the cache for a second."""
    monkeypatch.setattr(console.router._exact._cache._cache, "_forgotten", 1)


def test_two_supervisors_labelling_one_ticket_at_once_leave_one_exemplar_that_is_the_last_label(console) -> None:
    decision = console.router.route(TicketDraft(body=TEXT))
    both = threading.Barrier(2)

    def one(department: str) -> None:
        both.wait(60)
        console.router.review(label(console, decision.ticket_id, department, by=department))

    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, ("Sales", "Complaints")))
        row = next(iter(console.decisions.rows([decision.ticket_id])))
        assert active(console) == [(decision.ticket_id, row.actual_outcome, "corrected")]


def test_a_label_that_a_deadlock_broke_is_stored_once_by_another_attempt(databases, build) -> None:
    """Another transaction holds what the label wants last, and wants the row that the label has locked first."""
    console = build()
    database = console.decisions._engine
    decision = console.router.route(TicketDraft(body=TEXT))
    with databases._admin.connect() as admin:
        # Longer than it takes the other one to ask for the row: then it is the label that Postgres breaks.
        admin.execute(text(f"alter database {databases.name(str(database.url))} set deadlock_timeout = '3s'"))
    database.dispose()
    with database.begin() as other, ThreadPoolExecutor(1) as pool:
        other.execute(text("set local deadlock_timeout = '60s'"))
        other.execute(text("set local lock_timeout = 0"))
        other.execute(text("insert into counters values ('labels', 1) on conflict (name) do update set value = counters.value + 1"))
        stored = pool.submit(console.router.review, label(console, decision.ticket_id, "Complaints"))
        with reading(database) as connection:
            waiting = text("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
            while not connection.execute(waiting).scalar_one():
                assert not stored.done()
                time.sleep(0.01)
        other.execute(text("select 1 from routing_history where ticket_id = :id for update"), {"id": decision.ticket_id})
        other.commit()
        assert stored.result(60).actual == "Complaints"
    assert active(console) == [(decision.ticket_id, "Complaints", "corrected")]
    assert [(row.total_predictions, row.correct_predictions) for row in console.outcomes.accuracy()] == [(1, 0)]
    assert console.audit.verify().broken_at is None


def test_a_correction_wins_over_an_older_label_of_the_same_text_however_often_that_was_given(console) -> None:
    tickets = [console.router.route(TicketDraft(body=TEXT)) for _ in range(10)]
    for ticket in tickets[:9]:
        console.router.review(label(console, ticket.ticket_id, "Billing and Payments"))
    console.router.review(label(console, tickets[9].ticket_id, "Fraud and Security"))
    after = console.router.route(TicketDraft(body=TEXT))
    assert (after.department, after.method) == ("Fraud and Security", Method.CACHED)
    assert active(console) == [(tickets[9].ticket_id, "Fraud and Security", "corrected")]
    console.router.review(label(console, tickets[0].ticket_id, "Billing and Payments"))
    assert console.router.route(TicketDraft(body=TEXT)).department == "Billing and Payments"


def test_a_correction_wins_over_a_seed_of_the_same_text(console) -> None:
    with reading(console.decisions._engine) as connection:
        seed = connection.execute(text("select text, department from exemplars where source = 'seed' order by id limit 1")).one()
    ticket = console.router.route(TicketDraft(body=seed.text))
    assert ticket.department == seed.department != "Complaints"
    console.router.review(label(console, ticket.ticket_id, "Complaints"))
    assert console.router.route(TicketDraft(body=seed.text)).department == "Complaints"


def test_a_confirmed_ticket_is_an_example_of_its_topic_and_a_corrected_one_of_none(console) -> None:
    """The topic that was found belongs to the department that was wrong."""
    decision = console.router.route(TicketDraft(body=TEXT))
    assert decision.topic

    def topic() -> str:
        with reading(console.decisions._engine) as connection:
            return connection.execute(text("select topic from exemplars where active and ticket_id is not null")).scalar_one()

    # The same label twice makes no second example.
    for department, expected in ((decision.department, decision.topic), (decision.department, decision.topic), ("Complaints", "")):
        console.router.review(label(console, decision.ticket_id, department))
        assert topic() == expected


def test_a_label_without_learning_leaves_exemplars_alone_and_is_still_seen_by_every_instance(console) -> None:
    decision = console.router.route(TicketDraft(body=TEXT))
    console.state.refresh()
    console.router.review(label(console, decision.ticket_id, "Complaints"), learn=False)
    assert active(console) == []
    assert console.state.refresh()


def test_labels_that_newer_ones_contradict_are_remembered_for_how_sure_the_text_is_and_for_nothing_else(console) -> None:
    """Two tickets of one text to Complaints, then one to Sales, then one of them to Sales as well: that one no longer disagrees."""
    tickets = [console.router.route(TicketDraft(body=TEXT)) for _ in range(3)]
    for decision in tickets[:2]:
        console.router.review(label(console, decision.ticket_id, "Complaints"))
    assert console.exemplars.contradicted() == []
    console.router.review(label(console, tickets[2].ticket_id, "Sales"))
    gone = console.exemplars.contradicted()
    assert {(e.ticket_id, e.department, e.text) for e in gone} == {(t.ticket_id, "Complaints", TEXT) for t in tickets[:2]}
    assert [name for _, name, _ in active(console)] == ["Sales"]
    console.router.review(label(console, tickets[0].ticket_id, "Sales"))
    assert [e.ticket_id for e in console.exemplars.contradicted()] == [tickets[1].ticket_id]
    console.trainer.train()
    console.state.refresh()
    assert console.state.current().model.recurring.place == {}, "too few recur to say anything"
    console.taxonomy.save([Department("Complaints", "", live=False)])
    assert console.exemplars.contradicted() == [], "no ticket goes to a retired department again"
    console.taxonomy.save([Department("Complaints", "")])
    assert [e.department for e in console.exemplars.contradicted()] == ["Complaints"]
