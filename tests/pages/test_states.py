"""Every page in its empty, filled and failing state, run by Streamlit's own test runner on the real engine."""
from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from db.session import connect
from engine import access
from engine import policy as policies
from engine.access import Role
from engine.domain import Policy, TicketDraft
from engine.outcome import Outcome
from pages.parts import guard
from tests.integration.test_rollups import decision, store
from tests.pages.opening import PAGES, opening, said

NAMES = sorted(path.stem for path in PAGES.glob("*.py"))


def test_every_page_is_in_the_table_of_who_may_open_it() -> None:
    assert set(NAMES) == set(access.PAGES)


@pytest.mark.parametrize("name", [name for name in NAMES if not access.opens(Role.AGENT, name)])
def test_a_pages_own_guard_stops_who_may_not_open_it(console, monkeypatch, name: str) -> None:
    page = opening(console, monkeypatch, Role.AGENT)(name)
    assert not page.exception and not page.title
    assert [error.value for error in page.error] and "not open to your role, agent" in page.error[0].value


@pytest.mark.parametrize("name", NAMES)
def test_a_page_without_any_data_shows_an_empty_state_and_no_error(opened, name: str) -> None:
    page = opened(name)
    assert not page.exception
    assert page.title
    assert not page.error


@pytest.mark.parametrize("name", NAMES)
def test_a_page_with_tickets_and_labels_shows_them_without_error(opened, console, name: str) -> None:
    for body in ("you took the money twice", "where is my parcel", "someone stole my card", "i forgot my password"):
        decision = console.router.route(TicketDraft(body=body))
        console.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="boss"), learn=False)
    page = opened(name)
    assert not page.exception
    assert not page.error


@pytest.mark.parametrize(("name", "repository"), [("review", "outcomes"), ("accuracy", "reviewed"), ("policy", "reviewed"), ("departments", "taxonomy")])
def test_a_page_whose_data_cannot_be_read_says_so_and_that_nothing_is_lost(opened, console, name: str, repository: str) -> None:
    gone = connect("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    getattr(console, repository)._engine = gone
    page = opened(name)
    gone.dispose()
    assert not page.exception
    assert page.error
    assert any(words in said(page) for words in ("is lost", "stays in force"))


def test_a_session_that_has_ended_opens_nothing(opened, monkeypatch) -> None:
    monkeypatch.setattr(guard, "presented_session", lambda: "nobody")
    page = opened("dashboard")
    assert not page.exception
    assert "Your session has ended" in said(page)
    assert not page.title


def _labels(console, *, demo: bool) -> None:
    """400 sure decisions for one department, all of them right, by the model in force."""
    at, chance, name = datetime.now(UTC) - timedelta(hours=1), random.Random(5), "Billing and Payments"
    rows = [
        decision(i, chance, at=at, department=name, actual=name, confidence=0.97, method="learned", demo=demo, probability=1.0) for i in range(400)
    ]
    pool = connect(console.settings.postgres_url)
    store(pool, *rows)
    with pool.begin() as connection:
        connection.execute(
            text("update routing_history set versions = cast(:versions as jsonb)"), {"versions": json.dumps(console.state.current().versions)}
        )
        connection.execute(text("update routing_history set reviewed_at = now()"))
        connection.execute(text(
            "insert into outcomes (ticket_id, kind, predicted, actual, labelled_by, created_at) "
            "select ticket_id, 'confirmed', department, department, 'boss', now() from routing_history"
        ))
    pool.dispose()


def _ask_for_a_target(console) -> None:
    names = [d.name for d in console.taxonomy.departments()]
    policies.save(replace(Policy(), target_accuracy=0.95), console.policies, departments=names, author="boss", reason="ask for 95%")


def test_newer_labels_are_offered_on_the_policy_page_and_come_into_force_only_by_a_click(opened, console) -> None:
    _ask_for_a_target(console)
    _labels(console, demo=False)
    page = opened("policy")
    assert "Newer labels give other thresholds" in said(page)
    assert "400 labels: 400 on answers of the model in force" in said(page)
    assert "the tickets of these together" in said(page), "a pooled promise is not about a single department"
    rows = next(frame.value for frame in page.dataframe if "Rests on" in frame.value.columns).set_index("Department")
    assert rows.loc[["Billing and Payments", "Sales"], "Labels"].tolist() == [400, 0]
    assert rows.loc["Sales", "Rests on"] == "all with few labels (400 together)"
    assert console.policies.live().departments == {}
    page.button(key="apply_newer").click().run()
    assert not page.exception
    assert "Billing and Payments" in console.policies.live().departments
    assert "derived anew from 400 labels" in console.policies.all()[0].reason
    assert "Newer labels give" not in said(opened("policy"))


def test_demo_labels_set_no_thresholds_and_the_policy_page_says_so(opened, console) -> None:
    _ask_for_a_target(console)
    _labels(console, demo=True)
    page = opened("policy")
    assert "labels of demo tickets" in said(page)
    assert not [button for button in page.button if button.key == "apply_newer"]
    page.text_input(key="policy_reason").set_value("try it").run()
    page.button(key="save_policy").click().run()
    live = console.policies.live()
    assert (live.number, live.target_accuracy, live.departments) == (2, 0.95, {})


def test_the_accuracy_page_says_where_the_demo_went_when_the_first_real_ticket_has_come(opened, console) -> None:
    assert "No label yet" in said(opened("accuracy")) and "emo tickets" not in said(opened("accuracy"))
    _labels(console, demo=True)
    assert "These are demo tickets" in said(opened("accuracy"))
    console.router.route(TicketDraft(body="where is my parcel"))
    page = opened("accuracy")
    assert "No label yet" in said(page) and "Demo tickets no longer count" in said(page)


def test_the_accuracy_page_says_what_still_waits_and_promises_nothing_that_is_not_in_force(opened, console) -> None:
    _labels(console, demo=False)
    for number in range(3):
        console.router.route(TicketDraft(body=f"the quux of my zorble {number} is frobnicated"))
    page = opened("accuracy")
    assert "3 of 403 tickets that were sampled for review still wait" in said(page)
    assert "No target accuracy is in force" in said(page)
    assert "nothing lately" not in said(page)
    rests_on = next(table.value for table in page.dataframe if "Prior counts as" in table.value.columns)
    learned = console.state.current().model.calibrators["learned"]
    assert rests_on.set_index("Method").loc["Learned router", "Labels"] == learned.labels > 0
    shown = [metric.label for metric in page.metric]
    assert "Accuracy of all tickets" in shown
