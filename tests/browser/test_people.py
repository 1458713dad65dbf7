"""Users and Account as people use them: make, change, disable; tokens, passwords, sessions. In a real browser."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests import signin
from tests.browser.conftest import heard, settled
from tests.overheard import Overheard
from tests.serving import Served

pytestmark = pytest.mark.browser

WORDS = "violet-harbour-morning-7"


@pytest.fixture
def other(chromium: Browser) -> Iterator[Page]:
    """A second browser."""
    context = heard(chromium.new_context(viewport={"width": 1280, "height": 1200}))
    yield context.new_page()
    context.close()


def open_page(page: Page, served: Served, name: str) -> None:
    page.goto(f"{served.url}/{name}")
    settled(page)


def added(admin: Page, served: Served, name: str, role: str) -> str:
    """Add a user with the form; the one-time password that is shown."""
    open_page(admin, served, "users")
    admin.get_by_role("tab", name="Add a user").click()
    admin.locator(".st-key-new_name input").fill(name)
    chosen(admin, "new_role", role)
    admin.locator(".st-key-add_user button").click()
    expect(admin.get_by_text("is added as").first).to_be_visible()
    expect(admin.locator(".st-key-new_name input")).to_have_value("")
    return admin.locator("[data-testid=stCode]").first.inner_text().strip()


def chosen(page: Page, key: str, words: str) -> None:
    """Choose the option that begins with these words."""
    page.locator(f"[class*='st-key-{key}']").get_by_role("combobox").click()
    page.get_by_role("option").filter(has_text=words).first.click()
    settled(page)


def changed_password(page: Page, old: str, new: str) -> None:
    page.fill("#old", old)
    page.fill("#new", new)
    page.fill("#again", new)
    page.click("button[type=submit]")


def first_sign_in(page: Page, served: Served, name: str, one_time: str, own: str) -> None:
    """Sign in with the one-time password and choose an own one, which leads to the first page."""
    page.goto(f"{served.url}/auth/login")
    page.fill("#name", name)
    page.fill("#password", one_time)
    page.click("button[type=submit]")
    expect(page.get_by_role("heading", name="Choose a new password")).to_be_visible()
    changed_password(page, one_time, own)
    settled(page)


def test_a_user_is_added_changed_and_disabled_and_an_open_page_ends_at_once(
    served: Served, admin: Page, other: Page, overheard: Overheard
) -> None:
    one_time = added(admin, served, "nora", "agent")
    overheard.secret(one_time, WORDS)
    first_sign_in(other, served, "nora", one_time, WORDS)
    open_page(other, served, "submit")
    expect(other.get_by_text("nora (agent)").first).to_be_visible()
    expect(other.get_by_role("link", name="Dashboard")).to_have_count(0)

    open_page(admin, served, "users")
    chosen(admin, "user", "nora")
    chosen(admin, "role_nora", "manager")
    admin.locator(".st-key-save_role button").click()
    expect(admin.get_by_text("nora is manager now.").first).to_be_visible()
    open_page(other, served, "dashboard")
    expect(other.get_by_text("nora (manager)").first).to_be_visible()
    expect(other.get_by_text("Hit rate").first.or_(other.get_by_text("No ticket in this view")).first).to_be_visible()

    open_page(other, served, "submit")
    open_page(admin, served, "users")
    chosen(admin, "user", "nora")
    admin.locator(".st-key-disable button").click()
    expect(admin.get_by_text("nora is disabled and signed out.").first).to_be_visible()
    expect(admin.locator(".st-key-enable")).to_be_visible()
    expect(admin.locator(".st-key-reset")).to_have_count(0)
    before = len(served.engine.decisions.latest(limit=100))
    other.locator(".st-key-body textarea").fill("where is my parcel")
    other.locator(".st-key-route button").click()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    assert len(served.engine.decisions.latest(limit=100)) == before, "the open page does nothing any more"
    other.goto(f"{served.url}/submit")
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    other.fill("#name", "nora")
    other.fill("#password", WORDS)
    other.click("button[type=submit]")
    expect(other.locator("main")).to_contain_text("Name or password is wrong")
    actions = [row.action for row in served.engine.audit.find(words="nora")]
    assert {"user_added", "role_changed", "user_disabled"} <= set(actions)


def test_a_token_is_made_used_against_the_api_and_revoked(served: Served, admin: Page, overheard: Overheard) -> None:
    open_page(admin, served, "account")
    admin.locator(".st-key-token_name input").fill("ticket robot")
    admin.locator(".st-key-token_scopes").get_by_role("combobox").fill("submit")
    expect(admin.get_by_role("option")).to_have_count(1)
    admin.keyboard.press("Enter")
    admin.keyboard.press("Escape")
    admin.locator(".st-key-make_token button").click()
    expect(admin.get_by_text("is made.").first).to_be_visible()
    token = admin.locator("[data-testid=stCode]").first.inner_text().strip()
    overheard.secret(token)

    def send() -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.post(f"{served.url}/api/v1/tickets", json={"body": "where is my parcel"}, headers=headers, timeout=30)

    assert send().status_code == 201
    assert requests.get(f"{served.url}/api/v1/users", headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code == 403
    open_page(admin, served, "account")
    expect(admin.locator("[data-testid=stCode]")).to_have_count(0)
    chosen(admin, "revoke_token", "ticket robot")
    admin.locator(".st-key-revoke button").click()
    expect(admin.get_by_text("is revoked.").first).to_be_visible()
    assert send().status_code == 401
    assert served.engine.tokens.all()[0].used_at is not None


def test_a_changed_password_replaces_the_old_one_and_signing_out_everywhere_ends_the_other_browser(
    served: Served, admin: Page, other: Page, overheard: Overheard
) -> None:
    one_time = added(admin, served, "olaf", "supervisor")
    newer = WORDS[::-1]
    overheard.secret(one_time, WORDS, newer)
    first_sign_in(other, served, "olaf", one_time, WORDS)
    open_page(other, served, "account")
    other.get_by_role("link", name="Change your password").click()
    expect(other.get_by_role("heading", name="Change your password")).to_be_visible()
    changed_password(other, "not-the-old-password", newer)
    expect(other.locator("main")).to_contain_text("it is not right")
    changed_password(other, WORDS, newer)
    other.wait_for_url(f"{served.url}/")
    refused = requests.Session()
    answer = signin.post_form(refused, f"{served.url}/auth/login", name="olaf", password=WORDS)
    assert answer.status_code == 401
    elsewhere = signin.signed_in(served.url, "olaf", newer)
    assert elsewhere.get(f"{served.url}/_stcore/metrics", timeout=30).status_code != 401
    open_page(other, served, "account")
    other.locator(".st-key-sign_out_all button").click()
    expect(other.get_by_text("You are signed out everywhere else.").first).to_be_visible()
    gone = elsewhere.get(f"{served.url}/account", headers={"Accept": "text/html"}, timeout=30, allow_redirects=False)
    assert gone.status_code in (302, 303, 307) and "/auth/login" in gone.headers["location"]
    open_page(other, served, "account")
    expect(other.get_by_role("heading", name="Account")).to_be_visible()


def test_what_came_of_adding_a_user_stays_in_sight_also_when_it_takes_the_place_of_what_was_said_before(
    served: Served, admin: Page, overheard: Overheard
) -> None:
    overheard.secret(added(admin, served, "olga", "agent"))
    for name, said in (("olga", "That was not done."), ("otto", "otto is added as agent.")):
        # What was said before goes with the next action, once a second click can no longer be meant.
        admin.wait_for_timeout(2_100)
        admin.locator(".st-key-new_name input").fill(name)
        admin.locator(".st-key-add_user button").click()
        expect(admin.get_by_test_id("stAlert").get_by_text(said)).to_be_visible()
        settled(admin)
        expect(admin.get_by_role("tab", name="Add a user")).to_have_attribute("aria-selected", "true")
    overheard.secret(admin.locator("[data-testid=stCode]").first.inner_text().strip())
