"""What an open page does when its session ends or its role changes: it loads again by itself. In a real browser."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from db.session import connect
from engine.domain import TicketDraft
from tests.browser.conftest import settled
from tests.serving import Served
from tests.signin import sign_in

pytestmark = pytest.mark.browser
SERVED_WITH = {"session_idle_seconds": 3600}


@pytest.fixture
def manager(served: Served, chromium: Browser) -> Iterator[Page]:
    """The dashboard, open on a manager's screen with a filter in its address."""
    served.engine.router.route(TicketDraft(body="where is my parcel"))
    context = chromium.new_context(viewport={"width": 1280, "height": 2000})
    page = context.new_page()
    sign_in(page, served.url, "manager", served.words["manager"])
    page.goto(f"{served.url}/dashboard?span=Last+7+days&demo=false")
    settled(page)
    expect(page.locator("[data-testid=stMetricValue]").first).to_be_visible()
    yield page
    context.close()


def test_a_screen_left_alone_too_long_says_so_and_shows_no_old_figure(served: Served, manager: Page) -> None:
    pool = connect(served.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(
            text("update sessions set seen_at = :then where user_id = (select id from users where name = 'manager')"),
            {"then": datetime.now(UTC) - timedelta(hours=1)},
        )
    pool.dispose()
    # Nobody touches it: the next refresh finds out.
    expect(manager.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(manager.get_by_text("You were signed out after 1 hour without use. Sign in again to go on.").first).to_be_visible()
    assert manager.locator("[data-testid=stMetricValue]").count() == 0
    manager.fill("#name", "manager")
    manager.fill("#password", served.words["manager"])
    manager.click("button[type=submit]")
    settled(manager)
    expect(manager).to_have_url(re.compile(r"/dashboard\?.*span=Last\+7\+days"))
    expect(manager.locator("[data-testid=stMetricValue]").first).to_be_visible()


def test_a_manager_who_becomes_an_agent_loses_the_figures_without_a_click(served: Served, manager: Page) -> None:
    served.engine.accounts.set_role("manager", "agent", by="test")
    try:
        expect(manager.get_by_text("manager (agent)").first).to_be_visible()
        settled(manager)
        expect(manager.locator("[data-testid=stMetricValue]")).to_have_count(0)
        expect(manager.get_by_role("link", name="Dashboard")).to_have_count(0)
    finally:
        served.engine.accounts.set_role("manager", "manager", by="test")


BODY, REFERENCE = "you took the money twice\nfor my october bill, ünder order 77-1", "C-1001"


@pytest.fixture
def agents(served: Served, chromium: Browser) -> Iterator[Page]:
    """Submit, open in an agent's only tab."""
    context = chromium.new_context(viewport={"width": 1280, "height": 2000})
    page = context.new_page()
    sign_in(page, served.url, "agent", served.words["agent"])
    settled(page)
    yield page
    context.close()


def end_sessions(served: Served, name: str) -> None:
    served.engine.sessions.end_all(served.engine.accounts.named(name).id)


def come_back(page: Page, served: Served, name: str) -> None:
    page.fill("#name", name)
    page.fill("#password", served.words[name])
    page.click("button[type=submit]")
    settled(page)


def kept(page: Page) -> str:
    """Everything that the browser keeps for the console's pages."""
    return str(page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])"))


def sealed(page: Page) -> str | None:
    """What is kept of what is typed."""
    found: str | None = page.evaluate("sessionStorage.getItem('console-typed')")
    return found


def wait_until(page: Page, said: Callable[[], bool]) -> None:
    """Wait up to ten seconds; the page's policy lets no test wait in the page itself."""
    for _ in range(100):
        if said():
            return
        page.wait_for_timeout(100)
    assert said()


def test_a_ticket_that_was_typed_when_the_session_ended_is_there_again_for_who_typed_it(served: Served, agents: Page) -> None:
    agents.get_by_label("Customer reference").fill(REFERENCE)
    agents.get_by_label("What did the customer say?").fill(BODY)
    end_sessions(served, "agent")
    agents.keyboard.press("Control+Enter")
    expect(agents.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "console-typed" in kept(agents) and not any(word in kept(agents) for word in ("october", "C-1001", "subject"))
    come_back(agents, served, "agent")
    expect(agents.get_by_label("What did the customer say?")).to_have_value(BODY)
    expect(agents.get_by_label("Customer reference")).to_have_value(REFERENCE)
    agents.get_by_role("button", name="Route it").click()
    expect(agents.get_by_label("What did the customer say?")).to_have_value("")
    settled(agents)
    assert served.engine.decisions.latest(limit=1)[0].body == BODY
    assert "console-typed" not in kept(agents), "nothing is typed that is not sent"


def test_what_a_run_has_taken_does_not_come_back_while_it_goes_on_and_the_next_text_does(served: Served, agents: Page) -> None:
    field = agents.get_by_label("What did the customer say?")
    field.fill(BODY)
    settled(agents)
    wait_until(agents, lambda: sealed(agents) is not None)
    sent = sealed(agents)
    # As the browser shows it while a ticket is on its way: the form is empty.
    agents.evaluate("document.querySelector('[data-testid=stApp]').dataset.testScriptState = 'running'")
    field.fill("")
    wait_until(agents, lambda: sealed(agents) is None)
    field.fill("the next one")
    wait_until(agents, lambda: sealed(agents) not in (None, sent))
    agents.reload()
    expect(field).to_have_value("the next one")


def test_a_text_that_is_looked_at_again_while_it_is_being_sealed_is_kept(served: Served, agents: Page) -> None:
    agents.evaluate("""() => {
        const field = document.querySelector('.st-key-body textarea');
        Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(field, 'pasted at once');
        for (let time = 0; time < 2; time += 1) field.dispatchEvent(new Event('input', {bubbles: true}));
    }""")
    wait_until(agents, lambda: sealed(agents) is not None)


def test_whoever_signs_in_next_in_the_same_tab_gets_nothing_of_it(served: Served, agents: Page) -> None:
    agents.get_by_label("What did the customer say?").fill(BODY)
    end_sessions(served, "agent")
    agents.keyboard.press("Control+Enter")
    expect(agents.get_by_role("heading", name="Sign in")).to_be_visible()
    come_back(agents, served, "supervisor")
    expect(agents.get_by_text("supervisor (supervisor)").first).to_be_visible()
    settled(agents)
    assert agents.get_by_label("What did the customer say?").input_value() == ""
    assert "console-typed" not in kept(agents)


def test_who_signs_out_leaves_nothing_of_it(served: Served, agents: Page) -> None:
    agents.get_by_label("What did the customer say?").fill(BODY)
    settled(agents)
    assert "console-typed" in kept(agents)
    agents.get_by_role("link", name="Sign out").click()
    agents.wait_for_url(re.compile("/auth/"))
    assert "console-typed" not in kept(agents)


def test_a_note_is_there_again_with_its_ticket(served: Served, chromium: Browser) -> None:
    asked = served.engine.router.route(TicketDraft(body="my parcel came with a hole in it"))
    pool = connect(served.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = ticket_id = :id, overruled_to = null"), {"id": asked.ticket_id})
    context = chromium.new_context(viewport={"width": 1280, "height": 2000})
    page = context.new_page()
    sign_in(page, served.url, "supervisor", served.words["supervisor"])
    page.goto(f"{served.url}/review")
    settled(page)
    page.get_by_label("Note (optional)").first.fill("rang twice")
    end_sessions(served, "supervisor")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    come_back(page, served, "supervisor")
    expect(page.get_by_label("Note (optional)").first).to_have_value("rang twice")
    settled(page)
    # Nothing else waits: no field is left in its place.
    page.get_by_role("button", name="Save the label").click()
    expect(page.get_by_label("Note (optional)")).to_have_count(0)
    settled(page)
    with pool.connect() as connection:
        assert connection.execute(text("select note from outcomes order by id desc limit 1")).scalar_one() == "rang twice"
    pool.dispose()
    wait_until(page, lambda: sealed(page) is None)
    context.close()


def test_a_text_longer_than_a_page_may_send_is_told_and_the_rest_stays(served: Served, agents: Page) -> None:
    agents.get_by_label("Customer reference").fill(REFERENCE)
    agents.evaluate("""() => {
        const field = document.querySelector('.st-key-body textarea');
        field.focus();
        Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(field, 'x'.repeat(8400000));
        field.dispatchEvent(new Event('input', {bubbles: true}));
    }""")
    agents.keyboard.press("Control+Enter")
    expect(agents.get_by_text("Too long, so not taken")).to_be_visible()
    expect(agents.get_by_label("Customer reference")).to_have_value(REFERENCE)
    settled(agents)
    assert agents.get_by_label("What did the customer say?").input_value() == "" and "told" not in agents.url
