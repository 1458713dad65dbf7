"""Headless Chromium for the browser tests."""
from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine.access import Role
from tests.browser.watch import Watch
from tests.serving import Served
from tests.signin import sign_in

_OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
# A busy machine takes its time: what is not there after five seconds, Playwright's own limit, may still come.
expect.set_options(timeout=30_000)
READY = '[data-testid="stApp"][data-test-script-state="notRunning"]'


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; its absence fails the tests."""
    path = shutil.which("chromium")
    assert path, "chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def admin(served: Served, chromium: Browser) -> Iterator[Page]:
    """A page of a browser that is signed in as the admin, tall enough to show everything."""
    context = chromium.new_context(viewport={"width": 1280, "height": 2000})
    page = context.new_page()
    sign_in(page, served.url, "admin", served.words["admin"])
    yield page
    context.close()


@pytest.fixture(scope="module")
def watched(chromium: Browser, served: Served) -> Iterator[tuple[Page, Watch]]:
    """A page signed in as admin, without the protection of the policy."""
    context = chromium.new_context(bypass_csp=True, viewport={"width": 1280, "height": 2400})
    watch = Watch(context, served.url)
    page = context.new_page()
    sign_in(page, served.url, "admin", served.words[Role.ADMIN])
    yield page, watch
    context.close()


def settled(page: Page) -> None:
    """Wait until the page's script has run to its end."""
    page.wait_for_timeout(300)
    page.wait_for_selector(READY, timeout=60_000)
