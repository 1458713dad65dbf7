"""The tests' own wait for a page: it holds on a machine so busy that the page does not know yet of what was just done. In a real browser."""
from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import READY, settled
from tests.serving import Served

pytestmark = pytest.mark.browser

# Everything that the page tells the server reaches it this late.
LATE = """milliseconds => {
    const socket = Object.getPrototypeOf(WebSocket.prototype), send = socket.send;
    socket.send = function (data) { setTimeout(() => send.call(this, data), milliseconds); };
}"""


def test_what_comes_of_a_click_is_waited_for_also_while_the_page_says_that_nothing_runs(served: Served, admin: Page) -> None:
    admin.goto(f"{served.url}/submit")
    settled(admin)
    admin.evaluate(LATE, 2_000)
    admin.locator(".st-key-body textarea").fill("where is my parcel, it is late")
    admin.locator(".st-key-route button").click()
    admin.wait_for_timeout(300)
    assert admin.locator(READY).count() == 1, "nothing runs yet"
    settled(admin)
    assert admin.locator(".st-key-decision").all_inner_texts() != []


def test_one_form_stands_there_once_the_page_is_settled(served: Served, admin: Page) -> None:
    """A form that is drawn under a new name stands beside the old one until its run has ended."""
    admin.goto(f"{served.url}/users")
    settled(admin)
    admin.evaluate(LATE, 1_000)
    for name in ("Submit", "Review", "Submit"):
        admin.locator("[data-testid=stSidebarNavLink]", has_text=name).click()
        settled(admin)
        assert admin.locator(".st-key-body").count() == (name == "Submit")
        assert admin.locator("[data-stale=true]").count() == 0
