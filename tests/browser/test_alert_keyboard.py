"""The list of alerts by keyboard and on a small screen, while it changes by itself. In a real browser."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from db.locks import Lock
from db.session import connect
from engine.alert_rules import SHIPPED, Rule
from engine.alerts import Change
from tests.browser.conftest import settled
from tests.browser.test_keyboard import VISIBLE, opened, telephone
from tests.serving import Served

__all__ = ["telephone"]
pytestmark = pytest.mark.browser


@contextmanager
def unwatched(served: Served, rule: Rule, *subjects: str) -> Iterator[Callable[..., None]]:
    """Open alerts that no console resolves by its own look; what is given resolves those that it is called with."""
    table, pool = served.engine.watch.alert_table, connect(served.settings.postgres_url)

    def changed(kind: str, *about: str) -> None:
        numbers = {alert.subject: alert.id for alert in table.state()[0]}
        for one in about:
            change = Change(kind=kind, rule=rule, subject=one, value=0.5, sample=40, alert_id=numbers.get(one))
            table.apply([change], now=datetime.now(UTC), channels=())

    with pool.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": Lock.EVALUATING})
        changed("opened", *subjects)
        yield lambda *about: changed("resolved", *about)
        connection.execute(text("select pg_advisory_unlock(:key)"), {"key": Lock.EVALUATING})
    pool.dispose()


def test_the_keyboard_stays_with_its_alert_while_others_resolve_by_themselves(served: Served, telephone: Page) -> None:
    rule, subjects = next(rule for rule in SHIPPED if rule.name == "accuracy"), ["Ann", "<b>Bob</b>", "Cleo", "Dora"]
    with unwatched(served, rule, *subjects) as resolve:
        opened(telephone, served, "alerts")
        rows = telephone.locator("[class*=st-key-about_page_]")
        expect(rows).to_have_count(4)
        kept = [row.inner_text() for row in rows.all()]
        order = [next(subject for subject in subjects if subject in one) for one in kept]
        rows.nth(1).get_by_role("button", name="Acknowledge. ").focus()
        resolve(order[0])
        expect(rows).to_have_count(3)
        for subject in order[1:3]:
            row = rows.filter(has_text=f"({subject})")
            row.get_by_role("button", name="Acknowledge. ").press("Enter")
            expect(row.get_by_role("button", name="Acknowledge. ")).to_have_count(0)
            expect(row.get_by_role("button", name=f"Silence. Accuracy below target ({subject})")).to_be_focused()
        rows.nth(0).get_by_role("button", name="Silence. ").focus()
        main = telephone.get_by_test_id("stMain")
        main.evaluate("element => element.scrollTop = element.scrollHeight")
        resolve(order[1])
        expect(rows).to_have_count(2)
        expect(rows.nth(0).get_by_role("button", name="Silence. ")).to_be_focused()
        settled(telephone)
        assert not telephone.evaluate(f"({VISIBLE})(document.activeElement)"), "the page has moved"
        resolve(*order[2:])
        expect(telephone.get_by_text("No open alert.")).to_be_visible()
        expect(telephone.locator(".st-key-listed_page")).to_be_focused()
