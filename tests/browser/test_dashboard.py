"""The dashboard and the alerts page in a real browser."""
from __future__ import annotations

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from engine.alert_rules import SHIPPED
from engine.alerts import Change
from engine.domain import TicketDraft
from tests.browser.conftest import settled
from tests.serving import Served

pytestmark = pytest.mark.browser


def test_the_address_holds_the_view_and_the_figures_follow_new_tickets(served: Served, admin: Page) -> None:
    for number in range(3):
        served.engine.router.route(TicketDraft(body=f"where is my parcel, order {number}", channel="chat"))
    admin.goto(f"{served.url}/dashboard?span=Last+hour&channel=Chat")
    settled(admin)
    charts = admin.locator(".js-plotly-plot")
    expect(charts).to_have_count(6, timeout=30_000)
    figures = admin.locator("[data-testid=stMetric]").first
    before = int(figures.locator("[data-testid=stMetricValue]").inner_text().replace(",", ""))
    assert before >= 3
    served.engine.router.route(TicketDraft(body="one more parcel is missing", channel="chat"))
    expect(figures).to_contain_text(str(before + 1), timeout=20_000)
    for title in ("How tickets were routed", "Time per ticket by method", "Where tickets went", "Accuracy by department"):
        expect(admin.get_by_text(title)).to_be_visible()
    with admin.expect_download() as download:
        admin.locator(".st-key-csv button").click()
    assert download.value.suggested_filename == "decisions-1h.csv"
    assert "span=Last+hour" in admin.url and "channel=Chat" in admin.url


def test_an_open_alert_is_shown_and_acknowledged(served: Served, admin: Page) -> None:
    rule = next(rule for rule in SHIPPED if rule.name == "index_errors")
    change = Change(kind="opened", rule=rule, subject="", value=0.5, sample=40)
    served.engine.watch.alert_table.apply([change], now=datetime.now(UTC), channels=())
    admin.goto(f"{served.url}/alerts")
    settled(admin)
    expect(admin.get_by_text("Vector index fails").first).to_be_visible()
    admin.get_by_role("button", name="Acknowledge").first.click()
    expect(admin.get_by_text("seen by admin").first).to_be_visible(timeout=15_000)


def test_a_manager_changes_a_rule_and_nonsense_is_refused(served: Served, admin: Page) -> None:
    admin.goto(f"{served.url}/alerts")
    settled(admin)
    admin.get_by_role("tab", name="Rules").click()
    admin.locator(".st-key-rule input").click()
    admin.get_by_text("Hit rate low (warning)").click()
    settled(admin)
    admin.get_by_role("spinbutton", name="Opens below").fill("0.3")
    admin.locator(".st-key-save_rule button").click()
    expect(admin.get_by_text("The rule was not changed.").first).to_be_visible(timeout=15_000)
    admin.get_by_role("spinbutton", name="Resolves at").fill("0.35")
    admin.locator(".st-key-save_rule button").click()
    expect(admin.get_by_text("The rule is in force from the next look")).to_be_visible(timeout=15_000)
    assert next(r for r in served.engine.watch.alerts.rules() if r.name == "hit_rate_warning").threshold == 0.3
