"""A key that is held down, a second press too many, and where the keyboard goes on after a button. In a real browser."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from engine.access import Role
from engine.outcome import Outcome
from tests.browser.conftest import settled
from tests.browser.test_keyboard import COME, at, come_from, doubtful, opened
from tests.overheard import Overheard
from tests.serving import Served

pytestmark = pytest.mark.browser

WITHIN = "name => document.activeElement.className.includes?.(name)"


def held(page: Page, come: Callable[[], bool] = lambda: True) -> None:
    """Enter as a key that is held down gives it, until what it is pressed for has come and a second longer."""
    more = 20
    for _ in range(1_000):
        page.keyboard.down("Enter")
        page.wait_for_timeout(50)
        more -= come()
        if not more:
            break
    page.keyboard.up("Enter")
    settled(page)


def labelled(served: Served, numbers: list[str]) -> int:
    return sum(row.actual_outcome is not None for row in served.engine.decisions.rows(numbers))


def only(served: Served, *texts: str) -> list[str]:
    """Tickets of these texts, and no others, wait for a label; their numbers."""
    for row in served.engine.outcomes.queue(limit=1_000):
        served.engine.router.review(Outcome(ticket_id=row.ticket_id, department=row.department, labelled_by="test"))
    return doubtful(served, *texts)


def department(page: Page) -> Locator:
    return page.locator(".st-key-labelled [class*=st-key-actual_] input")


SAVE = ".st-key-labelled [class*=st-key-save_label] button"
# As a browser says it of the second of two clicks, and of two presses.
CLICK = 'new MouseEvent("click", { detail: 2, bubbles: true, cancelable: true })'
PRESS = 'new KeyboardEvent("keydown", { key: "Enter", code: "Enter", ctrlKey: true, bubbles: true, cancelable: true })'


@contextmanager
def at_once(page: Page, before: str, event: str) -> Iterator[None]:
    """What somebody does when the keyboard has just come to another ticket's department: made in that moment, whenever a busy browser comes to it."""
    page.evaluate(f"""before => {{
        window.done = false;
        document.addEventListener("focusin", function come() {{
            if (!({COME})(before)) return;
            document.removeEventListener("focusin", come);
            let made;
            // Once whatever has moved the keyboard has ended.
            queueMicrotask(() => {{ made = {event}; }});
            const act = () => {{
                const button = document.querySelector("{SAVE}");
                // The form may be drawn in more than one go.
                if (button === null) return setTimeout(act);
                (made.type === "click" ? button : document.activeElement).dispatchEvent(made);
                window.done = true;
            }};
            setTimeout(act);
        }});
    }}""", before)
    yield
    page.wait_for_function("() => window.done")


def test_the_shortcut_that_is_held_down_labels_one_ticket(served: Served, admin: Page) -> None:
    numbers = only(served, "seven owls count the lamps", "a fish has read my letter", "the moon is late this week", "my hat speaks to the goat")
    opened(admin, served, "review")
    before = admin.locator(f".{at(admin)}")
    department(admin).focus()
    admin.keyboard.down("Control")
    held(admin, lambda: before.count() == 0)
    admin.keyboard.up("Control")
    assert labelled(served, numbers) == 1


def test_the_second_press_of_a_double_one_is_not_about_the_next_ticket_until_that_was_seen_or_touched(served: Served, admin: Page) -> None:
    numbers = only(served, "a goat paints the bridge", "the lamp sings at noon", "my letter is asleep", "the owl has lost its hat")
    opened(admin, served, "review")
    before = at(admin)
    department(admin).focus()
    with at_once(admin, before, PRESS):
        admin.keyboard.press("Control+Enter")
    settled(admin)
    assert labelled(served, numbers) == 1
    before = at(admin)
    admin.wait_for_timeout(600)
    admin.keyboard.press("Control+Enter")
    come_from(admin, before)
    before = at(admin)
    admin.locator(".st-key-labelled [class*=st-key-note_] input").fill("read at a glance")
    admin.keyboard.press("Control+Enter")
    come_from(admin, before)
    assert labelled(served, numbers) == 3


def test_the_second_click_of_a_double_one_is_not_about_the_next_ticket(served: Served, admin: Page) -> None:
    numbers = only(served, "the tower drinks tea", "my shoe remembers the sea", "an owl reads the clock")
    opened(admin, served, "review")
    save, before = admin.locator(SAVE), at(admin)
    with at_once(admin, before, CLICK):
        save.click()
    settled(admin)
    assert labelled(served, numbers) == 1
    before = at(admin)
    save.click()
    come_from(admin, before)
    assert labelled(served, numbers) == 2


def test_nor_is_it_where_a_click_leaves_the_keyboard_elsewhere(served: Served, admin: Page) -> None:
    """As in Safari, and in Firefox on a Mac."""
    numbers = only(served, "the bell counts its feathers", "a ladder asks for the moon", "my spoon is on holiday")
    opened(admin, served, "review")
    admin.evaluate("document.addEventListener('mousedown', event => event.preventDefault(), true)")
    before = at(admin)
    with at_once(admin, before, CLICK):
        admin.locator(SAVE).click()
    settled(admin)
    assert labelled(served, numbers) == 1


def test_a_button_of_a_list_that_is_held_down_is_pressed_once(served: Served, admin: Page) -> None:
    for name in ("hit_rate_low", "latency_slow", "index_errors"):
        served.engine.watch.alerts.silence(rule=name, subject="", length=timedelta(hours=1), by="ann", reason="quiet")
    opened(admin, served, "alerts")
    admin.get_by_role("tab", name="Who is told").click()
    ends = admin.get_by_role("button", name="End. ")
    expect(ends).to_have_count(3)
    ends.first.focus()
    held(admin, lambda: ends.count() < 3)
    expect(ends).to_have_count(2)


def test_enter_that_is_held_down_in_a_text_makes_new_lines(served: Served, admin: Page) -> None:
    opened(admin, served, "submit")
    field = admin.locator(".st-key-body textarea")
    field.focus()
    held(admin)
    expect(field).to_have_value("\n" * 20)


def test_enter_that_ends_what_an_input_method_composes_neither_chooses_nor_labels(served: Served, admin: Page) -> None:
    numbers = only(served, "the kettle dreams of rain", "a hedge has swallowed my umbrella")
    opened(admin, served, "review")
    composed = """(field, ctrlKey) => field.dispatchEvent(new KeyboardEvent(
        "keydown", { key: "Enter", code: "Enter", ctrlKey, isComposing: true, bubbles: true, cancelable: true },
    ))"""
    department(admin).evaluate(composed, True)
    settled(admin)
    assert labelled(served, numbers) == 0
    department(admin).focus()
    admin.keyboard.press("ArrowDown")
    expect(admin.get_by_role("listbox")).to_be_visible()
    department(admin).evaluate(composed, False)
    settled(admin)
    expect(admin.get_by_role("listbox")).to_be_visible()


def test_after_the_last_label_the_keyboard_is_at_what_says_so(served: Served, admin: Page) -> None:
    only(served, "nobody asks the weather for its name")
    opened(admin, served, "review")
    department(admin).focus()
    admin.keyboard.press("Control+Enter")
    expect(admin.get_by_text("Nothing waits for a label here.")).to_be_visible()
    admin.wait_for_function(WITHIN, arg="st-key-labelled")


def test_after_a_choice_the_keyboard_is_at_it_and_the_next_press_chooses_nothing(served: Served, admin: Page) -> None:
    opened(admin, served, "submit")
    admin.locator(".st-key-body textarea").fill("the old boat asks who has painted the hill")
    admin.keyboard.press("Control+Enter")
    settled(admin)
    number = served.engine.decisions.latest(limit=1)[0].ticket_id
    admin.locator(f".st-key-rests_{number} [class*=st-key-alternative_] button").first.press("Enter")
    expect(admin.locator(".st-key-answer").get_by_text("You sent it to")).to_be_visible()
    admin.wait_for_function(WITHIN, arg=f"st-key-rests_{number}")
    chosen = next(iter(served.engine.decisions.rows([number]))).chosen
    assert chosen
    # Longer than for what counts as a second click.
    admin.wait_for_timeout(2_100)
    admin.keyboard.press("Enter")
    settled(admin)
    assert next(iter(served.engine.decisions.rows([number]))).chosen == chosen


def test_after_a_users_button_the_keyboard_stays_with_that_user(served: Served, admin: Page, overheard: Overheard) -> None:
    overheard.secret(served.engine.accounts.add("mia", role=Role.AGENT, by="test")[1])
    opened(admin, served, "users")
    admin.locator(".st-key-user input").fill("mia")
    expect(admin.get_by_role("option")).to_have_count(1)
    admin.keyboard.press("Enter")
    admin.locator(".st-key-role_mia").get_by_role("combobox").click()
    admin.get_by_role("option").filter(has_text="supervisor").click()
    for key, said in (("save_role", "mia is supervisor now."), ("disable", "mia is disabled and signed out."), ("enable", "mia may sign in again.")):
        settled(admin)
        admin.locator(f".st-key-{key} button").press("Enter")
        expect(admin.locator("#said")).to_contain_text(said)
        admin.wait_for_function(WITHIN, arg="st-key-rests_user")
