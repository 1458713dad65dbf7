"""A dashboard that is open when the first real ticket comes, as on a wall. In a real browser."""
from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from engine.domain import Origin, TicketDraft
from tests.browser.conftest import settled
from tests.serving import Served

pytestmark = pytest.mark.browser


def test_an_open_dashboard_leaves_the_demo_out_when_the_first_real_ticket_comes(served: Served, admin: Page) -> None:
    for body in ("my parcel is lost", "my card was stolen"):
        served.engine.router.route(TicketDraft(body=body, origin=Origin.DEMO))
    admin.goto(f"{served.url}/dashboard")
    switch, tickets, csv = admin.get_by_role("switch", name="Demo tickets"), admin.get_by_test_id("stMetricValue").first, admin.locator(".st-key-csv a")
    expect(tickets).to_have_text("2")
    expect(switch).to_be_checked()
    served.engine.router.route(TicketDraft(body="where is my parcel"))
    expect(switch).not_to_be_checked()
    expect(tickets).to_have_text("1")
    settled(admin)
    assert "demo" not in admin.url and "demo=false" in (csv.get_attribute("href") or "")
    admin.locator(".st-key-demo label").click()
    expect(tickets).to_have_text("3")
    # Several refreshes later it is as somebody wanted it.
    admin.wait_for_timeout(11_000)
    expect(switch).to_be_checked()
    assert admin.url.endswith("demo=true")
