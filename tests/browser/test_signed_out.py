"""What an open page does when its session ends or its role changes: it loads again by itself. In a real browser."""
from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from db.session import connect
from engine.domain import TicketDraft
from tests.browser.conftest import heard, settled
from tests.serving import Served
from tests.signin import sign_in

pytestmark = pytest.mark.browser
SERVED_WITH = {"session_idle_seconds": 3600}


@pytest.fixture
def manager(served: Served, chromium: Browser) -> Iterator[Page]:
    """The dashboard, open on a manager's screen with a filter in its address."""
    served.engine.router.route(TicketDraft(body="where is my parcel"))
    context = heard(chromium.new_context(viewport={"width": 1280, "height": 2000}))
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


def test_a_text_longer_than_a_page_may_send_is_told(served: Served, chromium: Browser) -> None:
    context = heard(chromium.new_context(viewport={"width": 1280, "height": 2000}))
    page = context.new_page()
    sign_in(page, served.url, "agent", served.words["agent"])
    settled(page)
    page.evaluate("""() => {
        const field = document.querySelector('.st-key-body textarea');
        field.focus();
        Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(field, 'x'.repeat(8400000));
        field.dispatchEvent(new Event('input', {bubbles: true}));
    }""")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Too long, so not taken")).to_be_visible()
    settled(page)
    assert page.get_by_label("What did the customer say?").input_value() == "" and "told" not in page.url
    context.close()
