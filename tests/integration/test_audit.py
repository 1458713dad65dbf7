"""The audit log: every change leaves a row, and a row that was removed or altered is found."""
from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine as Pool
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.session import connect
from engine import audit as audit_module
from engine import audit_csv
from engine.access import Role
from engine.alert_rules import SHIPPED
from engine.alerts import Change
from engine.bootstrap import Engine
from engine.domain import TicketDraft
from engine.errors import StatementRefused
from engine.outcome import Outcome, Overrule
from engine.web.gate import COOKIE
from pages.parts import trail
from tests import websocket
from tests.serving import ROOT, Served


@pytest.fixture
def pool(console: Engine):  # noqa: ANN201
    made = connect(console.settings.postgres_url)
    yield made
    made.dispose()


@pytest.fixture
def filled(console: Engine) -> Engine:
    audit_module.coming_from("10.1.2.3")
    for number in range(5):
        console.audit.record("ann", "did_something", "thing", f"number {number}", after={"value": number, "text": "ä"})
    audit_module.coming_from("")
    return console


def tamper(pool: Pool, *statements: str) -> None:
    """What somebody with the database's own password could do."""
    with pool.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        for statement in statements:
            connection.execute(text(statement))


def test_an_untouched_log_verifies_and_says_who_and_where_from(filled: Engine) -> None:
    found = filled.audit.verify()
    assert (found.rows, found.broken_at) == (5, None)
    newest = filled.audit.find(limit=1)[0]
    assert (newest.actor, newest.address, newest.object, newest.after) == ("ann", "10.1.2.3", "number 4", {"value": 4, "text": "ä"})
    assert filled.audit.verify(witness=newest.hash).broken_at is None


@pytest.mark.parametrize("statement", [
    "update audit_log set actor = 'bob'", "delete from audit_log where id = 2", "truncate audit_log",
])
def test_the_database_refuses_to_change_or_remove_rows(filled: Engine, pool: Pool, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), pool.begin() as connection:
        connection.execute(text(statement))
    assert filled.audit.verify().rows == 5


@pytest.mark.parametrize(("statement", "broken_at"), [
    ("update audit_log set actor = 'bob' where id = 3", 3),
    ("update audit_log set at = at + interval '1 microsecond' where id = 2", 2),
    ("update audit_log set after = '{\"value\": 9}' where id = 1", 1),
    ("update audit_log set after = null where id = 5", 5),
    ("update audit_log set hash = repeat('0', 64) where id = 4", 4),
    ("update audit_log set address = '' where id = 4", 4),
    ("delete from audit_log where id = 1", 1),
    ("delete from audit_log where id = 3", 3),
    ("delete from audit_log where id = 5", 5),
    ("delete from audit_log", 1),
])
def test_an_altered_or_removed_row_is_found(filled: Engine, pool: Pool, statement: str, broken_at: int) -> None:
    tamper(pool, statement)
    assert filled.audit.verify().broken_at == broken_at


def test_a_log_that_was_rewritten_from_the_start_is_found_by_a_hash_noted_elsewhere(filled: Engine, pool: Pool) -> None:
    noted = filled.audit.find(limit=1)[0].hash
    tamper(pool, "delete from audit_log", "update audit_head set id = 0, hash = repeat('0', 64)")
    for number in range(6):
        filled.audit.record("bob", "did_something", "thing", f"number {number}")
    assert filled.audit.verify().broken_at is None
    assert filled.audit.verify(witness=noted).problem.startswith("the log was replaced")


def test_the_head_that_was_noted_of_a_log_without_rows_is_where_every_log_begins(console: Engine) -> None:
    noted = console.audit.verify().head
    assert console.audit.verify(witness=noted).broken_at is None
    console.audit.record("ann", "did_something", "thing", "first")
    assert console.audit.verify(witness=noted).broken_at is None


def test_many_writers_at_once_make_one_chain(console: Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: console.audit.record("ann", "did_something", "thing", str(n)), range(80)))
    assert (console.audit.verify().rows, console.audit.verify().broken_at) == (80, None)


def test_a_change_that_fails_leaves_no_row_and_a_change_that_is_made_leaves_one(console: Engine) -> None:
    console.accounts.add("ann", role="admin", by="test", password="green-river-table-9")
    before = console.audit.verify().rows
    with pytest.raises(Exception, match="last admin"):
        console.accounts.disable("ann", by="test")
    assert console.audit.verify().rows == before
    console.accounts.add("joe", role="agent", by="ann", password="green-river-table-9")
    console.accounts.set_role("joe", "manager", by="ann")
    row = console.audit.find(limit=1, words="joe")[0]
    assert (row.actor, row.action, row.before["role"], row.after["role"]) == ("ann", "role_changed", "agent", "manager")
    assert "argon2" not in str(console.audit.find(limit=50))


def test_labels_and_overrules_leave_rows_without_the_customers_words(console: Engine) -> None:
    decision = console.router.route(TicketDraft(body="my xylophone parcel is lost", created_by="ann"))
    other = next(d.name for d in console.taxonomy.departments() if d.name != decision.department)
    console.router.overrule(Overrule(ticket_id=decision.ticket_id, department=other, by="ann", reason="xylophone"))
    console.router.review(Outcome(ticket_id=decision.ticket_id, department=other, labelled_by="sue", note="xylophone"))
    rows = console.audit.find(limit=10, words=decision.ticket_id)
    assert [(row.actor, row.action) for row in rows] == [("sue", "ticket_reviewed"), ("ann", "ticket_overruled")]
    assert "xylophone" not in str(rows)


def test_a_changed_label_keeps_the_one_before_and_an_overrule_the_department_so_far(console: Engine) -> None:
    decision = console.router.route(TicketDraft(body="my xylophone parcel is lost", created_by="ann"))
    one, two = [d.name for d in console.taxonomy.departments() if d.name != decision.department][:2]

    def newest() -> tuple[object, object]:
        row = console.audit.find(limit=1, words=decision.ticket_id)[0]
        return row.before, row.after

    for department, before in ((one, decision.department), (two, one)):
        console.router.overrule(Overrule(ticket_id=decision.ticket_id, department=department, by="ann"))
        assert newest() == ({"department": before}, {"department": department})
    console.router.review(Outcome(ticket_id=decision.ticket_id, department=one, labelled_by="sue", resolution_hours=1.5, satisfaction=4))
    assert newest() == ({"department": decision.department}, {"department": one, "hours": 1.5, "stars": 4})
    console.router.review(Outcome(ticket_id=decision.ticket_id, department=two, labelled_by="joe", satisfaction=2))
    assert newest() == ({"department": one, "hours": 1.5, "stars": 4}, {"department": two, "stars": 2})
    console.router.overrule(Overrule(ticket_id=decision.ticket_id, department=one, by="ann"))
    assert newest() == ({"department": two}, {"department": one})


def test_a_policy_or_department_whose_row_cannot_be_written_is_not_changed(console: Engine, pool: Pool) -> None:
    """Change and row are one transaction."""
    live, departments = console.policies.live(), console.taxonomy.departments()
    changed = replace(departments[0], purpose="something else")
    note = lambda connection: console.audit.record("ann", "department_changed", "department", changed.name, connection=connection)  # noqa: E731
    with pool.begin() as connection:
        connection.execute(text("alter table audit_log add constraint nothing_new check (id < 0) not valid"))
    with pytest.raises(StatementRefused, match="nothing_new"):
        console.policies.add(replace(live, confidence=0.61), author="ann", reason="try")
    with pytest.raises(StatementRefused, match="nothing_new"):
        console.taxonomy.save([changed], also=note)
    assert (console.policies.live(), console.taxonomy.departments()) == (live, departments)
    with pool.begin() as connection:
        connection.execute(text("alter table audit_log drop constraint nothing_new"))
    saved = console.policies.add(replace(live, confidence=0.61), author="ann", reason="try")
    row = console.audit.find(limit=1, action="policy_changed")[0]
    assert (row.object, row.before, row.after["confidence"]) == (str(saved.number), {"confidence": str(live.confidence)}, "0.61")
    assert console.policies.live() == saved
    console.taxonomy.save([changed], also=note)
    assert console.audit.find(limit=1)[0].action == "department_changed"


def test_everybody_who_did_something_can_be_chosen_not_only_users(filled: Engine) -> None:
    filled.audit.record("command line", "did_something", "thing", "x")
    assert filled.audit.actors() == ["ann", "command line"]


def test_a_file_that_leaves_rows_out_says_so(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = audit_csv.content(filled.audit, "root", actor="ann").decode("utf-8-sig").splitlines()
    assert len(whole) == 6 and "not in this file" not in whole[-1]
    monkeypatch.setattr(audit_csv, "MOST", 3)
    part = audit_csv.content(filled.audit, "root", actor="ann").decode("utf-8-sig").splitlines()
    assert len(part) == 5 and "older rows fit too and are not in this file, which holds the newest 3" in part[-1]
    assert [row.after for row in filled.audit.find(limit=2, action="audit_exported")] == [
        {"rows": 3, "complete": False}, {"rows": 5, "complete": True},
    ]


def test_where_from_can_be_seen_without_scrolling(filled: Engine) -> None:
    table = trail.table(filled.audit.find(limit=1))
    assert list(table.columns)[-2:] == ["From", "Change"] and table["From"][0] == "10.1.2.3"


def test_a_button_in_a_part_that_runs_alone_is_noted_with_where_it_was_pressed(served: Served) -> None:
    rule = next(rule for rule in SHIPPED if rule.name == "memory")
    served.engine.watch.upkeep.close()
    served.engine.watch.alert_table.apply([Change(kind="opened", rule=rule, subject="m-1", value=0.95, sample=1)], now=datetime.now(UTC), channels=())
    with websocket.opened(served.url, served.sign_in(Role.MANAGER).cookies[COOKIE]) as socket:
        page = websocket.run(socket, page="alerts")
        websocket.run(socket, page="alerts", fragment=min(page.fragments), pressed=page.buttons["Acknowledge"])
    row = served.engine.audit.find(limit=1, action="alert_acknowledged")[0]
    assert (row.actor, row.address) == ("manager", "127.0.0.1")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "pages").glob("*.py") if "st.fragment(" in path.read_text()))
def test_a_part_that_runs_alone_says_first_where_it_comes_from(name: str) -> None:
    tree = ast.parse((ROOT / "pages" / f"{name}.py").read_text())
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and "st.fragment" in " ".join(map(ast.unparse, node.decorator_list))]
    assert parts
    assert {ast.unparse(part.body[1]) for part in parts} == {"here(operator)"}


def test_filters_take_any_text_as_it_is(filled: Engine) -> None:
    for strange in ("%", "_", "\\", "' or 1=1 --", "\x00", "number%"):
        assert filled.audit.find(words=strange) == [] or strange == "\x00"
        assert filled.audit.find(actor=strange) == [] or strange == "\x00"
    assert len(filled.audit.find(words="number")) == 5
