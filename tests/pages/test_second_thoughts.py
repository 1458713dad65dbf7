"""What the pages answer to an overrule or a label that is not, or not quite, what was asked for."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from db.session import connect, writing
from engine.access import Role
from engine.bootstrap import Engine
from engine.domain import TicketDraft
from engine.outcome import Outcome, Overrule
from tests.pages.opening import opening, said

TEXT = "you took the money twice for my october bill"


@pytest.fixture
def opened(console: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AppTest]:
    """Opens a page as a supervisor on the test's engine."""
    return opening(console, monkeypatch, Role.SUPERVISOR, name="sue")


def test_an_agent_is_told_whether_a_supervisor_will_see_the_overrule_or_has_labelled_the_ticket_before(
    opened: Callable[[str], AppTest], console: Engine
) -> None:
    page = opened("submit")
    for labelled in (False, True):
        # Not the same words: those sent twice at once would be one ticket.
        page.text_area(key="body").set_value(f"{TEXT} again" if labelled else TEXT)
        page.button[0].click().run()
        ticket_id = console.decisions.latest(limit=1)[0].ticket_id
        if labelled:
            console.router.review(Outcome(ticket_id=ticket_id, department="Sales", labelled_by="sue"), learn=False)
        page.button(key=f"alternative_0_{ticket_id}").click().run()
        assert not page.exception and not page.error
        assert ("A supervisor will see that" in said(page)) is not labelled
    assert "A supervisor has labelled this ticket already, as Sales: that label stands." in said(page)


def test_a_resolution_time_of_nothing_is_refused_and_not_dropped(opened: Callable[[str], AppTest], console: Engine) -> None:
    ticket_id = console.router.route(TicketDraft(body=TEXT)).ticket_id
    page = opened("review")
    page.text_input(key="looked_up").set_value(ticket_id).run()
    page.number_input(key=f"hours_{ticket_id}").set_value(0.0)
    save = next(button for button in page.button if button.label == "Save the label")
    save.click().run()
    assert "The label was not stored" in said(page)
    assert "resolution hours: more than 0 and at most 8760; found 0.0. Leave it out if it is not known." in said(page)
    assert console.decisions.rows([ticket_id])[0].actual_outcome is None
    page.number_input(key=f"hours_{ticket_id}").set_value(0.5)
    next(button for button in page.button if button.label == "Save the label").click().run()
    assert float(console.decisions.rows([ticket_id])[0].resolution_time_hours) == 0.5


def test_a_confidence_reads_the_same_on_the_card_and_in_the_table(opened: Callable[[str], AppTest], console: Engine) -> None:
    page = opened("submit")
    page.text_area(key="body").set_value(TEXT)
    page.button[0].click().run()
    table = next(frame.value for frame in page.dataframe if "Confidence" in frame.value)
    assert table["Confidence"][0].strip() == page.metric[0].value


OTHERS = ("where is my parcel", "someone stole my card", "i forgot my password", "the app does not open", "i want a loan")


def waiting(console: Engine) -> list[str]:
    """Some tickets that wait for a label, in the order of the queue."""
    for body in OTHERS:
        console.router.route(TicketDraft(body=body))
    with writing(console.decisions._engine) as connection:
        connection.execute(text("update routing_history set review_wanted = true"))
    return [row.ticket_id for row in console.outcomes.queue()]


def label(console: Engine, ticket_id: str, department: str) -> None:
    console.router.review(Outcome(ticket_id=ticket_id, department=department, labelled_by="sam"), learn=False)


def save(page: AppTest) -> AppTest:
    return next(button for button in page.button if button.label == "Save the label").click().run()


@pytest.mark.parametrize("moved", ["the ticket before was labelled", "another was overruled"])
def test_a_label_is_of_the_ticket_that_was_shown_wherever_the_queue_has_moved(
    opened: Callable[[str], AppTest], console: Engine, moved: str
) -> None:
    ids = waiting(console)
    page = opened("review")
    assert page.selectbox(key="review_ticket").value == ids[0]
    mine = ids[2]
    page.selectbox(key="review_ticket").set_value(mine).run()
    page.selectbox(key=f"actual_{mine}").set_value("Sales")
    page.text_input(key=f"note_{mine}").set_value("rang twice")
    if moved == "another was overruled":
        console.router.overrule(Overrule(ticket_id=ids[4], department="Complaints", by="ann"))
    else:
        label(console, ids[0], "Complaints")
    save(page)
    assert not page.exception and not page.error
    rows = {row.ticket_id: row for row in console.decisions.rows(ids)}
    assert (rows[mine].actual_outcome, rows[mine].reviewed_by) == ("Sales", "sue")
    assert {row.ticket_id for row in rows.values() if row.reviewed_by == "sue"} == {mine}
    assert page.selectbox(key="review_ticket").value == console.outcomes.queue()[0].ticket_id, "the box names the ticket that is shown"


def test_a_ticket_that_somebody_else_has_labelled_meanwhile_stays_and_is_replaced_only_when_that_was_seen(
    opened: Callable[[str], AppTest], console: Engine
) -> None:
    mine = waiting(console)[0]
    page = opened("review")
    page.selectbox(key=f"actual_{mine}").set_value("Sales")
    page.text_input(key=f"note_{mine}").set_value("rang twice")
    label(console, mine, "Complaints")
    save(page)
    assert "sam labelled it as Complaints meanwhile. Save again to replace that label." in said(page)
    assert console.decisions.rows([mine])[0].actual_outcome == "Complaints"
    assert page.selectbox(key="review_ticket").value == mine
    assert (page.selectbox(key=f"actual_{mine}").value, page.text_input(key=f"note_{mine}").value) == ("Sales", "rang twice")
    save(page)
    row = console.decisions.rows([mine])[0]
    assert (row.actual_outcome, row.reviewed_by) == ("Sales", "sue")
    assert page.selectbox(key="review_ticket").value != mine


def test_a_refused_label_of_the_last_ticket_that_waited_stays_on_an_empty_queue_until_it_is_saved(
    opened: Callable[[str], AppTest], console: Engine
) -> None:
    ids = waiting(console)
    for done in ids[1:]:
        label(console, done, "Complaints")
    page = opened("review")
    page.selectbox(key=f"actual_{ids[0]}").set_value("Sales")
    page.text_input(key=f"note_{ids[0]}").set_value("rang twice")
    label(console, ids[0], "Complaints")
    save(page)
    for _ in range(2):
        assert "sam labelled it as Complaints meanwhile." in said(page)
        assert page.text_input(key=f"note_{ids[0]}").value == "rang twice"
        page.run()
    save(page)
    assert (console.decisions.rows(ids[:1])[0].actual_outcome, page.error.values) == ("Sales", [])
    assert "Nothing waits for a label here." in said(page)


def test_a_label_that_a_silent_database_refused_is_still_there_with_its_ticket_and_can_be_saved_again(
    opened: Callable[[str], AppTest], console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = waiting(console)[0]
    page = opened("review")
    page.selectbox(key=f"actual_{mine}").set_value("Sales")
    page.text_input(key=f"note_{mine}").set_value("rang twice")
    gone = connect("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    with monkeypatch.context() as away:
        away.setattr(console.outcomes, "_engine", gone)
        save(page)
        assert not page.exception
        assert "cannot be read at the moment" in said(page) and "The label was not stored; what you entered is still here." in said(page)
        assert (page.selectbox(key=f"actual_{mine}").value, page.text_input(key=f"note_{mine}").value) == ("Sales", "rang twice")
    gone.dispose()
    save(page)
    assert (console.decisions.rows([mine])[0].actual_outcome, page.error.values) == ("Sales", [])


def test_the_agents_reason_is_shown_and_a_part_of_the_queue_says_how_many_are_in_it(opened: Callable[[str], AppTest], console: Engine) -> None:
    ids = waiting(console)
    went = {row.ticket_id: row.department for row in console.outcomes.queue()}
    console.router.overrule(Overrule(ticket_id=ids[3], department="Complaints", by="ann", reason="*rude* to me"))
    page = opened("review")
    assert page.selectbox(key="review_ticket").value == ids[3]
    assert "The agent's reason: *rude* to me" in said(page)
    assert f"{len(ids)} tickets waiting" in said(page)
    page.selectbox(key="review_department").set_value(went[ids[0]]).run()
    own = [id_ for id_, name in went.items() if name == went[ids[0]]]
    assert f"{len(own)} ticket{'s' if len(own) > 1 else ''} waiting" in said(page)
    assert page.selectbox(key="review_ticket").value in own
    with writing(console.decisions._engine) as connection:
        connection.execute(text("update routing_history set department = 'Retired long ago' where ticket_id = :id"), {"id": ids[1]})
    page.run()
    page.selectbox(key="review_department").set_value("Retired long ago").run()
    assert page.selectbox(key="review_ticket").value == ids[1]


def test_a_confidence_stands_beside_the_department_that_was_decided(opened: Callable[[str], AppTest], console: Engine) -> None:
    decision = console.router.route(TicketDraft(body=TEXT, created_by="sue"))
    table = next(frame.value for frame in opened("submit").dataframe if "Confidence" in frame.value)
    assert "Sent on to" not in table
    console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="sue"))
    table = next(frame.value for frame in opened("submit").dataframe if "Confidence" in frame.value)
    assert (table["Department"][0], table["Sent on to"][0]) == (decision.department, "Complaints")
    columns = list(table.columns)
    assert columns.index("Confidence") == columns.index("Department") + 1
    # Long words before it would push the decision out of a narrow screen.
    assert columns[:2] == ["Time (UTC)", "Department"] and columns[-1] == "Text"


def labelling(opened: Callable[[str], AppTest], ticket_id: str) -> AppTest:
    page = opened("review")
    return page.text_input(key="looked_up").set_value(ticket_id).run()


def test_a_withdrawn_overrule_does_not_become_the_label(opened: Callable[[str], AppTest], console: Engine) -> None:
    decision = console.router.route(TicketDraft(body=TEXT))
    console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="ann"))
    page = labelling(opened, decision.ticket_id)
    assert page.selectbox(key=f"actual_{decision.ticket_id}").value == "Complaints"
    console.router.overrule(Overrule(ticket_id=decision.ticket_id, department=decision.department, by="ann"))
    save(page)
    assert console.decisions.rows([decision.ticket_id])[0].actual_outcome is None
    assert f"An agent has chosen {decision.department} for it meanwhile. Save again if Complaints is right." in said(page)
    assert "The agent confirmed that." in said(page) and "An agent has chosen since you opened this." in said(page)
    page.selectbox(key=f"actual_{decision.ticket_id}").set_value(decision.department)
    save(page)
    assert console.decisions.rows([decision.ticket_id])[0].actual_outcome == decision.department


def test_what_a_supervisor_has_set_stays_when_an_agent_chooses_meanwhile(opened: Callable[[str], AppTest], console: Engine) -> None:
    decision = console.router.route(TicketDraft(body=TEXT))
    page = labelling(opened, decision.ticket_id)
    page.selectbox(key=f"actual_{decision.ticket_id}").set_value("Sales")
    console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="ann"))
    save(page)
    assert "An agent has chosen Complaints for it meanwhile. Save again if Sales is right." in said(page)
    assert page.selectbox(key=f"actual_{decision.ticket_id}").value == "Sales" and "The agent sent it to Complaints" in said(page)


def test_an_agents_choice_never_becomes_the_label_by_saving_again(opened: Callable[[str], AppTest], console: Engine) -> None:
    decision = console.router.route(TicketDraft(body=TEXT))
    page = labelling(opened, decision.ticket_id)
    assert page.selectbox(key=f"actual_{decision.ticket_id}").value == decision.department and "since you opened" not in said(page)
    console.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="ann"))
    save(save(page))
    assert console.decisions.rows([decision.ticket_id])[0].actual_outcome == decision.department


@pytest.mark.parametrize(("who", "told"), [("no supervisor", "not open to your role, agent"), ("nobody", "Your session has ended.")])
def test_who_is_no_supervisor_any_more_labels_nothing_with_a_page_that_is_still_open(
    opened: Callable[[str], AppTest], console: Engine, who: str, told: str
) -> None:
    ticket_id = console.router.route(TicketDraft(body=TEXT)).ticket_id
    page = labelling(opened, ticket_id)
    if who == "nobody":
        console.accounts.disable("sue", by="test")
    else:
        console.accounts.set_role("sue", "agent", by="test")
    save(page)
    assert console.decisions.rows([ticket_id])[0].actual_outcome is None
    assert not page.exception and told in said(page)
