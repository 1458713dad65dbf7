"""A ticket's way through the real engine: Postgres, Valkey, the embedding model and the learned router."""
from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from db.session import writing
from engine.domain import Automation, Method, Policy, Thresholds, TicketDraft
from engine.errors import Conflict, NotFound, OutcomeRejected, ServiceUnavailable, TicketRejected
from engine.fingerprint import fingerprint
from engine.model import RoutingModel
from engine.outcome import Outcome, Overrule
from engine.ports import Claim

KEPT_APART = Path(__file__).resolve().parents[1] / "data" / "starter_kept_apart.csv"


def draft(body: str, **more: str) -> TicketDraft:
    return TicketDraft(body=body, **more)


def test_a_complaint_about_a_double_charge_goes_to_billing_and_is_stored_whole(console) -> None:
    decision = console.router.route(draft("you took the money twice for my october bill"))
    assert decision.department == "Billing and Payments"
    ticket, stored = console.decisions.find(decision.ticket_id)
    assert ticket.body == "you took the money twice for my october bill"
    assert (stored.department, stored.method, stored.automation) == (decision.department, decision.method, decision.automation)
    assert stored.confidence == pytest.approx(decision.confidence, abs=5e-5)
    assert stored.raw_score == decision.raw_score
    assert len(stored.alternatives) == 3
    assert stored.alternatives[0].department == stored.department
    assert [n.similarity for n in stored.evidence] == sorted((n.similarity for n in stored.evidence), reverse=True)
    assert {"sanitize", "exact", "embed", "neighbours", "classify", "total"} <= set(stored.timings)
    assert {"policy", "taxonomy", "embedder", "model"} <= set(stored.versions)
    assert stored.degraded_by == ()


def test_text_with_comparison_signs_and_quotes_is_stored_exactly_so(console) -> None:
    decision = console.router.route(draft('my bill says 5 < 6 & "quotes"'))
    assert console.decisions.find(decision.ticket_id)[0].body == 'my bill says 5 < 6 & "quotes"'


def test_an_exact_repeat_is_answered_from_the_cache_with_the_same_confidence(console) -> None:
    first = console.router.route(draft("you took the money twice for my october bill"))
    again = console.router.route(draft("You took the money twice for my October bill!!"))
    assert again.method is Method.CACHED
    assert again.source == f"ticket:{first.ticket_id}"
    assert (again.department, again.confidence) == (first.department, pytest.approx(first.confidence, abs=1e-9))
    console.router.settle()
    third = console.router.route(draft("you took the money twice for my october bill"))
    assert third.source == f"ticket:{first.ticket_id}", "a repeat is no new answer, which would never grow old"


def test_a_console_on_another_database_never_answers_from_this_ones_cache(console, build, databases, learned) -> None:  # noqa: ANN001
    url = databases.make(learned)
    other = build({"database_url": SecretStr(url)})
    assert other.state.current().versions == console.state.current().versions

    def repeated(engine) -> bool:  # noqa: ANN001
        source = engine.router.route(draft("you took the money twice for my october bill")).source
        engine.router.settle()
        return source.startswith("ticket:")

    assert [repeated(console), repeated(console)] == [False, True]
    assert [repeated(other), repeated(other)] == [False, True]
    assert not repeated(console), "the other's entry has taken its place"
    other.close()
    databases.drop(url)


def test_a_best_guess_is_never_repeated_as_a_known_case(console) -> None:
    nonsense = "the quux of my zorble is frobnicated by the wibble"
    assert console.router.route(draft(nonsense)).method is Method.FALLBACK
    console.router.settle()
    assert console.router._exact._cache.claim(fingerprint(nonsense), console.state.current().epoch) == Claim(), "nobody waits for it"
    assert console.router.route(draft(nonsense)).method is Method.FALLBACK


def test_a_ticket_nobody_recognises_is_left_to_a_human(console) -> None:
    decision = console.router.route(draft("quantum chromodynamics lattice gauge theory on sparse tensors"))
    assert decision.method is Method.FALLBACK
    assert decision.automation is Automation.SUGGEST
    assert decision.confidence < 0.85


def test_the_same_text_gets_the_supervisors_department_right_after_a_correction(console) -> None:
    text = "you took the money twice for my october bill"
    first = console.router.route(draft(text))
    console.router.route(draft(text))
    console.router.review(Outcome(ticket_id=first.ticket_id, department="Complaints", labelled_by="test"))
    after = console.router.route(draft(text))
    assert after.department == "Complaints"
    assert {n.department for n in after.evidence} != {"Complaints"}
    assert after.reason == "A supervisor has labelled this very text as Complaints (similarity 1.00)."


def test_a_label_can_be_corrected_later_and_only_the_last_one_counts(console) -> None:
    text = "you took the money twice for my october bill"
    decision = console.router.route(draft(text))
    for department in ("Complaints", "Sales", "Billing and Payments"):
        console.router.review(Outcome(ticket_id=decision.ticket_id, department=department, labelled_by="test"))
    row = next(r for r in console.outcomes.accuracy() if r.department == "Billing and Payments")
    assert (row.total_predictions, row.correct_predictions, float(row.accuracy_rate)) == (1, 1, 1.0)
    assert console.router.route(draft(text)).department == "Billing and Payments"


def test_an_overrule_stands_beside_the_decision_and_empties_the_cache(console) -> None:
    text = "you took the money twice for my october bill"
    decision = console.router.route(draft(text))
    console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="agent"))
    assert console.decisions.find(decision.ticket_id)[1].department == decision.department
    assert console.outcomes.queue()[0].overruled_to == "Complaints"
    assert not console.router.route(draft(text)).source.startswith("ticket:")


def test_an_overrule_of_a_labelled_ticket_is_noted_and_the_label_stands(console) -> None:
    decision = console.router.route(draft("you took the money twice for my october bill"))
    console.router.review(Outcome(ticket_id=decision.ticket_id, department="Sales", labelled_by="sue"))
    assert console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="ann")) == "Sales"
    row = console.decisions.rows([decision.ticket_id])[0]
    assert (row.actual_outcome, row.overruled_to) == ("Sales", None)
    assert [(r.actor, r.action) for r in console.audit.find(limit=1, words=decision.ticket_id)] == [("ann", "ticket_overruled")]
    assert console.outcomes.waiting() == {}


def test_nobody_sends_a_ticket_to_a_retired_department_but_its_old_tickets_can_still_be_labelled(console) -> None:
    decision = console.router.route(draft("you took the money twice for my october bill"))
    live = [d for d in console.taxonomy.departments() if d.name not in ("Complaints", decision.department)]
    with writing(console.outcomes._engine) as connection:
        connection.execute(text("update departments set live = false where name in ('Complaints', :own)"), {"own": decision.department})
    with pytest.raises(OutcomeRejected, match="'Complaints' is retired, no ticket goes there any more. Nothing was stored"):
        console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="ann"))
    assert console.decisions.rows([decision.ticket_id])[0].overruled_to is None
    assert console.router.overrule(Overrule(ticket_id=decision.ticket_id, department=live[0].name, by="ann")) is None
    assert console.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="sue")).correct


def test_labels_that_cannot_be_are_refused_and_change_nothing(console) -> None:
    decision = console.router.route(draft("you took the money twice for my october bill"))
    for outcome, error in (
        ({"ticket_id": "T-none", "department": "Sales"}, NotFound),
        ({"ticket_id": decision.ticket_id, "department": "Nowhere"}, OutcomeRejected),
    ):
        with pytest.raises(error):
            console.router.review(Outcome(labelled_by="test", **outcome))
    assert console.outcomes.accuracy() == []


def test_a_taken_ticket_id_is_a_conflict_and_nothing_of_the_second_ticket_is_kept(console) -> None:
    console.router.route(draft("where is my parcel", ticket_id="A-1"))
    with pytest.raises(Conflict, match="A-1 exists already"):
        console.router.route(draft("i want my money back", ticket_id="A-1"))
    assert console.decisions.find("A-1")[0].body == "where is my parcel"


def test_rejected_tickets_leave_no_trace(console) -> None:
    for body in ("", "   ", "x", "a" * 200_000, "<p></p>", "\x00\x01\x02\x03\x04\x05", "\ud800", "😀😀"):
        with pytest.raises(TicketRejected, match="body"):
            console.router.route(draft(body))
    assert console.decisions.latest() == []


def test_a_replay_decides_without_storing(console) -> None:
    decision = console.router.replay(console.router.admit(draft("you took the money twice for my october bill")))
    assert decision.department == "Billing and Payments"
    with pytest.raises(NotFound):
        console.decisions.find(decision.ticket_id)


def test_starter_taxonomy_sends_at_least_85_percent_of_unseen_tickets_to_the_right_department(console) -> None:
    with open(KEPT_APART, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tickets = [console.router.admit(draft(row["text"])) for row in rows]
    decisions = console.router.route_tickets(tickets)
    right = sum(d.department == row["department"] for d, row in zip(decisions, rows, strict=True))
    assert right / len(rows) >= 0.85, f"{right} of {len(rows)}"


def test_without_the_database_an_error_names_it_and_says_that_nothing_was_stored(console, monkeypatch) -> None:
    from db.session import connect

    gone = connect("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    monkeypatch.setattr(console.decisions, "_engine", gone)
    with pytest.raises(ServiceUnavailable, match="database"):
        console.decisions.latest()
    gone.dispose()


def test_no_ticket_keeps_its_connection_whatever_becomes_of_it(console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decided, repeated, refused for its id or without an embedder that works: the lease is empty afterwards."""
    router, leases = console.router, []
    lease = router._lease
    monkeypatch.setattr(router, "_lease", lambda: leases.append(lease()) or leases[-1])
    first = router.route(draft("you took the money twice for my october bill"))
    router.route(draft("you took the money twice for my october bill"))
    with pytest.raises(Conflict):
        router.route(draft("where is my parcel", ticket_id=first.ticket_id))
    with monkeypatch.context() as broken:
        broken.setattr(router._embedder, "embed", lambda texts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            router.route(draft("something else has gone wrong"))
    router.settle()
    assert len(leases) == 4
    assert all(lease._connection is None for lease in leases)
    assert router._exact._flights._flying == {}, "nor does anybody wait for its answer"


def test_no_connection_is_held_while_a_language_model_thinks(console, monkeypatch: pytest.MonkeyPatch) -> None:
    router, leases, held = console.router, [], []
    lease = router._lease
    monkeypatch.setattr(router, "_lease", lambda: leases.append(lease()) or leases[-1])

    class Thinking:
        def decide(self, *_: object, **__: object) -> None:
            held.append(leases[-1]._connection)

    monkeypatch.setattr(router._retrieval, "_language_model", Thinking())
    router.route(draft("quantum chromodynamics lattice gauge theory on sparse tensors"))
    router.settle()
    assert held == [None]
    assert leases[-1]._connection is None


def test_a_router_that_fails_meanwhile_leaves_no_connection_with_the_other_thread(console, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words cannot be read while the embedder is still at work: the connection that is taken after that is given back too."""
    router, leases = console.router, []
    lease = router._lease
    monkeypatch.setattr(router, "_lease", lambda: leases.append(lease()) or leases[-1])
    monkeypatch.setattr(RoutingModel, "read", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        router.route(draft("where is my parcel"))
    router._finders.submit(bool).result()
    router.close()
    assert leases[0]._connection is None


@pytest.mark.parametrize("stricter", [
    {"confidence": 0.93}, {"similarity": 0.95}, {"thresholds": Thresholds(0.97, 0.85)}, {"thresholds": Thresholds(0.95, 0.93)},
    {"confidence": 0.93, "similarity": 0.9, "thresholds": Thresholds(0.96, 0.93)},
], ids=str)
def test_raising_any_threshold_never_routes_a_ticket_alone_that_was_not(console, stricter: dict[str, object]) -> None:
    with KEPT_APART.open(encoding="utf-8", newline="") as file:
        tickets = [console.router.admit(draft(row["text"])) for row in csv.DictReader(file)]
    live = console.state.current()
    before = replace(live.policy, thresholds=Thresholds(0.95, 0.85))

    def alone(policy: Policy) -> set[str]:
        state = replace(live, policy=policy)
        return {t.id for t in tickets if console.router.replay(t, state).automation is Automation.AUTO}

    assert alone(replace(before, **stricter)) <= alone(before)
    assert len(alone(before)) > 60


def test_neighbours_answer_that_needs_a_click_never_hides_a_supervisors_label(console) -> None:
    text = "you took the money twice for my october bill"
    first = console.router.route(draft(text))
    console.router.review(Outcome(ticket_id=first.ticket_id, department="Complaints", labelled_by="test"))
    live = console.state.current()
    strict = replace(live, policy=replace(live.policy, thresholds=Thresholds(0.98, 0.85)))
    assert console.router.replay(console.router.admit(draft(text)), strict).department == "Complaints"


def test_a_local_model_that_cannot_be_run_leaves_the_words_to_decide(console, monkeypatch: pytest.MonkeyPatch) -> None:
    class OutOfMemory:
        def run(self, *_: object) -> None:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(console.router._embedder, "_session", OutOfMemory())
        decision = console.router.route(TicketDraft(body="you charged me twice for my october bill"))
    assert decision.degraded_by == ("embedder",) and decision.department == "Billing and Payments"
    assert console.decisions.find(decision.ticket_id)[1].degraded_by == ("embedder",)
    console.router.settle()
    again = console.router.route(TicketDraft(body="you charged me twice for my october bill"))
    assert again.degraded_by == () and not again.source.startswith("ticket:"), "what half an engine said is not given again"
