"""A file on the Submit page whose import is broken off by a click, by a lost database, or by the same file in another tab."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx
from streamlit.testing.v1 import AppTest

from engine import imports, process
from engine.access import Role
from engine.bootstrap import Engine
from engine.errors import ServiceUnavailable
from pages.parts import words
from tests.pages.opening import opening, said

THINGS = ("parcel", "invoice", "password", "refund", "card", "contract", "account", "address", "bill", "order")
FILE = "body\n" + "".join(f"where is my {thing} please\n" for thing in THINGS)


@pytest.fixture
def page(build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page of an agent who may import ten tickets an hour, in batches of two."""
    console = build(settings={"rate_import_per_hour": len(THINGS)})
    monkeypatch.setattr(imports, "BATCH", 2)
    return opening(console, monkeypatch, Role.AGENT, name="ann")("submit")


def choose(page: AppTest, content: str = FILE) -> AppTest:
    return page.file_uploader[0].upload("tickets.csv", content.encode(), "text/csv").run()


def answered(page: AppTest) -> list[str]:
    """The texts of the table of answers."""
    return list(next(frame.value for frame in page.dataframe if "Next step" in frame.value)["Text"])


def before_batch(monkeypatch: pytest.MonkeyPatch, number: int, happens: Callable[[], object]) -> None:
    """Let something happen just before the batch of that number is routed."""
    router = process.running().router
    calls, routed = [], type(router).route_tickets

    def route_tickets(self: object, *given: object, **more: object) -> object:
        calls.append(1)
        if self is router and len(calls) == number:
            happens()
        return routed(self, *given, **more)

    monkeypatch.setattr(type(router), "route_tickets", route_tickets)


def click(key: str = "", page: AppTest | None = None) -> None:
    """What the server does when the browser reports a click elsewhere, or on the page's button `key`, while the page's script runs."""
    requests = get_script_run_ctx().script_requests
    states = WidgetStates()
    states.widgets.extend(state for state in requests._rerun_data.widget_states.widgets if state.WhichOneof("value") != "trigger_value")
    if page is not None:
        states.widgets.add(id=page.button(key=key).id, trigger_value=True)
    requests.request_rerun(RerunData(widget_states=states))


def test_a_click_during_an_import_ends_it_and_the_page_says_how_far_it_came_and_goes_on(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(page, "body\nthe money was taken twice\n").button(key="import").click().run()
    assert "1 ticket routed and stored" in said(page)
    before_batch(monkeypatch, 2, click)
    process.running().limits.take("import", "ann", amount=-1)
    choose(page).button(key="import").click().run()
    assert not page.exception
    assert "The import was broken off: 4 of 10 tickets are stored." in said(page)
    assert "routed and stored" not in said(page), "what an earlier file came to is not said any more"
    page.button(key="import").click().run()
    assert "6 tickets routed and stored. 4 were stored by an earlier run" in said(page)
    assert "broken off" not in said(page)
    assert answered(page) == [f"where is my {thing} please" for thing in THINGS], "the answers are the whole file's, in its order"
    asking = [row.ticket_id for row in process.running().decisions.latest(limit=10) if row.automation != "auto"]
    assert asking and f"To be confirmed or chosen for when they were routed: {words.count(len(asking), 'ticket')}." in said(page)
    assert not page.error, "the limit counts every ticket once"
    stored = [row.body for row in process.running().decisions.latest(limit=50)]
    assert len(stored) == len(set(stored)) == 11


def test_a_click_when_the_last_ticket_is_stored_breaks_nothing_off(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    # Between the last batch and the end there is no line at which it could end the run.
    before_batch(monkeypatch, 5, click)
    choose(page).button(key="import").click().run()
    assert "10 tickets routed and stored" in said(page) and "broken off" not in said(page)
    assert len(answered(page)) == 10


def test_answers_stay_with_their_files_name_until_another_file_is_routed(page: AppTest) -> None:
    choose(page).button(key="import").click().run()
    page.file_uploader[0].upload("others.csv", b"body\nthe money was taken twice\n", "text/csv").run()
    assert f"{words.plain('tickets.csv')}: 10 tickets routed and stored." in said(page)
    assert len(answered(page)) == 10
    process.running().limits.take("import", "ann", amount=-1)
    page.button(key="import").click().run()
    assert words.plain("others.csv") in said(page) and words.plain("tickets.csv") not in said(page)
    assert answered(page) == ["the money was taken twice"]
    page.button(key="put_away").click().run()
    assert "routed and stored" not in said(page) and "broken off" not in said(page)
    assert process.running().decisions.latest(limit=1)[0].body == "the money was taken twice", "the tickets stay stored"


def test_a_file_that_is_stored_already_gives_its_answers_again(page: AppTest) -> None:
    choose(page).button(key="import").click().run()
    first = answered(page)
    choose(page).button(key="import").click().run()
    assert "0 tickets routed and stored. 10 were stored by an earlier run" in said(page)
    assert answered(page) == first


def test_a_lost_database_ends_it_and_the_page_says_how_far_it_came(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise ServiceUnavailable("database", "the connection was lost")

    before_batch(monkeypatch, 4, gone)
    choose(page).button(key="import").click().run()
    assert "The import stopped." in said(page)
    assert "6 of 10 tickets are stored" in said(page)
    page.button(key="import").click().run()
    assert "4 tickets routed and stored. 6 were stored by an earlier run" in said(page)


def test_the_same_file_from_two_tabs_is_stored_once_and_both_are_told_so(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    console = process.running()

    def other_tab() -> None:
        assert process._running._users[id(console)] == 1, "a change of the embedder must not close the engine now"
        file = imports.read(FILE.encode(), name="tickets.csv", router=console.router, created_by="ann")
        later = imports.ImportFile(name=file.name, tickets=file.tickets[3:7])
        assert len(imports.run(later, router=console.router, store=console.decisions).decisions) == 4

    before_batch(monkeypatch, 2, other_tab)
    choose(page).button(key="import").click().run()
    assert not page.exception
    assert not page.error
    assert "6 tickets routed and stored. 4 were stored by an earlier run" in said(page)
    stored = [row.body for row in console.decisions.latest(limit=50)]
    assert len(stored) == len(set(stored)) == 10


def test_an_id_that_another_ticket_takes_meanwhile_is_named_and_so_is_what_was_stored(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = process.running()
    content = "ticket_id,body\n" + "".join(f"A-{number},where is my {thing} please\n" for number, thing in enumerate(THINGS))

    def somebody_else() -> None:
        other = imports.read(b"ticket_id,body\nA-5,a quite different text\n", name="other.csv", router=console.router)
        imports.run(other, router=console.router, store=console.decisions)

    before_batch(monkeypatch, 3, somebody_else)
    choose(page, content).button(key="import").click().run()
    assert "A-5 belongs to another ticket that is stored already. 4 tickets of the file are stored" in said(page)
    assert "4 of 10 tickets are stored" in said(page)
    assert "not imported" not in said(page)
    assert "Nothing was stored" not in said(page)


def test_columns_that_nobody_reads_are_named_above_the_button(page: AppTest) -> None:
    names = ["custmer_ref", "*bold*", "![x](http://elsewhere/x.png)", *(f"more {number}" for number in range(7))]
    choose(page, f"body,{','.join(names)}\nwhere is my parcel please{',x' * len(names)}\n")
    found = next(info.value for info in page.info if "no field has this name" in info.value)
    assert r"custmer\_ref, \*bold\*, \!\[x\]\(http" in found and "and 2 more" in found
    assert page.button(key="import")
    choose(page)
    assert not [info for info in page.info if "no field has this name" in info.value]


def test_a_file_of_more_tickets_than_an_hour_takes_is_refused_as_a_whole(page: AppTest) -> None:
    choose(page, FILE + "where is my other thing\n").button(key="import").click().run(timeout=60)
    assert any("at most 10 tickets; found more. Split the file. Nothing was stored." in text.value for text in page.text)
    assert process.running().decisions.latest() == []
