"""The pages for people who work by keyboard, with a screen reader or on a small screen. In a real browser."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from engine.access import Role
from engine.domain import TicketDraft
from tests.browser.conftest import settled
from tests.serving import Served
from tests.signin import sign_in

pytestmark = pytest.mark.browser

FOCUSED = "document.activeElement.closest('[class*=st-key-actual_]')?.className ?? ''"
VISIBLE = "element => { const { top } = element.getBoundingClientRect(); return top >= 0 && top < window.innerHeight - 40; }"


@pytest.fixture
def telephone(served: Served, chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 390, "height": 420})
    page = context.new_page()
    sign_in(page, served.url, "admin", served.words[Role.ADMIN])
    yield page
    context.close()


def opened(page: Page, served: Served, name: str) -> None:
    page.goto(f"{served.url}/{name}")
    settled(page)
    expect(page.locator("#said")).to_have_count(1)


def test_after_a_label_the_keyboard_is_at_the_next_tickets_department(served: Served, admin: Page) -> None:
    for day in range(4):
        served.engine.router.route(TicketDraft(body=f"something odd happened to me on day {day} of my journey"))
    opened(admin, served, "review")
    for _ in range(2):
        before = admin.locator(".st-key-labelled [class*=st-key-actual_]").get_attribute("class")
        admin.locator(".st-key-labelled [class*=st-key-note_] input").fill("as it says")
        admin.keyboard.press("Control+Enter")
        admin.wait_for_function(f"before => {{ const now = {FOCUSED}; return now !== '' && now !== before; }}", arg=before)


def test_after_a_label_by_number_the_keyboard_is_at_the_next_number(served: Served, admin: Page) -> None:
    number = served.engine.router.route(TicketDraft(body="something odd happened to me on the way home")).ticket_id
    opened(admin, served, "review")
    admin.get_by_text("Label a ticket by its number").click()
    field = admin.locator(".st-key-looked_up input")
    field.fill(number)
    field.press("Enter")
    note = admin.locator(f".st-key-labelled_looked_up .st-key-note_{number} input")
    note.fill("as it says")
    note.press("Enter")
    expect(note).to_have_count(0)
    expect(field).to_be_focused()
    assert next(iter(served.engine.decisions.rows([number]))).actual_outcome


def test_the_answer_is_said_and_a_telephone_shows_it(served: Served, telephone: Page) -> None:
    opened(telephone, served, "submit")
    said = telephone.locator("#said[role=status]")
    expect(said).to_be_empty()
    field = telephone.locator(".st-key-body textarea")
    field.fill("my parcel was left in the rain by your driver")
    field.press("Control+Enter")
    expect(telephone.locator(".st-key-decision")).to_be_visible()
    decided = served.engine.decisions.latest(limit=1)[0]
    expect(said).to_contain_text(decided.department)
    expect(said).to_contain_text("%")
    assert "check_circle" not in said.inner_text() and "my parcel" not in said.inner_text()
    telephone.wait_for_function(f"() => ({VISIBLE})(document.querySelector('.st-key-answer'))")
    expect(field).to_be_focused()
    settled(telephone)
    telephone.locator(".st-key-route button").click()
    expect(said).to_have_text("There is no text to route. Type what the customer said.")


def test_an_earlier_answer_is_neither_said_again_nor_scrolled_to_when_the_page_is_opened_again(served: Served, telephone: Page) -> None:
    opened(telephone, served, "submit")
    telephone.locator(".st-key-body textarea").fill("my parcel was left in the rain by your driver again")
    telephone.keyboard.press("Control+Enter")
    said = telephone.locator("#said")
    expect(said).to_contain_text("%")
    for page in ("Account", "Submit"):
        said.evaluate("element => { element.textContent = ''; }")
        # The menu may lie beside the screen.
        telephone.locator("[data-testid=stSidebarNavLink]", has_text=page).dispatch_event("click")
        expect(telephone.locator(".st-key-answer .st-key-decision")).to_have_count(int(page == "Submit"))
        settled(telephone)
    next_frame = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    telephone.evaluate(next_frame)
    telephone.locator(".st-key-body textarea").press_sequentially("my")
    telephone.evaluate(next_frame)
    assert said.inner_text() == ""
    assert telephone.get_by_test_id("stMain").evaluate("element => element.scrollTop") == 0
