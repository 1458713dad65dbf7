"""The dashboard and the alerts page in a real browser."""
from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect
from sqlalchemy import text

from db.services import Services
from db.session import connect
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
    expect(charts).to_have_count(6)
    figures = admin.locator("[data-testid=stMetric]").first
    before = int(figures.locator("[data-testid=stMetricValue]").inner_text().replace(",", ""))
    assert before >= 3
    served.engine.router.route(TicketDraft(body="one more parcel is missing", channel="chat"))
    expect(figures).to_contain_text(str(before + 1))
    for title in ("How tickets were routed", "Time per ticket by method", "Where tickets went", "Accuracy by department"):
        expect(charts.filter(has_text=title).first).to_be_visible()
    with admin.expect_download() as download:
        admin.locator(".st-key-csv a").click()
    assert download.value.suggested_filename == "decisions-1h.csv"
    assert "span=Last+hour" in admin.url and "channel=Chat" in admin.url


def figures(page: Page) -> list[str]:
    """What the cards show, without what moves by itself."""
    settled(page)
    expect(page.locator(".js-plotly-plot")).to_have_count(6)
    return [card.inner_text() for card in page.locator("[data-testid=stMetric]").all()]


def test_filters_set_on_the_page_land_in_its_address_and_a_fresh_page_there_shows_the_same(served: Served, admin: Page) -> None:
    for channel, body in (("phone", "my card does not work"), ("phone", "where is my parcel"), ("email", "I forgot my password")):
        served.engine.router.route(TicketDraft(body=body, channel=channel))
    admin.goto(f"{served.url}/dashboard")
    settled(admin)
    admin.get_by_text("Last 7 days", exact=True).click()
    settled(admin)
    admin.locator(".st-key-channel input").click()
    admin.get_by_role("option", name="Phone").click()
    settled(admin)
    admin.keyboard.press("Escape")
    admin.locator(".st-key-live label").click()
    settled(admin)
    expect(admin.locator("[data-testid=stMetricValue]").first).to_have_text("2")
    address = admin.url
    assert "Last+7+days" in address and "Phone" in address and "live=" in address
    shown = figures(admin)
    fresh = admin.context.new_page()
    fresh.goto(address)
    assert figures(fresh) == shown
    assert fresh.url == address
    # Who looks at another page and comes back finds the same view, here and at its address.
    for name in ("Alerts", "Dashboard"):
        fresh.get_by_role("link", name=name, exact=True).click()
        settled(fresh)
    assert figures(fresh) == shown
    assert parse_qs(urlsplit(fresh.url).query) == parse_qs(urlsplit(address).query)
    # The framework's warning about a control that has a default and is given a value.
    expect(fresh.get_by_text("created with a default value")).to_have_count(0)
    # An address that says something is the whole view.
    fresh.goto(f"{served.url}/dashboard?channel=Email")
    settled(fresh)
    expect(fresh.locator("[data-testid=stMetricValue]").first).to_have_text("1")
    assert parse_qs(urlsplit(fresh.url).query) == {"channel": ["Email"]}
    fresh.close()


def test_back_shows_the_view_that_was_left_in_one_step(served: Served, admin: Page) -> None:
    admin.goto(f"{served.url}/account")
    settled(admin)

    def followed(title: str) -> None:
        admin.locator("[data-testid=stSidebarNavLink]", has_text=title).click()
        expect(admin).to_have_title(f"{title} · Routing console")
        settled(admin)

    followed("Dashboard")
    admin.get_by_text("Last 7 days", exact=True).click()
    admin.wait_for_url("**/dashboard?span=Last+7+days")
    # The address has it at once; who leaves before its run begins leaves a page that never knew of it.
    expect(admin.get_by_text(re.compile("last 7 days")).first).to_be_visible()
    for way in (lambda: followed("Dashboard"), admin.go_back):
        followed("Alerts")
        way()
        admin.wait_for_url("**/dashboard?span=Last+7+days")
        expect(admin.get_by_role("radio", name="Last 7 days")).to_be_checked()
        settled(admin)
    admin.go_back()
    admin.wait_for_url("**/alerts")
    admin.go_back()
    admin.wait_for_url("**/dashboard?span=Last+7+days")
    admin.go_back()
    admin.wait_for_url("**/account")


def test_back_pressed_faster_than_the_pages_come_leads_as_far(served: Served, admin: Page) -> None:
    pages = ["account", "departments", "users", "alerts"]
    page = admin.context.new_page()
    delay, waiting = 0, []

    def late(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            waiting.append(message)
            page.wait_for_timeout(delay)
            # Each in its turn: one that came when nothing was late any more would overtake those before it.
            socket.send(waiting.pop(0))
        server.on_message(pass_on)
    page.route_web_socket("**/_stcore/stream", late)
    page.goto(f"{served.url}/{pages[0]}")
    for name in pages[1:]:
        page.locator(f"[data-testid=stSidebarNavLink][href$={name}]").click()
        page.wait_for_url(f"**/{name}")
        settled(page)
    delay = 400
    for name in reversed(pages[:-1]):
        page.go_back()
        page.wait_for_url(f"**/{name}")
        # Each page's run begins; what it says comes when the next page's address is there.
        page.wait_for_timeout(300)
    delay = 0
    settled(page)
    expect(page).to_have_title("Account · Routing console")
    for name in pages[1:]:
        page.go_forward()
        page.wait_for_url(f"**/{name}")
    settled(page)
    expect(page).to_have_title("Alerts · Routing console")
    page.close()


def test_a_link_keeps_a_filter_that_no_ticket_of_its_time_range_has(served: Served, admin: Page) -> None:
    """A policy that nothing was decided under yet, and a department that nothing goes to any more."""
    served.engine.router.route(TicketDraft(body="where is my parcel"))
    number = served.engine.policies.add(served.engine.policies.live(), author="admin", reason="same again").number
    pool = connect(served.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("insert into departments (name, purpose, triage, live) values ('Old & Gone', '', false, false)"))
    pool.dispose()
    fresh = admin.context.new_page()
    for query in ({"policy": [str(number)]}, {"department": ["Old & Gone"]}, {"policy": ["0"], "department": ["Old & Gone", "Nobody"]}):
        fresh.goto(f"{served.url}/dashboard?{urlencode(query, doseq=True)}")
        settled(fresh)
        expect(fresh.get_by_text("No ticket in this view").first).to_be_visible()
        kept = {key: [value for value in values if value != "Nobody"] for key, values in query.items()}
        assert parse_qs(urlsplit(fresh.url).query) == kept
    fresh.goto(f"{served.url}/dashboard?department=Nobody&policy=12345&policy=x")
    settled(fresh)
    expect(fresh.locator("[data-testid=stMetricValue]").first).not_to_have_text("0")
    fresh.close()


def test_the_csv_holds_what_the_page_shows(served: Served, admin: Page) -> None:
    served.engine.router.route(TicketDraft(body="the shop took my money twice", channel="social"))
    admin.goto(f"{served.url}/dashboard?span=Last+24+hours&live=false")
    tickets, hits, _, alone = (
        admin.locator("[data-testid=stMetric]").nth(number).locator("[data-testid=stMetricValue]") for number in range(4)
    )
    figures(admin)
    with admin.expect_download() as download:
        admin.locator(".st-key-csv a").click()
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8-sig").splitlines()))
    n = sum(int(row["tickets"]) for row in rows)
    assert f"{n:,}" == tickets.inner_text()
    cached = sum(int(row["tickets"]) for row in rows if row["method"] == "cached")
    assert f"{100 * cached / n:.1f}%" == hits.inner_text()
    assert f"{100 * sum(int(row['routed_alone']) for row in rows) / n:.1f}%" == alone.inner_text()
    drawn = admin.evaluate(
        "document.querySelectorAll('.js-plotly-plot')[0].data.reduce((sum, bars) => sum + Array.from(bars.y).reduce((a, b) => a + b, 0), 0)"
    )
    assert drawn == n
    assert {row["method"] for row in rows} <= {"cached", "learned", "rag_llm", "fallback"}


def test_an_open_alert_is_shown_and_acknowledged(served: Served, admin: Page) -> None:
    rule = next(rule for rule in SHIPPED if rule.name == "index_errors")
    # What the console's own look every fifteen seconds finds, so that it does not resolve the alert meanwhile.
    pool = connect(served.settings.postgres_url)
    Services(pool).add({(datetime.now(UTC).replace(second=0, microsecond=0), "index"): (1_000, 500)})
    pool.dispose()
    change = Change(kind="opened", rule=rule, subject="", value=0.5, sample=40)
    served.engine.watch.alert_table.apply([change], now=datetime.now(UTC), channels=())
    admin.goto(f"{served.url}/alerts")
    settled(admin)
    expect(admin.get_by_text("Vector index fails").first).to_be_visible()
    admin.get_by_role("button", name="Acknowledge").first.click()
    expect(admin.get_by_text("seen by admin").first).to_be_visible()


def test_a_manager_changes_a_rule_and_nonsense_is_refused(served: Served, admin: Page) -> None:
    admin.goto(f"{served.url}/alerts")
    settled(admin)
    admin.get_by_role("tab", name="Rules").click()
    admin.locator(".st-key-rule input").click()
    admin.get_by_text("Hit rate low (warning)").click()
    settled(admin)
    admin.get_by_role("spinbutton", name="Opens below").fill("30")
    admin.locator(".st-key-save_rule button").click()
    expect(admin.get_by_text("The rule was not changed.").first).to_be_visible()
    settled(admin)
    admin.get_by_role("spinbutton", name="Resolves at").fill("35")
    admin.locator(".st-key-save_rule button").click()
    expect(admin.get_by_text("The rule is in force from the next look").first).to_be_visible()
    assert next(r for r in served.engine.watch.alerts.rules() if r.name == "hit_rate_warning").threshold == 0.3


def test_what_is_typed_on_submit_filters_nothing_here(served: Served, admin: Page) -> None:
    def by_menu(name: str, shows: str) -> None:
        admin.get_by_role("link", name=name).first.click()
        admin.locator(shows).wait_for()
        settled(admin)

    # There and back, as in a working day.
    for _ in range(2):
        by_menu("Submit", ".st-key-body textarea")
        admin.locator(".st-key-body textarea").fill("my invoice shows a fee that nobody told me about")
        admin.locator(".st-key-route button").click()
        expect(admin.locator(".st-key-decision")).to_contain_text("my invoice shows a fee")
        settled(admin)
        by_menu("Dashboard", ".st-key-channel")
        tickets = admin.locator("[data-testid=stMetricValue]").first
        before = int(tickets.inner_text().replace(",", ""))
        served.engine.router.route(TicketDraft(body="and one more fee that nobody told me about", channel="phone"))
        # The address follows with the next refresh of the figures.
        expect(tickets).to_have_text(f"{before + 1:,}")
        settled(admin)
        assert urlsplit(admin.url).query == ""
