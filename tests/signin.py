"""Signing in to a served console, from a browser page or with plain HTTP, as a person or a script would."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import requests

from engine.web.gate import COOKIE

if TYPE_CHECKING:
    from playwright.sync_api import Page

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


def note(*secrets: str) -> None:
    """Told of every password and cookie that is used; the run's conftest puts its own list in this place."""


def sign_in(page: Page, base_url: str, name: str, password: str) -> None:
    """Sign in with the form and wait until the first page has run."""
    page.goto(f"{base_url}/auth/login")
    page.fill("#name", name)
    page.fill("#password", password)
    page.click("button[type=submit]")
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000)
    note(password, *(cookie["value"] for cookie in page.context.cookies()))


def csrf_of(text: str) -> str:
    """The token in a form's HTML."""
    found = _CSRF.search(text)
    assert found, "there is no form on this page"
    return found[1]


def post_form(http: requests.Session, url: str, **fields: str) -> requests.Response:
    """Read the form of this URL and send it back with these fields; redirects are not followed."""
    token = csrf_of(http.get(url, timeout=30).text)
    note(token, *(value for name, value in fields.items() if name in ("password", "old", "new", "again")))
    return http.post(url, data={"csrf": token, **fields}, allow_redirects=False, timeout=60)


def signed_in(base_url: str, name: str, password: str) -> requests.Session:
    """An HTTP session that holds the cookie of a new session."""
    http = requests.Session()
    answer = post_form(http, f"{base_url}/auth/login", name=name, password=password)
    assert answer.status_code == 303, answer.text
    assert COOKIE in http.cookies
    note(*http.cookies.values())
    return http
