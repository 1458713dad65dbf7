"""Every page in its empty, filled and failing state, run by Streamlit's own test runner on the real engine."""
from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from db.session import connect
from engine import access, bootstrap
from engine.access import Role
from engine.domain import Outcome, TicketDraft
from pages.parts import guard

PAGES = Path(__file__).resolve().parents[2] / "pages"
NAMES = sorted(path.stem for path in PAGES.glob("*.py"))


@pytest.fixture
def opened(console, monkeypatch):
    """Opens a page as an admin on the test's engine."""
    console.accounts.add("boss", role=Role.ADMIN, by="test", password="plum-tractor-evening-42", must_change=False)
    session = console.sessions.open(console.accounts.named("boss").id)
    monkeypatch.setattr(bootstrap, "running", lambda: console)
    monkeypatch.setattr(guard, "presented_session", lambda: console.sessions.key_of(session))

    def run(name: str) -> AppTest:
        return AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60).run()

    return run


def said(page: AppTest) -> str:
    return " ".join(str(e.value) for kind in ("error", "warning", "info", "success", "text", "caption") for e in getattr(page, kind))


def test_every_page_is_in_the_table_of_who_may_open_it() -> None:
    assert set(NAMES) == set(access.PAGES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_without_any_data_shows_an_empty_state_and_no_error(opened, name: str) -> None:
    page = opened(name)
    assert not page.exception
    assert page.title
    assert not page.error


@pytest.mark.parametrize("name", NAMES)
def test_a_page_with_tickets_and_labels_shows_them_without_error(opened, console, name: str) -> None:
    for text in ("you took the money twice", "where is my parcel", "someone stole my card", "i forgot my password"):
        decision = console.router.route(TicketDraft(body=text))
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
