"""The pages for people who work by keyboard, with a screen reader or on a small screen. In a real browser."""
from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import text

from db.services import Services
from db.session import connect
from engine.access import Role
from engine.alert_rules import SHIPPED
from engine.alerts import Change
from engine.domain import TicketDraft
from tests.browser.conftest import heard, settled
from tests.overheard import Overheard
from tests.serving import Served
from tests.signin import sign_in

pytestmark = pytest.mark.browser

# Another ticket's department than that of the class `before`.
COME = """before => { const now = document.activeElement.closest("[class*=st-key-actual_]"); return now !== null && !now.classList.contains(before); }"""
VISIBLE = "element => { const { top } = element.getBoundingClientRect(); return top >= 0 && top < window.innerHeight - 40; }"


@pytest.fixture
def telephone(served: Served, chromium: Browser) -> Iterator[Page]:
    context = heard(chromium.new_context(viewport={"width": 390, "height": 420}))
    page = context.new_page()
    sign_in(page, served.url, "admin", served.words[Role.ADMIN])
    yield page
    context.close()


def opened(page: Page, served: Served, name: str) -> None:
    page.goto(f"{served.url}/{name}")
    settled(page)
    expect(page.locator("#said")).to_have_count(1)


def at(page: Page) -> str:
    """The ticket whose form is shown, once no form stands there that is about to go; it has other classes, but the same name."""
    settled(page)
    return page.locator(".st-key-labelled [class*=st-key-actual_]").evaluate("one => one.className.match(/st-key-actual_\\S+/)[0]")


def come_from(page: Page, before: str) -> None:
    """Wait until the keyboard is at another ticket's department."""
    page.wait_for_function(COME, arg=before)


def test_after_a_label_the_keyboard_is_at_the_next_tickets_department(served: Served, admin: Page) -> None:
    for day in range(4):
        served.engine.router.route(TicketDraft(body=f"something odd happened to me on day {day} of my journey"))
    opened(admin, served, "review")
    for _ in range(2):
        before = at(admin)
        admin.locator(".st-key-labelled [class*=st-key-note_] input").fill("as it says")
        admin.keyboard.press("Control+Enter")
        come_from(admin, before)


def test_after_a_label_by_number_the_keyboard_is_at_the_next_number(served: Served, admin: Page) -> None:
    numbers = doubtful(served, "my uncle keeps seven bees in a blue box", "an old clock in the hall has stopped at nine")
    number, field, _ = beside_the_queue(admin, served, numbers)
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


def doubtful(served: Served, *texts: str) -> list[str]:
    """Tickets that wait for a label, whatever earlier labels have taught; their numbers."""
    numbers = [served.engine.router.route(TicketDraft(body=body)).ticket_id for body in texts]
    served.engine.router.settle()
    pool = connect(served.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = true where ticket_id = any(:numbers)"), {"numbers": numbers})
    pool.dispose()
    return numbers


def beside_the_queue(page: Page, served: Served, numbers: list[str]) -> tuple[str, Locator, str]:
    """Review with the field for a number; a number for it, and what stands above. That has its form there; the order is one of chance."""
    opened(page, served, "review")
    above = at(page)
    page.get_by_text("Label a ticket by its number").click()
    return next(number for number in numbers if number not in above), page.locator(".st-key-looked_up input"), above


def another_marked(page: Page, served: Served, field: Locator) -> None:
    """Open the list of departments and mark one beside that which is chosen; the list does not go round."""
    last = field.input_value() == [department.name for department in served.engine.taxonomy.departments()][-1]
    field.focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("listbox")).to_be_visible()
    expect(field).to_have_attribute("aria-activedescendant", re.compile("."))
    page.keyboard.press("ArrowUp" if last else "ArrowDown")


def test_after_a_department_chosen_from_the_list_the_keyboard_is_at_the_next_tickets_department(served: Served, admin: Page) -> None:
    doubtful(served, "a grey stone fell on my foot at noon", "the bird in the garden sang a song", "where does the sun go when it rains")
    opened(admin, served, "review")
    for _ in range(2):
        field, before = admin.locator(".st-key-labelled [class*=st-key-actual_] input"), at(admin)
        was = field.input_value()
        another_marked(admin, served, field)
        admin.keyboard.press("Enter")
        expect(admin.get_by_role("listbox")).to_have_count(0)
        expect(field).not_to_have_value(was)
        admin.keyboard.press("Control+Enter")
        come_from(admin, before)


def test_buttons_that_are_called_alike_say_what_they_are_about_and_hand_the_keyboard_on(served: Served, admin: Page) -> None:
    rule = next(rule for rule in SHIPPED if rule.name == "index_errors")
    # What the console's own look finds, so that it does not resolve the alert meanwhile.
    pool = connect(served.settings.postgres_url)
    Services(pool).add({(datetime.now(UTC).replace(second=0, microsecond=0), "index"): (1_000, 500)})
    pool.dispose()
    served.engine.watch.alert_table.apply([Change(kind="opened", rule=rule, subject="", value=0.5, sample=40)], now=datetime.now(UTC), channels=())
    for name in ("hit_rate_low", "latency_slow"):
        served.engine.watch.alerts.silence(rule=name, subject="", length=timedelta(hours=1), by="ann", reason="quiet")
    opened(admin, served, "alerts")
    admin.get_by_role("button", name="Acknowledge. Vector index fails: ").press("Enter")
    expect(admin.get_by_role("button", name="Silence. Vector index fails: ")).to_be_focused()
    admin.keyboard.press("Enter")
    admin.get_by_role("button", name="for 1 hour").press("Enter")
    expect(admin.locator(".st-key-listed_page")).to_be_focused()
    admin.get_by_role("tab", name="Who is told").click()
    ends = admin.get_by_role("button", name="End. ")
    expect(ends).to_have_count(3)
    names = [end.get_attribute("aria-label") for end in ends.all()]
    assert len(set(names)) == 3
    for left in (2, 1):
        ends.nth(1).press("Enter")
        expect(ends).to_have_count(left)
        expect(ends.nth(min(1, left - 1))).to_be_focused()
    ends.press("Enter")
    expect(admin.get_by_text("Nothing is silenced.")).to_be_visible()
    expect(admin.locator(".st-key-listed_silences")).to_be_focused()


def test_the_stars_are_called_what_stands_above_them(served: Served, admin: Page) -> None:
    doubtful(served, "nobody in the village remembers the old mill")
    opened(admin, served, "review")
    expect(admin.get_by_role("radiogroup", name="Customer's satisfaction")).to_be_visible()
    expect(admin.get_by_role("radio", name="3 out of 5 stars")).to_be_visible()


def test_each_page_has_a_title_of_its_own(served: Served, admin: Page) -> None:
    for name, title in (("review", "Review"), ("audit", "Audit log")):
        opened(admin, served, name)
        expect(admin).to_have_title(f"{title} · Routing console")


def test_the_title_changes_once_from_one_page_to_the_next(served: Served, admin: Page) -> None:
    opened(admin, served, "review")
    admin.evaluate("""() => {
        const { get, set } = Object.getOwnPropertyDescriptor(Document.prototype, "title");
        window.titles = [];
        Object.defineProperty(document, "title", { get: () => get.call(document), set: (title) => { window.titles.push(title); set.call(document, title); } });
    }""")
    admin.locator("[data-testid=stSidebarNavLink]", has_text="Accuracy").click()
    expect(admin).to_have_title("Accuracy · Routing console")
    settled(admin)
    assert admin.evaluate("window.titles") == ["Accuracy · Routing console"]


def test_what_a_click_has_done_is_said_and_shown_above_where_the_click_was(
    served: Served, telephone: Page, overheard: Overheard
) -> None:
    seen = f"() => {{ const one = document.querySelector('[class*=st-key-done_] [data-testid=stAlertContainer]'); return one && ({VISIBLE})(one); }}"
    opened(telephone, served, "policy")
    telephone.locator(".st-key-policy_reason input").fill("to see what is said")
    telephone.locator(".st-key-save_policy button").click()
    said = telephone.locator("#said")
    expect(said).to_contain_text("is in force. Every instance follows within seconds.")
    telephone.wait_for_function(seen)
    opened(telephone, served, "users")
    telephone.get_by_role("tab", name="Add a user").click()
    telephone.locator(".st-key-new_name input").fill("otto")
    telephone.locator(".st-key-add_user button").click()
    expect(said).to_have_text("otto is added as agent.")
    telephone.wait_for_function(seen)
    overheard.secret(telephone.locator("[data-testid=stCode]").first.inner_text().strip())


def test_what_is_done_a_second_time_is_said_a_second_time(served: Served, admin: Page, overheard: Overheard) -> None:
    overheard.secret(served.engine.accounts.add("zoe", role=Role.AGENT, by="test")[1])
    opened(admin, served, "users")
    admin.evaluate("""window.times = 0, new MutationObserver(() => { window.times += 1; }).observe(document.querySelector("#said"), { childList: true })""")
    admin.locator(".st-key-user input").fill("zoe")
    expect(admin.get_by_role("option")).to_have_count(1)
    admin.keyboard.press("Enter")
    code, before = admin.locator("[data-testid=stCode]").first, ""
    for times in (1, 2):
        # Two clicks in less than two seconds are a double click, which is one.
        admin.wait_for_timeout(2_100)
        admin.locator(".st-key-reset button").click()
        expect(code).not_to_have_text(before or "-")
        settled(admin)
        before = code.inner_text().strip()
        overheard.secret(before)
        expect(admin.locator("#said")).to_have_text("zoe has a new password and is signed out everywhere.")
        assert admin.evaluate("window.times") == times


def test_the_shortcut_pressed_in_another_form_labels_nothing_but_what_stands_there(served: Served, admin: Page) -> None:
    numbers = doubtful(served, "my neighbour has painted his fence purple", "the ferry was late and the sea was rough")
    number, field, above = beside_the_queue(admin, served, numbers)
    field.fill("T-nowhere")
    field.press("Control+Enter")
    expect(admin.get_by_text("No ticket has this number.")).to_be_visible()
    field.fill(number)
    field.press("Control+Enter")
    note = admin.locator(f".st-key-labelled_looked_up .st-key-note_{number} input")
    note.fill("about this one")
    note.press("Control+Enter")
    expect(note).to_have_count(0)
    assert at(admin) == above
    labelled = {row.ticket_id: row.actual_outcome for row in served.engine.decisions.rows(numbers)}
    assert labelled[number] and not any(outcome for other, outcome in labelled.items() if other != number)


def test_the_shortcut_pressed_after_words_that_no_department_has_shows_again_what_would_be_saved(served: Served, admin: Page) -> None:
    (number,) = doubtful(served, "the lantern by the gate is counted by owls")
    opened(admin, served, "review")
    field = admin.locator(".st-key-labelled [class*=st-key-actual_] input")
    was = field.input_value()
    field.click()
    field.press("Control+A")
    field.press_sequentially("zzz")
    expect(field).to_have_attribute("aria-expanded", "true")
    admin.keyboard.press("Control+Enter")
    expect(field).to_have_attribute("aria-expanded", "false")
    expect(field).to_have_value(was)
    settled(admin)
    assert next(iter(served.engine.decisions.rows([number]))).actual_outcome is None


def test_the_shortcut_pressed_in_an_open_list_chooses_and_labels_nothing(served: Served, admin: Page) -> None:
    numbers = doubtful(served, "the tower on the hill is remembered by goats", "a boat came early over the calm lake")
    opened(admin, served, "review")
    field = admin.locator(".st-key-labelled [class*=st-key-actual_] input")
    before, was = at(admin), field.input_value()
    number = before.removeprefix("st-key-actual_")
    another_marked(admin, served, field)
    admin.keyboard.press("Control+Enter")
    expect(admin.get_by_role("listbox")).to_have_count(0)
    expect(field).not_to_have_value(was)
    chosen = field.input_value()
    settled(admin)
    assert all(row.actual_outcome is None for row in served.engine.decisions.rows([number, *numbers]))
    admin.keyboard.press("Control+Enter")
    come_from(admin, before)
    assert next(iter(served.engine.decisions.rows([number]))).actual_outcome == chosen
