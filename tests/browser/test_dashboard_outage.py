"""The dashboard in a real browser while its database is away: plain words, and everything back without a click."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from engine.domain import TicketDraft
from tests.browser.conftest import settled
from tests.faults.conftest import socket_of, through
from tests.servers.proxy import FaultyProxy
from tests.serving import Served

pytestmark = pytest.mark.browser
PLAIN = "The figures cannot be read at the moment; the database does not answer. No decision is lost."


@pytest.fixture(scope="module")
def postgres(databases, learned: str) -> Iterator[tuple[str, FaultyProxy]]:  # noqa: ANN001
    """A database of its own, and what stands in front of it."""
    url = databases.make(learned)
    with FaultyProxy(socket_of(url)) as proxy:
        yield url, proxy
    databases.drop(url)


@pytest.fixture(scope="module")
def served(postgres, servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:  # noqa: ANN001
    url, proxy = postgres
    console = Served(through(url, proxy), f"{servers.redis_url}?db=3", tmp_path_factory.mktemp("served"))
    try:
        yield console.start()
    finally:
        proxy.set("ok")
        console.close()


def test_an_open_page_and_a_fresh_one_say_what_is_missing_and_come_back_by_themselves(
    served: Served, postgres: tuple[str, FaultyProxy], admin: Page
) -> None:
    _, proxy = postgres
    for number in range(3):
        served.engine.router.route(TicketDraft(body=f"where is my parcel, order {number}"))
    fresh = admin.context.new_page()
    for page in (admin, fresh):
        page.goto(f"{served.url}/dashboard")
        settled(page)
        expect(page.locator("[data-testid=stMetricValue]").first).to_have_text("3")

    proxy.set("refused")
    expect(admin.get_by_text(PLAIN).first).to_be_visible(timeout=45_000)
    fresh.reload()
    expect(fresh.get_by_text(PLAIN).first).to_be_visible(timeout=45_000)
    for page in (admin, fresh):
        shown = page.locator("[data-testid=stApp]").inner_text()
        assert "Traceback" not in shown and "psycopg2" not in shown and "sqlalchemy" not in shown.lower()

    proxy.set("ok")
    for page in (admin, fresh):
        expect(page.locator("[data-testid=stMetricValue]").first).to_have_text("3", timeout=60_000)
        expect(page.get_by_text(PLAIN)).to_have_count(0)
