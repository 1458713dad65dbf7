"""Headless Chromium for the browser tests."""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

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
RUNS = Path(__file__).with_name("runs.js")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; its absence fails the tests."""
    path = shutil.which("chromium")
    assert path, "chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        yield browser
        browser.close()


def heard(context: BrowserContext) -> BrowserContext:
    """A context in whose pages `settled` hears of the script's runs; before its first page, since one that is just being made may miss it for good."""
    context.add_init_script(path=RUNS)
    return context


@pytest.fixture
def admin(served: Served, chromium: Browser) -> Iterator[Page]:
    """A page of a browser that is signed in as the admin, tall enough to show everything."""
    context = heard(chromium.new_context(viewport={"width": 1280, "height": 2000}))
    page = context.new_page()
    sign_in(page, served.url, "admin", served.words["admin"])
    yield page
    context.close()


@pytest.fixture(scope="module")
def watched(chromium: Browser, served: Served) -> Iterator[tuple[Page, Watch]]:
    """A page signed in as admin, without the protection of the policy."""
    context = heard(chromium.new_context(bypass_csp=True, viewport={"width": 1280, "height": 2400}))
    watch = Watch(context, served.url)
    page = context.new_page()
    sign_in(page, served.url, "admin", served.words[Role.ADMIN])
    yield page, watch
    context.close()


def uploaded(page: Page, selector: str, file: dict[str, object]) -> None:
    """Choose a file, and wait until the page's script has it."""
    with page.expect_response(lambda answer: "/_stcore/upload_file/" in answer.url and answer.request.method == "PUT"):
        page.set_input_files(selector, file)
    settled(page)


def settled(page: Page, milliseconds: int = 300) -> None:
    """Wait until the page's script has run to its end for everything that was done, and what it drew is there.

    `milliseconds` are for what the page tells its server only a moment later, such as the edits of a table.
    """
    page.wait_for_timeout(milliseconds)
    page.wait_for_function("ready => document.querySelector(ready) !== null && window.runsAreOver()", arg=READY, timeout=60_000)
