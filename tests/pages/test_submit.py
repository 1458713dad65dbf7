"""The Submit page: which text an answer is for, what leaves the form and what stays, and what becomes of a ticket whose run a click ends."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from engine.bootstrap import Engine
from engine.errors import NotAccepted, TooManyRequests
from pages.parts import draft
from tests.pages.opening import said
from tests.pages.test_upload import click

BILL, PARCEL = "you took the money twice for my october bill", "my parcel was left at a neighbour whom nobody here knows"


def send(page: AppTest, body: str, *, subject: str = "", customer: str = "") -> AppTest:
    page.text_area(key="body").set_value(body)
    page.text_input(key="subject").set_value(subject)
    page.text_input(key="customer_ref").set_value(customer)
    return page.button(key="route").click().run()


def held(page: AppTest) -> tuple[str, str, str]:
    return page.text_input(key="subject").value, page.text_area(key="body").value, page.text_input(key="customer_ref").value


def stored(console: Engine) -> list[str]:
    return [row.body for row in reversed(console.decisions.latest(limit=50))]


def during(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, happens: Callable[[], object], *, after: bool = False) -> None:
    """Let something happen once, just before or after an object's method runs."""
    method, done = getattr(type(owner), name), []

    def changed(self: object, *given: object, **more: object) -> object:
        first = self is owner and not done
        done.append(1) if self is owner else None
        if first and not after:
            happens()
        result = method(self, *given, **more)
        if first and after:
            happens()
        return result

    monkeypatch.setattr(type(owner), name, changed)


def test_what_was_stored_leaves_the_form_and_the_answer_shows_which_text_it_is_for(page: AppTest, console: Engine) -> None:
    page.selectbox(key="ticket_channel").set_value("phone")
    page.selectbox(key="priority").set_value("high")
    send(page, f"{BILL}\n\n:red[**now**]\nthree\nfour\n{'x' * 900}", subject="Bill", customer="C-7")
    assert held(page) == ("", "", "")
    assert (page.selectbox(key="ticket_channel").value, page.selectbox(key="priority").value) == ("phone", "high")
    assert [text.value for text in page.text][0] == f"Bill\n{BILL}\n:red[**now**]\nthree\n…"
    row = console.decisions.latest(limit=1)[0]
    assert (row.subject, row.channel, row.priority, row.customer_ref) == ("Bill", "phone", "high", "C-7")
    send(page, "y" * 900)
    assert page.text[0].value == "y" * 320 + "…"
    assert console.decisions.latest(limit=1)[0].customer_ref == ""


@pytest.mark.parametrize("fault", ["refused", "limit", "nowhere"])
def test_what_was_not_stored_stays_in_the_form_and_no_answer_stands_beside_it(
    page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    send(page, PARCEL)

    def fails(*_: object, **__: object) -> None:
        raise TooManyRequests("submit", limit=1, wait=9.0) if fault == "limit" else NotAccepted("database", "and the disk is full")

    with monkeypatch.context() as patch:
        if fault != "refused":
            patch.setattr(*{"limit": (console.limits, "take"), "nowhere": (console.router, "route")}[fault], fails)
        send(page, "<p></p>" if fault == "refused" else BILL, subject="Bill", customer="C-7")
    assert not page.exception
    assert held(page) == ("Bill", "<p></p>" if fault == "refused" else BILL, "C-7")
    assert "text is still in the form" in said(page) and len(page.error) == 1
    assert not page.metric, "the first ticket's answer"
    page.selectbox(key="ticket_channel").set_value("email").run()
    assert len(page.error) == 1, "what became of it is still said while the form is mended"
    send(page, BILL)
    assert not page.error and page.metric
    assert stored(console) == [PARCEL, BILL]


@pytest.mark.parametrize(("body", "limit"), [("", "at least 2 characters"), ("???", "must hold at least one word or number")])
def test_a_refusal_names_the_field_as_the_page_does(page: AppTest, body: str, limit: str) -> None:
    send(page, body, subject="Only a subject")
    assert page.error[0].value == f"The ticket was not accepted. “{page.text_area(key='body').label}”: {limit}."


def test_the_keys_pressed_three_times_make_one_ticket_and_an_empty_form_none(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        send(page, BILL, customer="C-7")
    assert stored(console) == [BILL]
    assert held(page) == ("", "", "")
    page.button(key="route").click().run()
    assert "There is no text to route." in said(page)
    assert page.metric, "the answer is still there"
    assert not page.error
    monkeypatch.setattr("pages.parts.second_click.AGAIN", 0.0)
    send(page, BILL, customer="C-7")
    assert stored(console) == [BILL, BILL], "somebody else may say the same"


def test_what_was_typed_behind_the_ticket_before_is_not_sent_with_it(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that is typed in does not empty the field, and who types fast does not see it."""
    send(page, BILL)
    for _ in range(3):
        send(page, f"{BILL}{PARCEL}")
        assert stored(console) == [BILL], "pressing the keys twice is not meaning it"
    assert "Not sent yet" in said(page) and held(page)[1] == f"{BILL}{PARCEL}"
    page.text_area(key="body").set_value(f"{BILL}{PARCEL}!")
    page.button(key="take_out").click().run()
    assert "Not sent yet" not in said(page) and held(page)[1] == f"{PARCEL}!", "also what was typed since"
    page.text_area(key="body").set_value(PARCEL)
    page.button(key="route").click().run()
    assert stored(console) == [BILL, PARCEL] and held(page)[1] == ""
    send(page, f"{PARCEL}, again")
    assert "Not sent yet" in said(page)
    monkeypatch.setattr("pages.parts.second_click.AGAIN", 0.0)
    page.button(key="route").click().run()
    assert stored(console) == [BILL, PARCEL, f"{PARCEL}, again"], "who means it sends it again"
    assert "Not sent yet" not in said(page)
    send(page, f"{PARCEL}, again and again")
    assert stored(console)[-1].endswith("again and again"), "a blank in between was typed with the words before it in sight"
    send(page, "cancel my contract")
    send(page, "cancel my contracts please")
    assert stored(console)[-1] == "cancel my contracts please", "two customers may begin with the same few words"


@pytest.mark.parametrize("after", [False, True], ids=["before it is routed", "after it is routed"])
def test_a_click_while_a_ticket_is_on_its_way_loses_nothing_and_stores_nothing_twice(
    page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    send(page, PARCEL)
    first = console.decisions.latest(limit=1)[0]

    def alternative_of_the_first() -> None:
        click(f"alternative_0_{first.ticket_id}", page)

    during(monkeypatch, console.router, "route" if after else "admit", alternative_of_the_first, after=after)
    send(page, BILL, customer="C-7")
    assert not page.exception and not page.error
    assert stored(console) == [PARCEL, BILL]
    assert page.text[0].value == BILL
    assert held(page) == ("", "", "")
    assert {row.body: row.overruled_to for row in console.decisions.latest(limit=2)} == {
        PARCEL: console.decisions.find(first.ticket_id)[1].alternatives[1].department, BILL: None,
    }, "the click counts for the ticket that it was about"


def test_a_ticket_that_another_run_has_stored_meanwhile_is_answered_as_it_was_stored(
    page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = type(console.router).route

    def twice(self: object, given: object) -> object:
        route(self, given)
        return route(self, given)

    monkeypatch.setattr(type(console.router), "route", twice)
    send(page, BILL)
    assert not page.exception and not page.error
    assert stored(console) == [BILL] and page.metric


def test_an_answer_that_a_next_ticket_overtakes_is_still_told(page: AppTest, console: Engine) -> None:
    own = page.session_state["desk"]
    own.sent = [draft.Sent({**draft.FIELDS, "body": PARCEL})]
    send(page, BILL)
    assert stored(console) == [PARCEL, BILL]
    first = console.decisions.latest(limit=2)[1]
    texts = [text.value for text in page.text]
    assert texts[0] == PARCEL and texts[1].startswith(f"Routed before it: {first.department}") and texts[2] == BILL


def test_a_fault_of_the_console_does_not_come_again_with_every_run(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    with monkeypatch.context() as patch:
        patch.setattr(console.router, "route", broken)
        send(page, BILL)
    assert page.exception
    page.run()
    assert not page.exception
    assert "look among the latest tickets" in said(page)
    assert held(page)[1] == BILL


def test_a_reason_for_one_ticket_is_not_there_for_the_next(page: AppTest, console: Engine) -> None:
    send(page, PARCEL)
    first = console.decisions.latest(limit=1)[0].ticket_id
    page.text_input(key=f"overrule_reason_{first}").set_value("rang twice")
    box = page.selectbox(key=f"overrule_department_{first}")
    box.set_value(box.options[0]).run()
    assert not page.button(key=f"overrule_send_{first}").disabled
    send(page, BILL)
    second = console.decisions.latest(limit=1)[0].ticket_id
    assert page.text_input(key=f"overrule_reason_{second}").value == ""
    assert page.selectbox(key=f"overrule_department_{second}").value is None
    assert page.button(key=f"overrule_send_{second}").disabled


def test_after_a_fault_that_nobody_foresaw_it_is_said_that_the_ticket_may_be_stored_and_its_text_is_back(
    page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(console.router, "route", lambda _: 1 / 0)
        send(page, BILL)
    page.run()
    assert not page.exception
    assert "It is not certain whether the ticket was stored; your text is still in the form." in said(page)
    assert "look among the latest tickets before you send it again" in said(page)
    assert "was not stored." not in said(page)
    assert held(page)[1] == BILL
