"""The buttons under a decision: confirm, choose, send elsewhere, come back; and an earlier ticket that is opened again."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from engine.access import Role
from engine.bootstrap import Engine
from engine.domain import Policy, Stage, Thresholds, TicketDraft
from engine.errors import ServiceUnavailable
from engine.outcome import Outcome, Overrule
from tests.pages.test_double_clicks import once_after
from tests.pages.opening import opening, said
from tests.pages.test_upload import click

BILL = "you took the money twice for my october bill"
ASK = Policy(thresholds=Thresholds(auto=1.0, preselect=0.0), confidence=0.0)
# Nothing may answer: whatever comes is a best guess.
GUESS = Policy(stages=frozenset[Stage]())


def under(console: Engine, policy: Policy) -> None:
    console.policies.add(replace(policy, number=2), author="test", reason="for this test")
    console.state.refresh()


def send(page: AppTest, console: Engine, body: str = BILL) -> str:
    page.text_area(key="body").set_value(body)
    page.button(key="route").click().run()
    return console.decisions.latest(limit=1)[0].ticket_id


def headed(page: AppTest) -> str:
    return " ".join(element.value for element in page.markdown)


def keys(page: AppTest) -> list[str]:
    return [button.key for button in page.button]


def chosen(console: Engine, ticket_id: str) -> tuple[str | None, str | None]:
    row = console.decisions.rows([ticket_id])[0]
    return row.chosen, row.overruled_to


def steps(page: AppTest) -> list[str]:
    return list(next(frame.value for frame in page.dataframe if "Next step" in frame.value)["Next step"])


def opened(page: AppTest, ticket_id: str) -> AppTest:
    """As after a click on its line; Streamlit's test runner cannot mark lines, the browser's test does."""
    page.session_state["opened"].ticket_id = ticket_id
    return page.run()


def test_what_asks_to_be_confirmed_is_confirmed_with_one_click(page: AppTest, console: Engine) -> None:
    under(console, ASK)
    id_ = send(page, console)
    decided = console.decisions.find(id_)[1].department
    assert "Please confirm" in headed(page) and page.button(key=f"confirm_{id_}").label == f"Yes, it belongs to {decided}"
    page.button(key=f"confirm_{id_}").click().run()
    assert not page.exception and not page.error
    assert chosen(console, id_) == (decided, None)
    assert f"You confirmed {decided}." in said(page) and f"confirm_{id_}" not in keys(page)
    assert steps(page) == ["Confirmed"]
    page.button(key=f"alternative_0_{id_}").click().run()
    assert chosen(console, id_) == (decided, None), "a second click, under which the buttons have moved"


def test_what_asks_to_choose_offers_the_guess_beside_the_others(page: AppTest, console: Engine) -> None:
    under(console, GUESS)
    id_ = send(page, console)
    decision = console.decisions.find(id_)[1]
    assert "Where does it belong?" in headed(page) and "Not right?" not in headed(page)
    assert page.button(key=f"confirm_{id_}").label.startswith(f"{decision.department} · ")
    assert steps(page) == ["Please choose"]
    page.button(key=f"confirm_{id_}").click().run()
    assert chosen(console, id_) == (decision.department, None)


def test_what_goes_alone_asks_for_nothing(page: AppTest, console: Engine) -> None:
    id_ = send(page, console)
    assert "Goes straight to the queue" in headed(page)
    assert f"confirm_{id_}" not in keys(page) and f"alternative_0_{id_}" in keys(page)


def test_who_sent_it_elsewhere_can_come_back_but_not_by_a_second_click(
    page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = send(page, console)
    decision = console.decisions.find(id_)[1]
    elsewhere = decision.alternatives[1].department
    calls = once_after(monkeypatch, type(console.router), "overrule", lambda: click(f"alternative_0_{id_}", page))
    page.button(key=f"alternative_0_{id_}").click().run()
    assert not page.exception and not page.error
    assert len(calls) == 1 and chosen(console, id_) == (elsewhere, elsewhere)
    assert f"You sent it to {elsewhere}. A supervisor will see that." in said(page)
    page.button(key=f"confirm_{id_}").click().run()
    assert chosen(console, id_) == (elsewhere, elsewhere) and "This click came within two seconds of the one that counted." in said(page)
    monkeypatch.setattr("pages.parts.second_click.AGAIN", 0.0)
    page.button(key=f"confirm_{id_}").click().run()
    assert chosen(console, id_) == (decision.department, None)
    assert f"You confirmed {decision.department}." in said(page)


def test_a_choice_that_cannot_be_stored_says_so_and_can_be_made_again(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    under(console, ASK)
    id_ = send(page, console)

    def away(*_: object, **__: object) -> None:
        raise ServiceUnavailable("database", "connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(console.router, "overrule", away)
        page.button(key=f"confirm_{id_}").click().run()
    assert not page.exception
    assert "Your choice was not stored: the ticket is with" in said(page) and "connection refused" in said(page)
    assert chosen(console, id_) == (None, None)
    page.button(key=f"confirm_{id_}").click().run()
    assert not page.error and chosen(console, id_)[0] is not None


def test_an_earlier_ticket_is_opened_whole_and_confirmed(page: AppTest, console: Engine) -> None:
    under(console, ASK)
    first = send(page, console, f"{BILL}\n" + "\n".join(f"line {n}" for n in range(9)))
    second = send(page, console, "where is my parcel")
    opened(page, first)
    assert any(text.value.endswith("line 8") for text in page.text), "all of its text"
    assert {f"confirm_{first}_opened", f"confirm_{second}"} <= set(keys(page))
    page.button(key=f"confirm_{first}_opened").click().run()
    assert chosen(console, first)[0] is not None and chosen(console, second) == (None, None)
    assert steps(page) == ["Please confirm", "Confirmed"]
    opened(page, second)
    assert {f"confirm_{second}_opened", f"confirm_{second}"} <= set(keys(page)), "both cards of one ticket"
    page.button(key=f"confirm_{second}_opened").click().run()
    assert f"confirm_{second}" not in keys(page), "the card above knows it too"
    page.button(key="close_opened").click().run()
    assert not any(key.endswith("_opened") for key in keys(page))


def test_an_opened_ticket_says_what_others_did_with_it(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = send(page, console)
    decision = console.decisions.find(id_)[1]
    elsewhere = decision.alternatives[1].department
    page.button(key=f"alternative_0_{id_}").click().run()
    console.router.overrule(Overrule(ticket_id=id_, department=decision.department, by="crm"))
    opened(page, id_)
    assert f"An agent confirmed {decision.department}." in said(page)
    monkeypatch.setattr("pages.parts.second_click.AGAIN", 0.0)
    page.button(key=f"alternative_0_{id_}_opened").click().run()
    assert chosen(console, id_) == (elsewhere, elsewhere)
    console.router.review(Outcome(ticket_id=id_, department="Sales", labelled_by="sue"), learn=False)
    page.run()
    assert "A supervisor has labelled this ticket already, as Sales: that label stands." in said(page)
    assert f"confirm_{id_}_opened" not in keys(page)
    fresh = console.router.route(TicketDraft(body="where is my parcel", created_by="ann")).ticket_id
    console.router.review(Outcome(ticket_id=fresh, department="Sales", labelled_by="sue"), learn=False)
    opened(page, fresh)
    assert "A supervisor has labelled this ticket as Sales: that label stands." in said(page)
    assert f"alternative_0_{fresh}_opened" not in keys(page)
    assert steps(page)[0] == "Labelled"


def test_a_card_that_does_not_know_of_anothers_choice_does_not_undo_it(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    under(console, ASK)
    id_ = send(page, console)
    console.router.overrule(Overrule(ticket_id=id_, department="Complaints", by="sue", reason="rang twice"))
    page.button(key=f"confirm_{id_}").click().run()
    assert chosen(console, id_) == ("Complaints", "Complaints")
    assert "Somebody has chosen for it meanwhile." in said(page) and "An agent sent it to Complaints." in said(page)
    monkeypatch.setattr("pages.parts.second_click.AGAIN", 0.0)
    page.button(key=f"confirm_{id_}").click().run()
    assert chosen(console, id_)[1] is None and not page.error


def both(page: AppTest, *keys_: str) -> None:
    """Several buttons in one report of the browser, as the server joins those that came while the page's script ran."""
    for key in keys_:
        page.button(key=key).click()
    page.run()


def test_a_choice_is_stored_though_the_next_ticket_is_sent_with_it(page: AppTest, console: Engine) -> None:
    under(console, ASK)
    first = send(page, console)
    page.text_area(key="body").set_value("where is my parcel")
    both(page, f"confirm_{first}", "route")
    assert chosen(console, first)[0] is not None
    assert console.decisions.latest(limit=1)[0].body == "where is my parcel"


def test_two_choices_at_once_leave_one_and_say_so_until_it_was_read(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = send(page, console)
    both(page, f"alternative_0_{id_}", f"alternative_1_{id_}")
    names = [candidate.department for candidate in console.decisions.find(id_)[1].alternatives[1:]]
    assert chosen(console, id_)[0] in names and len(console.audit.find(limit=5, words=id_)) == 1
    assert "This click came within two seconds of the one that counted." in said(page) and "Somebody" not in said(page)
    monkeypatch.setattr("pages.parts.second_click.AGAIN", 0.0)
    page.run()
    assert not page.error


@pytest.mark.parametrize("who", ["no agent of this ticket", "nobody"])
def test_who_may_not_any_more_chooses_nothing_with_a_page_that_is_still_open(console: Engine, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    foreign = console.router.route(TicketDraft(body=BILL, created_by="joe")).ticket_id
    page = opened(opening(console, monkeypatch, Role.SUPERVISOR, name="sue")("submit"), foreign)
    if who == "nobody":
        console.accounts.disable("sue", by="test")
    else:
        console.accounts.set_role("sue", "agent", by="test")
    page.button(key=f"alternative_0_{foreign}_opened").click().run()
    assert chosen(console, foreign) == (None, None)


def test_a_ticket_that_is_not_there_any_more_stops_no_page(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a standby that has not caught up."""
    id_ = send(page, console)
    monkeypatch.setattr(console.decisions, "rows", lambda _: [])
    page.button(key=f"alternative_0_{id_}").click().run()
    assert not page.exception and "You may not choose for this ticket any more." in said(page)


def test_who_sent_it_to_the_wrong_one_sends_it_to_another_at_once(page: AppTest, console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.parts.second_click.AGAIN", 0.0)
    id_ = send(page, console)
    decision = console.decisions.find(id_)[1]
    for position in (0, 1):
        page.button(key=f"alternative_{position}_{id_}").click().run()
        assert f"alternative_{position}_{id_}" not in keys(page), "it is there already"
    assert chosen(console, id_)[0] == decision.alternatives[2].department
    box = page.selectbox(key=f"overrule_department_{id_}")
    box.set_value(wanted := box.options[0])
    page.text_input(key=f"overrule_reason_{id_}").set_value("asks for more").run()
    page.button(key=f"overrule_send_{id_}").click().run()
    assert console.outcomes.last_choice(id_) == Overrule(ticket_id=id_, department=wanted, by="ann", reason="asks for more")
    assert "ticket_confirmed" not in {r.action for r in console.audit.find(limit=10, words=id_)}


def test_a_retired_department_is_not_offered_and_others_are(page: AppTest, console: Engine) -> None:
    under(console, ASK)
    id_ = send(page, console)
    decided = console.decisions.find(id_)[1].department
    with console.outcomes._engine.begin() as connection:
        connection.exec_driver_sql("update departments set live = false where name = %s", (decided,))
        connection.exec_driver_sql("update counters set value = value + 1")
    console.state.refresh()
    page.run()
    assert f"confirm_{id_}" not in keys(page) and f"alternative_0_{id_}" in keys(page)


def test_only_those_that_wait_are_shown_and_of_an_agent_only_the_own(page: AppTest, console: Engine) -> None:
    send(page, console)
    page.toggle(key="latest_open").set_value(True).run()
    assert "Nothing waits for you." in said(page)
    under(console, ASK)
    id_ = send(page, console, "where is my parcel")
    console.router.route(TicketDraft(body="where is my refund", created_by="joe"))
    page.run()
    assert steps(page) == ["Please confirm"]
    page.button(key=f"confirm_{id_}").click().run()
    assert "Nothing waits for you." in said(page)


@pytest.mark.parametrize("case", ["another role since", "text removed", "away"])
def test_an_opened_ticket_that_cannot_be_shown(
    console: Engine, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    foreign = console.router.route(TicketDraft(body=BILL, created_by="joe")).ticket_id
    open_page: Callable[[str], AppTest] = opening(console, monkeypatch, Role.SUPERVISOR, name="sue")
    page = opened(open_page("submit"), foreign)
    assert BILL in said(page)
    if case == "another role since":
        console.accounts.set_role("sue", "agent", by="test")
    elif case == "text removed":
        with console.outcomes._engine.begin() as connection:
            connection.exec_driver_sql("update tickets set subject = '', body = '', text_removed_at = now() where id = %s", (foreign,))
    else:
        def away(*_: object) -> None:
            raise ServiceUnavailable("database", "connection refused")

        monkeypatch.setattr(console.decisions, "find", away)
    page.run()
    assert not page.exception
    if case == "another role since":
        assert BILL not in said(page)
    elif case == "text removed":
        assert "The text was removed" in said(page) and not any(key.startswith("alternative_") for key in keys(page))
    else:
        assert "The ticket cannot be opened. Nothing is lost." in said(page)


def by_number(page: AppTest, number: str) -> AppTest:
    """Open a ticket by its number; the box is made anew now and then."""
    box = next(box for box in page.text_input if str(box.key).startswith("open_number_"))
    return box.set_value(number).run()


def test_a_ticket_of_any_age_opens_by_its_number_and_of_an_agent_only_the_own(page: AppTest, console: Engine) -> None:
    under(console, ASK)
    first = send(page, console)
    for number in range(12):
        console.router.route(TicketDraft(body=f"where is my parcel, order {number}", created_by="ann"))
    foreign = console.router.route(TicketDraft(body="joe asks for a refund", created_by="joe")).ticket_id
    by_number(page, f"  {first} ")
    assert f"Ticket {first}" in headed(page).replace("\\", "") and f"confirm_{first}_opened" in keys(page)
    page.button(key=f"confirm_{first}_opened").click().run()
    assert console.decisions.rows([first])[0].chosen is not None
    page.button(key="close_opened").click().run()
    assert [box.value for box in page.text_input if str(box.key).startswith("open_number_")] == [""]
    for missing in (foreign, foreign.lower(), "T-20260131-0000000000", "nonsense\0 *bold*", "' or 1=1 --"):
        by_number(page, missing)
        assert "No ticket of yours has this number." in said(page) and "joe asks" not in said(page)
        assert (foreign in headed(page).replace("\\", "")) == (missing == foreign), "the stored spelling would tell that there is one"
        assert not page.exception
    by_number(page, "")
    assert "No ticket of yours" not in said(page)


def test_a_number_may_be_typed_in_small_letters_and_one_that_has_some_is_another(page: AppTest, console: Engine) -> None:
    under(console, ASK)
    first = send(page, console)
    for number in ("a-1", "A-1"):
        console.router.route(TicketDraft(body=f"where is my parcel {number}", ticket_id=number, created_by="ann"))
    for typed, meant in ((first.lower(), first), ("a-1", "a-1"), ("A-1", "A-1")):
        by_number(page, typed)
        assert f"Ticket {meant}" in headed(page).replace("\\", "")
        page.button(key="close_opened").click().run()


def test_whoever_may_see_all_tickets_opens_each_by_its_number(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = console.router.route(TicketDraft(body=BILL, created_by="joe")).ticket_id
    open_page: Callable[[str], AppTest] = opening(console, monkeypatch, Role.SUPERVISOR, name="sue")
    page = by_number(open_page("submit"), foreign)
    assert BILL in said(page)
    assert "No ticket has this number." in said(by_number(page, "T-1"))
