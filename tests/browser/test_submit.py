"""The Submit page as agents use it, one ticket after the other. In a real browser."""
from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from db.session import connect
from engine.domain import Thresholds
from tests.browser.conftest import settled
from tests.serving import Served

pytestmark = pytest.mark.browser

BILL, PARCEL = "you took the money twice for my october bill", "my parcel was left at a neighbour whom nobody here knows"


def go(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/submit")
    settled(page)


def bodies(served: Served) -> list[str]:
    return [row.body for row in served.engine.decisions.latest(limit=100)]


def test_the_form_is_empty_after_a_ticket_and_the_card_shows_its_text(served: Served, admin: Page) -> None:
    go(admin, served)
    admin.locator(".st-key-subject input").fill("Bill")
    admin.locator(".st-key-customer_ref input").fill("C-7")
    admin.locator(".st-key-body textarea").fill(BILL)
    admin.locator(".st-key-route button").click()
    expect(admin.locator(".st-key-decision")).to_contain_text(BILL)
    settled(admin)
    for field in (".st-key-subject input", ".st-key-customer_ref input", ".st-key-body textarea"):
        expect(admin.locator(field)).to_have_value("")
    row = served.engine.decisions.latest(limit=1)[0]
    assert (row.subject, row.body, row.customer_ref) == ("Bill", BILL, "C-7")


def test_three_times_the_keys_make_one_ticket_and_the_next_one_can_be_typed_at_once(served: Served, admin: Page) -> None:
    go(admin, served)
    before = len(bodies(served))
    field = admin.locator(".st-key-body textarea")
    field.fill(PARCEL)
    for _ in range(3):
        admin.keyboard.press("Control+Enter")
    expect(admin.locator(".st-key-decision")).to_contain_text(PARCEL)
    settled(admin)
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    admin.keyboard.type("where is my refund")
    admin.keyboard.press("Control+Enter")
    expect(admin.locator(".st-key-decision")).to_contain_text("where is my refund")
    settled(admin)
    assert bodies(served)[: len(bodies(served)) - before] == ["where is my refund", PARCEL]


def test_who_types_on_before_the_form_is_empty_does_not_send_two_customers_words_as_one_ticket(served: Served, admin: Page) -> None:
    go(admin, served)
    before, field = len(bodies(served)), admin.locator(".st-key-body textarea")
    pool = connect(served.settings.postgres_url)
    with pool.begin() as connection:
        # Who is here is asked in it, so that the form is not empty before the next words are there.
        connection.execute(text("lock table sessions in access exclusive mode"))
        field.fill("my parcel was left in the rain")
        admin.keyboard.press("Control+Enter")
        admin.keyboard.type("who pays for it")
        admin.wait_for_timeout(300)
    pool.dispose()
    expect(admin.locator(".st-key-decision")).to_contain_text("my parcel was left in the rain")
    settled(admin)
    expect(field).to_have_value("my parcel was left in the rainwho pays for it")
    admin.keyboard.press("Control+Enter")
    expect(admin.locator(".st-key-answer").get_by_text("Not sent yet")).to_be_visible()
    admin.locator(".st-key-take_out button").click()
    expect(field).to_have_value("who pays for it")
    field.focus()
    admin.keyboard.press("Control+Enter")
    expect(admin.locator(".st-key-decision")).to_contain_text("who pays for it")
    settled(admin)
    assert bodies(served)[: len(bodies(served)) - before] == ["who pays for it", "my parcel was left in the rain"]


def test_while_a_ticket_is_on_its_way_no_other_answer_is_there_and_the_next_one_can_be_typed(served: Served, admin: Page) -> None:
    go(admin, served)
    admin.locator(".st-key-body textarea").fill(BILL)
    admin.keyboard.press("Control+Enter")
    expect(admin.get_by_text("Nearest labelled tickets").first).to_be_visible()
    settled(admin)
    pool = connect(served.settings.postgres_url)
    with pool.begin() as connection:
        # The store waits for it, for a second at most before the ticket is kept on disk.
        connection.execute(text("lock table tickets in exclusive mode"))
        admin.locator(".st-key-body textarea").fill("where is my parcel, it is late")
        admin.keyboard.press("Control+Enter")
        # All in one look: "Routing…" itself is there for half of that second.
        admin.wait_for_function("""() => {
            const shown = document.querySelector("[data-testid=stMain]").innerText;
            return shown.includes("Routing…") && !shown.includes("Nearest labelled tickets") && document.querySelector(".st-key-decision") === null;
        }""")
        admin.keyboard.type("the next one")
    pool.dispose()
    expect(admin.locator(".st-key-decision, .st-key-spooled")).to_contain_text("where is my parcel, it is late")
    settled(admin)
    expect(admin.locator(".st-key-body textarea")).to_have_value("the next one")


@pytest.mark.parametrize("pressed", [100, 0])
def test_half_typed_text_is_still_there_after_a_look_at_another_page(served: Served, admin: Page, pressed: int) -> None:
    """Pressed as people do, for a tenth of a second, and without any time at all, as on a touchpad: then the browser may tell of the
    text after the click, which leads back to this page."""
    go(admin, served)
    admin.locator(".st-key-subject input").fill("Half")
    admin.locator(".st-key-body textarea").fill("he said that")
    for name in ("Review", "Account"):
        admin.get_by_role("link", name=name).click(delay=pressed)
        if pressed:
            expect(admin.locator(".st-key-body textarea")).to_have_count(0)
        admin.wait_for_timeout(1000)
        settled(admin)
        admin.get_by_role("link", name="Submit").click(delay=pressed)
        expect(admin.locator(".st-key-body textarea")).to_have_value("he said that")
        expect(admin.locator(".st-key-subject input")).to_have_value("Half")
        settled(admin)


def test_a_reason_typed_for_one_ticket_does_not_go_with_the_next(served: Served, admin: Page) -> None:
    go(admin, served)
    for text in (PARCEL, BILL):
        admin.locator(".st-key-body textarea").fill(text)
        admin.locator(".st-key-route button").click()
        expect(admin.locator(".st-key-decision")).to_contain_text(text)
        settled(admin)
        admin.get_by_role("button", name="Another department").click()
        reason = admin.locator("[class*=st-key-overrule_reason_] input")
        expect(reason).to_have_value("")
        expect(admin.locator("[class*=st-key-overrule_send_] button")).to_be_disabled()
        reason.fill("rang twice")
        admin.keyboard.press("Enter")
        settled(admin)
        admin.locator("[class*=st-key-overrule_department_]").get_by_role("combobox").click()
        admin.get_by_role("option").first.click()
        expect(admin.locator("[class*=st-key-overrule_send_] button")).to_be_enabled()
        settled(admin)
        admin.keyboard.press("Escape")


def test_a_decision_is_confirmed_with_the_keys_and_an_earlier_ticket_from_the_table(served: Served, admin: Page) -> None:
    live = served.engine.policies.live()
    asking = replace(live, thresholds=Thresholds(auto=1.0, preselect=0.0))
    served.until_policy(served.engine.policies.add(asking, author="test", reason="ask for each").number)
    try:
        go(admin, served)
        for text_ in (PARCEL, "i forgot my password"):
            admin.locator(".st-key-body textarea").fill(text_)
            admin.keyboard.press("Control+Enter")
            expect(admin.locator(".st-key-decision")).to_contain_text(text_)
            expect(admin.locator(".st-key-decision")).to_contain_text("Please confirm", timeout=30_000)
            settled(admin)
        admin.keyboard.press("Control+Shift+Enter")
        expect(admin.get_by_text("You confirmed").first).to_be_visible()
        settled(admin)
        admin.locator(".st-key-latest_open").get_by_text("Only those that wait").click()
        settled(admin)
        # The first line below the titles: what was just confirmed waits no longer.
        table, line = admin.locator(".st-key-latest [data-testid=stDataFrame]"), {"x": 15, "y": 52}
        table.click(position=line)
        expect(admin.locator(".st-key-decision_opened")).to_contain_text(PARCEL)
        settled(admin)
        admin.locator(".st-key-opened [class*=st-key-confirm_] button").dblclick()
        expect(admin.locator(".st-key-opened").get_by_text("You confirmed").first).to_be_visible()
        settled(admin)
        admin.locator(".st-key-close_opened button").click()
        expect(admin.locator(".st-key-decision_opened")).to_have_count(0)
        settled(admin)
        admin.locator(".st-key-latest_open").get_by_text("Only those that wait").click()
        settled(admin)
        for _ in range(2):
            # The same line again, after it was closed: the mark has gone with the ticket.
            table.click(position=line)
            expect(admin.locator(".st-key-decision_opened")).to_contain_text("i forgot my password")
            expect(admin.locator(".st-key-decision_opened")).to_contain_text("Confirmed")
            settled(admin)
            admin.locator(".st-key-close_opened button").click()
            expect(admin.locator(".st-key-decision_opened")).to_have_count(0)
            settled(admin)
        # By its number it opens as well, and without a mark in the table.
        number = next(row.ticket_id for row in served.engine.decisions.latest(limit=20) if row.body == PARCEL)
        admin.locator("[class*=st-key-open_number_] input").fill(number)
        admin.keyboard.press("Enter")
        expect(admin.locator(".st-key-decision_opened")).to_contain_text(PARCEL)
        settled(admin)
        admin.locator(".st-key-close_opened button").click()
        expect(admin.locator(".st-key-decision_opened")).to_have_count(0)
        # The box is made anew; until the page is drawn the old one stands beside it.
        settled(admin)
        expect(admin.locator("[class*=st-key-open_number_] input")).to_have_value("")
    finally:
        served.until_policy(served.engine.policies.add(live, author="test", reason="as before").number)
    latest = {row.body: row for row in reversed(served.engine.decisions.latest(limit=20))}
    assert [latest[text_].chosen == latest[text_].department for text_ in (PARCEL, "i forgot my password")] == [True, True]
    noted = served.engine.audit.find(limit=10, words=latest[PARCEL].ticket_id)
    assert [row.action for row in noted] == ["ticket_confirmed"], "a double click confirms once"
