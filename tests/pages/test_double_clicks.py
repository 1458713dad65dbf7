"""A second click while the first one's work is done: the work is done once, and what came of it is shown."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from engine.access import Role
from engine.bootstrap import Engine
from engine.domain import TicketDraft
from engine.outcome import Outcome
from pages.parts import words
from tests.pages.opening import opening, said
from tests.pages.test_upload import click


@pytest.fixture
def opened(console: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AppTest]:
    """Opens a page as an admin on the test's engine."""
    return opening(console, monkeypatch, Role.ADMIN, name="root")


def once_after(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, then: Callable[[], None]) -> list[Any]:
    """Have the method followed by `then` at its first call; what each call gave."""
    whole, calls = getattr(kind, name), []

    def wrapped(self: Any, *given: Any, **more: Any) -> Any:
        result = whole(self, *given, **more)
        calls.append(result)
        if len(calls) == 1:
            then()
        return result

    monkeypatch.setattr(kind, name, wrapped)
    return calls


@pytest.mark.parametrize("twice", [True, False])
def test_a_one_time_password_is_shown_whatever_is_clicked_while_it_is_made(
    opened: Callable[[str], AppTest], console: Engine, monkeypatch: pytest.MonkeyPatch, twice: bool
) -> None:
    page = opened("users")
    page.text_input(key="new_name").set_value("newcomer")
    calls = once_after(monkeypatch, type(console.accounts), "add", lambda: click("add_user", page) if twice else click())
    page.button(key="add_user").click().run()
    assert not page.exception and not page.error
    assert len(calls) == 1 and [code.value for code in page.code] == [calls[0][1]]
    assert words.plain("newcomer is added as agent.") in said(page)


def test_a_note_goes_when_something_else_is_done_later(
    opened: Callable[[str], AppTest], console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened("users")
    page.text_input(key="new_name").set_value("latecomer")
    page.button(key="add_user").click().run()
    assert len(page.code) == 1
    monkeypatch.setattr("pages.parts.second_click.AGAIN", 0.0)
    assert len(page.run().code) == 0


def test_a_token_is_made_once_and_its_secret_shown(
    opened: Callable[[str], AppTest], console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened("account")
    page.text_input(key="token_name").set_value("robot")
    page.multiselect(key="token_scopes").set_value(["submit"])
    calls = once_after(monkeypatch, type(console.tokens), "make", lambda: click("make_token", page))
    page.button(key="make_token").click().run()
    assert not page.exception and not page.error
    assert len(calls) == 1 and [code.value for code in page.code] == calls
    assert [token.name for token in console.tokens.all()] == ["robot"]


def test_a_label_that_is_saved_twice_is_stored_once_and_nobody_is_told_otherwise(
    opened: Callable[[str], AppTest], console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket_id = console.router.route(TicketDraft(body="you took the money twice for my october bill")).ticket_id
    page = opened("review")
    page.text_input(key="looked_up").set_value(ticket_id).run()
    key = next(button.key for button in page.button if button.label == "Save the label" and button.key.endswith(ticket_id))
    calls = once_after(monkeypatch, type(console.router), "review", lambda: click(key, page))
    page.button(key=key).click().run()
    assert not page.exception and not page.error
    assert len(calls) == 1 and "was not stored" not in said(page)
    assert console.decisions.rows([ticket_id])[0].reviewed_by == "root"
    assert any(words.plain(ticket_id) in toast.value for toast in page.toast)


def test_a_policy_is_put_in_force_once(opened: Callable[[str], AppTest], console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened("policy")
    key = next(field.key for field in page.number_input if field.key.startswith("policy_confidence_"))
    page.number_input(key=key).set_value(0.61)
    page.text_input(key="policy_reason").set_value("surer")
    calls = once_after(monkeypatch, type(console.policies), "add", lambda: click("save_policy", page))
    page.button(key="save_policy").click().run()
    assert not page.exception and not page.error
    assert len(calls) == 1 and [row.number for row in console.policies.all()][:1] == [calls[0].number]
    assert f"Policy {calls[0].number} is in force." in said(page) and "a second click" in said(page)
    assert page.text_input(key="policy_reason").value == "", "the next change has a reason of its own"


def test_labelling_again_keeps_hours_and_stars(opened: Callable[[str], AppTest], console: Engine) -> None:
    ticket_id = console.router.route(TicketDraft(body="where is my parcel")).ticket_id
    console.router.review(
        Outcome(ticket_id=ticket_id, department="Sales", labelled_by="sam", resolution_hours=3.5, satisfaction=4), learn=False,
    )
    page = opened("review")
    page.text_input(key="looked_up").set_value(ticket_id.lower()).run()
    assert page.number_input(key=f"hours_{ticket_id}").value == 3.5
    page.selectbox(key=f"actual_{ticket_id}").set_value("Billing and Payments")
    next(button for button in page.button if button.label == "Save the label").click().run()
    row = console.decisions.rows([ticket_id])[0]
    assert (row.actual_outcome, float(row.resolution_time_hours), float(row.customer_satisfaction)) == ("Billing and Payments", 3.5, 4.0)
