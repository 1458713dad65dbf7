"""The Policy page in a browser: its fields show what is stored, and two managers cannot undo each other's policies unseen."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from engine import policy as policies
from engine.access import Role
from engine.domain import Policy, Thresholds
from tests.browser.conftest import heard, settled
from tests.serving import Served
from tests.signin import sign_in

pytestmark = pytest.mark.browser


@pytest.fixture
def manager(served: Served, chromium: Browser) -> Iterator[Page]:
    """A second browser, signed in as a manager."""
    context = heard(chromium.new_context(viewport={"width": 1280, "height": 2000}))
    page = context.new_page()
    sign_in(page, served.url, Role.MANAGER.value, served.words[Role.MANAGER])
    yield page
    context.close()


def put(served: Served, policy: Policy, reason: str) -> Policy:
    departments = [d.name for d in served.engine.taxonomy.departments()]
    return policies.save(policy, served.engine.policies, departments=departments, author="ann", reason=reason)


def go(page: Page, served: Served) -> Page:
    page.goto(f"{served.url}/policy")
    settled(page)
    page.get_by_text("Cache, audit and stages").click()
    return page


def save(page: Page, reason: str) -> None:
    page.get_by_label("Why this change?").fill(reason)
    page.keyboard.press("Enter")
    settled(page)
    page.locator(".st-key-save_policy button").click()
    settled(page)


def number(page: Page, label: str):  # noqa: ANN201
    return page.get_by_role("spinbutton", name=label)


def test_fields_show_what_is_stored_and_take_what_is_typed(served: Served, admin: Page) -> None:
    put(served, Policy(
        thresholds=Thresholds(0.995, 0.9875), audit_rate=0.001, review_rate=0.005, departments={"Sales": Thresholds(0.9995, 0.97)},
    ), "finer than two decimals")
    page = go(admin, served)
    shown = {"Routed alone from": "0.995", "One click from": "0.9875", "Share of hits audited": "0.001", "Share of sure ones reviewed": "0.005"}
    for label, text in shown.items():
        expect(number(page, label)).to_have_value(text)
    expect(page.get_by_text("Empty means 0.995 and 0.9875")).to_be_visible()
    # A focus and a step there and back change nothing, a finer number is kept.
    number(page, "Routed alone from").focus()
    number(page, "Share of hits audited").press("ArrowUp")
    number(page, "Share of hits audited").press("ArrowDown")
    number(page, "Share of sure ones reviewed").fill("0.0125")
    number(page, "Share of sure ones reviewed").press("Enter")
    settled(page)
    expect(number(page, "Share of sure ones reviewed")).to_have_value("0.0125")
    before = served.engine.policies.live()
    save(page, "a finer rate")
    expect(page.get_by_text("is in force. Every instance follows").first).to_be_visible()
    assert replace(served.engine.policies.live(), number=0) == replace(before, number=0, review_rate=0.0125)


def test_a_threshold_with_four_decimals_can_be_typed_into_the_table(served: Served, admin: Page) -> None:
    put(served, Policy(departments={"Sales": Thresholds(0.95, 0.7)}), "a row to type into")
    page = go(admin, served)
    table = page.locator("[class*=st-key-policy_departments_] [data-testid=stDataFrame]")
    names = [d.name for d in served.engine.taxonomy.departments()]
    editor = page.locator("#portal input")
    for _ in range(10):
        # Measured anew each time: an expander that still opens moves it. As tall as the titles and a row for each department.
        box = table.bounding_box()
        table.click(position={"x": box["width"] / 2, "y": box["height"] / (len(names) + 1) * (names.index("Sales") + 1.5)})
        page.keyboard.press("Enter")
        with suppress(PlaywrightTimeout):
            editor.wait_for(timeout=3000)
            break
    expect(editor).to_be_visible()
    editor.fill("0.9876")
    page.keyboard.press("Enter")
    editor.wait_for(state="detached")
    # The table gathers edits for a moment before it sends them.
    settled(page, 800)
    save(page, "four decimals")
    expect(page.get_by_text("is in force. Every instance follows").first).to_be_visible()
    assert served.engine.policies.live().departments == {"Sales": Thresholds(0.9876, 0.7)}


def test_a_manager_whose_page_is_older_than_the_policy_in_force_is_told_and_loses_nothing(served: Served, admin: Page, manager: Page) -> None:
    put(served, Policy(), "where both start")
    ann, bob = go(admin, served), go(manager, served)
    number(ann, "Lowest tracked accuracy").fill("0.85")
    save(ann, "stricter")
    expect(ann.get_by_text("is in force. Every instance follows").first).to_be_visible()
    made = served.engine.policies.live()
    number(bob, "Nearest similarity at least").fill("0.75")
    save(bob, "looser")
    expect(bob.get_by_text("Nothing was changed: another policy came into force meanwhile.")).to_be_visible()
    expect(bob.get_by_text(f"Meanwhile policy {made.number} is in force").first).to_be_visible()
    expect(number(bob, "Nearest similarity at least")).to_have_value("0.75")
    assert served.engine.policies.live() == made
    bob.locator(".st-key-start_anew button").click()
    settled(bob)
    expect(number(bob, "Lowest tracked accuracy")).to_have_value("0.85")
    expect(bob.get_by_text("Meanwhile policy")).to_have_count(0)
    number(bob, "Nearest similarity at least").fill("0.75")
    save(bob, "looser")
    expect(bob.get_by_text("is in force. Every instance follows").first).to_be_visible()
    live = served.engine.policies.live()
    assert (live.accuracy, live.similarity) == (0.85, 0.75)
    # Ann's page, on which nothing was entered since, shows it with the next thing she does.
    ann.get_by_label("Why this change?").fill("another word")
    ann.keyboard.press("Enter")
    settled(ann)
    # The line about her own policy is gone, so what was open is closed.
    ann.get_by_text("Cache, audit and stages").click()
    expect(number(ann, "Nearest similarity at least")).to_have_value("0.75")
    expect(ann.get_by_label("Why this change?")).to_have_value("another word")


def test_what_was_opened_stays_open_when_a_policy_is_saved_and_when_its_message_goes(served: Served, admin: Page) -> None:
    go(admin, served)
    number(admin, "Share of hits audited").fill("0.05")
    save(admin, "more audits")
    expect(admin.get_by_test_id("stAlert").get_by_text("Every instance follows within seconds.")).to_be_visible()
    expect(number(admin, "Share of hits audited")).to_be_visible()
    number(admin, "Share of hits audited").fill("7")
    save(admin, "far too many")
    expect(admin.get_by_text("The policy was refused; the live one is unchanged.")).to_be_visible()
    expect(admin.get_by_test_id("stAlert").get_by_text("Every instance follows within seconds.")).to_have_count(0)
    expect(number(admin, "Share of hits audited")).to_be_visible()
    expect(number(admin, "Share of hits audited")).to_have_value("7")
