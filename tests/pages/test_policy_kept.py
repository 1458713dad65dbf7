"""The Policy page says whether what went alone was as accurate as was asked for."""
from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from db.session import connect
from engine import policy as policies
from engine.access import Role
from engine.bootstrap import Engine
from engine.domain import Policy, Thresholds
from tests.integration.test_rollups import decision, store
from tests.pages.opening import opening, said

OPENS = Callable[[str], AppTest]
BILLING, SUPPORT = "Billing and Payments", "Technical Support"


@pytest.fixture
def opened(console: Engine, monkeypatch: pytest.MonkeyPatch) -> OPENS:
    return opening(console, monkeypatch, Role.MANAGER)


def in_force(console: Engine, **fields: object) -> int:
    names = [d.name for d in console.taxonomy.departments()]
    # All that goes alone is reviewed, as `labelled` has it.
    return policies.save(Policy(review_rate=1.0, **fields), console.policies, departments=names, author="ann", reason="to try").number


def labelled(console: Engine, department: str, *, right: int, wrong: int, policy: int) -> None:
    """Reviewed decisions that went alone under this policy."""
    other, chance, at = SUPPORT if department == BILLING else BILLING, random.Random(3), datetime.now(UTC) - timedelta(days=2)
    rows = [
        decision(i, chance, at=at, id=f"{department[0]}-{i}", department=department, actual=department if i < right else other, confidence=0.98,
                 automation="auto", method="learned", policy=policy, demo=False, probability=1.0, audit=None, channel="web")
        for i in range(right + wrong)
    ]
    pool = connect(console.settings.postgres_url)
    store(pool, *rows)
    with pool.begin() as connection:
        connection.execute(text("update routing_history set reviewed_at = created_at"))
    pool.dispose()


def by_department(page: AppTest) -> list[list[object]]:
    frame = next(frame.value for frame in page.dataframe if "Beyond chance" in frame.value.columns)
    return [[row[0], *(round(value, 1) for value in row[1:4]), *row[4:]] for row in frame.values.tolist()]


def test_without_a_target_nothing_is_held_against_one(opened: OPENS, console: Engine) -> None:
    labelled(console, BILLING, right=50, wrong=50, policy=in_force(console))
    assert "went alone with these thresholds" not in said(opened("policy"))


def test_without_a_label_the_page_says_that_nothing_is_known_yet(opened: OPENS, console: Engine) -> None:
    in_force(console, target_accuracy=0.95)
    assert "nothing says yet whether 95.0% of them are right" in said(opened("policy"))


def test_a_target_that_is_met_is_said_with_interval_and_sample(opened: OPENS, console: Engine) -> None:
    number = in_force(console, target_accuracy=0.95, departments={BILLING: Thresholds(0.9, 0.7)})
    labelled(console, BILLING, right=194, wrong=6, policy=number)
    page = opened("policy")
    assert not page.exception and not page.warning
    assert (
        "Of the tickets that went alone with these thresholds 97.0% were right (93.6% to 98.6%; asked for: 95.0%; 200 labels of the last 30 days)."
        in said(page)
    )
    assert by_department(page) == [[BILLING, 97.0, 93.6, 98.6, 200, ""]]


def test_a_department_that_is_worse_than_asked_for_is_named_although_all_together_are_not(opened: OPENS, console: Engine) -> None:
    number = in_force(console, target_accuracy=0.95)
    labelled(console, BILLING, right=395, wrong=5, policy=number)
    labelled(console, SUPPORT, right=30, wrong=10, policy=number)
    page = opened("policy")
    (warning,) = page.warning
    assert "In 1 of 2 departments it is less than was asked for, by more than chance explains" in warning.value
    assert [row[-1] for row in by_department(page)] == ["", "less than asked for"]


def test_a_target_that_is_missed_is_a_warning_and_newer_thresholds_begin_anew(opened: OPENS, console: Engine) -> None:
    number = in_force(console, target_accuracy=0.95)
    labelled(console, BILLING, right=80, wrong=20, policy=number)
    page = opened("policy")
    assert "That is less than was asked for, by more than chance explains" in page.warning[0].value
    in_force(console, target_accuracy=0.95, departments={BILLING: Thresholds(0.99, 0.8)})
    assert "nothing says yet" in said(page.run())
