"""One more department on the page Departments: added whole or refused with its reason, and people can choose it at once."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from streamlit.testing.v1 import AppTest

from db.taxonomy import Taxonomy
from engine.access import Role
from engine.bootstrap import Engine
from engine.domain import Department, TicketDraft
from engine.errors import ServiceUnavailable, TaxonomyRejected
from engine.outcome import Outcome
from pages.parts import words
from tests.pages.opening import opening, said
from tests.pages.test_double_clicks import once_after
from tests.pages.test_policy_page import editor, entered
from tests.pages.test_upload import click

PARKING = "Parking permits"


@pytest.fixture
def page(console: Engine, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return opening(console, monkeypatch, Role.ADMIN, name="root")("departments")


def add(page: AppTest, name: str, purpose: str = "", *, number: int = 0) -> None:
    page.text_input(key=f"department_name_{number}").set_value(name)
    page.text_area(key=f"department_purpose_{number}").set_value(purpose)
    page.button(key=f"add_department_{number}").click().run()
    assert not page.exception


def test_one_that_is_added_can_be_chosen_at_once_and_stands_in_the_audit_log(page: AppTest, console: Engine) -> None:
    before = console.taxonomy.departments()
    add(page, "  Parking \n permits ", "Permits for the street; not fines")
    assert f"{words.plain(PARKING)} is added." in said(page, "success") and not page.error
    assert set(console.taxonomy.departments()) - set(before) == {Department(PARKING, "Permits for the street; not fines")}
    assert PARKING in page.data_editor[0].value["Department"].tolist()
    # The fields are empty again.
    assert (page.text_input(key="department_name_1").value, page.text_area(key="department_purpose_1").value) == ("", "")
    row = console.audit.find(limit=1)[0]
    assert (row.actor, row.action, row.object) == ("root", "department_added", PARKING)
    ticket = console.router.route(TicketDraft(body="my permit for the street has run out"))
    assert ticket.department != PARKING
    assert not console.router.review(Outcome(ticket_id=ticket.ticket_id, department=PARKING, labelled_by="root")).correct
    page.run()
    assert not page.success


@pytest.mark.parametrize("name", ["", "  \x00 ", "\u0958" * 120])
def test_a_name_that_is_none_adds_nothing_and_keeps_what_was_typed(page: AppTest, console: Engine, name: str) -> None:
    before = console.taxonomy.departments(retired=True)
    add(page, name, "a purpose")
    assert "a department needs a name of 1 to 120 characters" in said(page, "error") and not page.success
    assert page.text_area(key="department_purpose_0").value == "a purpose"
    assert console.taxonomy.departments(retired=True) == before


def test_a_name_that_is_there_is_refused_and_changes_the_one_that_has_it_in_nothing(page: AppTest, console: Engine) -> None:
    one, two = console.taxonomy.departments()[:2]
    console.taxonomy.save([Department(two.name, two.purpose, live=False)])
    before, head = console.taxonomy.departments(retired=True), console.audit.find(limit=1)[0]
    add(page, one.name.upper(), "another purpose")
    assert "The department was not added." in said(page, "error")
    assert f"There is a department {one.name} already." in said(page, "text")
    add(page, two.name, "another purpose")
    assert f"There is a department {two.name} already, which is retired: it can be made live again." in said(page, "text")
    assert (console.taxonomy.departments(retired=True), console.audit.find(limit=1)[0]) == (before, head)


def test_of_many_who_add_the_same_at_once_one_does(console: Engine) -> None:
    def one(number: int) -> bool:
        try:
            console.taxonomy.add(Department(("Parking", "PARKING")[number % 2], f"by {number}"))
        except TaxonomyRejected:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(16))) == 1
    assert sum(d.name.lower() == "parking" for d in console.taxonomy.departments()) == 1


def test_a_second_click_adds_nothing_and_the_first_ones_words_are_shown(
    page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.text_input(key="department_name_0").set_value(PARKING)
    calls = once_after(monkeypatch, Taxonomy, "add", lambda: click("add_department_0", page))
    page.button(key="add_department_0").click().run()
    assert not page.exception and not page.error
    assert len(calls) == 1 and "is added." in said(page, "success")


def test_one_that_was_added_is_not_called_unadded_because_this_instance_could_not_take_it_up_at_once(
    page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> bool:
        raise ServiceUnavailable("database", "away for a moment")

    monkeypatch.setattr(console.state, "refresh", away)
    add(page, PARKING)
    assert "is added." in said(page, "success") and not page.error


def test_a_change_that_is_stored_is_not_called_unstored_because_this_instance_could_not_take_it_up_at_once(
    page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> bool:
        raise ServiceUnavailable("database", "away for a moment")

    names = [d.name for d in console.taxonomy.departments(retired=True)]
    entered(page, editor(page), names[0], "Purpose", "what I wanted", names)
    page.run()
    monkeypatch.setattr(console.state, "refresh", away)
    page.button(key="save_departments").click().run()
    assert "1 changed." in said(page, "success") and not page.error
    assert console.taxonomy.departments(retired=True)[0].purpose == "what I wanted"


def test_what_cannot_be_stored_with_its_row_in_the_audit_log_is_not_stored(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise ServiceUnavailable("database", "away for a moment")

    before = console.taxonomy.departments(retired=True)
    monkeypatch.setattr(type(console.audit), "record", away)
    add(page, PARKING, "a purpose")
    assert "The department was not added." in said(page, "error") and not page.success
    assert console.taxonomy.departments(retired=True) == before
    assert page.text_input(key="department_name_0").value == PARKING
