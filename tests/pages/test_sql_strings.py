"""SQL injection strings through every field of the pages, the columns of their files and the HTML forms: nothing fails, no row moves.

The API's fields and filters have the same test in tests/integration/test_api.py; together they cover tests/inventory.py.
"""
from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from db.session import connect
from engine import imports, taxonomy_csv
from engine.access import Role
from engine.bootstrap import Engine
from engine.domain import Department, TicketDraft
from engine.errors import InputRejected, NotFound
from engine.outcome import Outcome, Overrule
from engine.sanitize import plain_text, remark
from tests import inventory, signin
from tests.serving import Served

ROOT = Path(__file__).resolve().parents[2]
SQL: list[str] = json.loads((ROOT / "tests" / "data" / "hostile_texts.json").read_text())["sql"]
# Postgres takes no NUL, and no query may fail for one.
STRINGS = [*SQL[:100], *SQL[-20:], "'\x00 OR 1=1 --", "\x00"]


def rows(console: Engine) -> dict[str, object]:
    """Number and content of every table that no field of a form may move by itself."""
    pool = connect(console.settings.postgres_url)
    with pool.connect() as connection:
        names = connection.execute(text("select tablename from pg_tables where schemaname = 'public' order by 1")).scalars().all()
        found = {
            name: tuple(connection.execute(text(f'select count(*), coalesce(sum(hashtext(t::text)), 0) from "{name}" t')).one())
            for name in names
        }
        found["columns"] = connection.execute(text("select count(*) from information_schema.columns where table_schema = 'public'")).scalar_one()
    pool.dispose()
    return found


def moved(before: dict[str, object], after: dict[str, object]) -> set[str]:
    """The tables that differ, without those a running console writes by its own clock: statistics, what it reports of itself, alerts."""
    by_itself = ("rollup", "service_minutes", "instances", "alert")
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name) and not name.startswith(by_itself)}


def typed(page: AppTest, key: str, button: str | None = None) -> None:
    for string in STRINGS:
        page.text_input(key=key).set_value(string)
        if button is not None:
            page.button(key=button).click()
        page.run()
        assert not page.exception, string


def test_filters_numbers_and_names_move_nothing(opened: Callable[[str], AppTest], console: Engine) -> None:
    """Audit filter, ticket number, a new user's name, a token's name without a scope."""
    console.router.route(TicketDraft(body="where is my parcel"))
    before = rows(console)
    typed(opened("audit"), "object")
    typed(opened("review"), "looked_up")
    typed(opened("submit"), "open_number_0")
    typed(opened("users"), "new_name", "add_user")
    typed(opened("account"), "token_name", "make_token")
    assert moved(before, rows(console)) <= {"sessions"}


def test_reasons_and_notes_are_stored_as_what_they_are_and_move_nothing_else(opened: Callable[[str], AppTest], console: Engine) -> None:
    decision = console.router.route(TicketDraft(body="where is my parcel"))
    others = [d.name for d in console.taxonomy.departments() if d.name != decision.department]
    before = rows(console)
    page = opened("policy")
    for string in STRINGS[:100]:
        page.text_input(key="policy_reason").set_value(f"why {string}")
        page.button(key="save_policy").click().run()
        assert not page.exception and not page.error, string
        assert console.policies.all()[0].reason == remark(f"why {string}")
    for string in STRINGS:
        console.router.overrule(Overrule(ticket_id=decision.ticket_id, department=others[0], by="boss", reason=string))
        console.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="boss", note=string), learn=False)
        for ticket_id, department in ((decision.ticket_id, f"x{string}"), (f"x{string}", others[0])):
            with pytest.raises((InputRejected, NotFound)):
                console.router.overrule(Overrule(ticket_id=ticket_id, department=department, by="boss"))
    allowed = {"policies", "outcomes", "overrules", "routing_history", "routing_accuracy", "audit_log", "audit_head", "counters", "sessions"}
    assert moved(before, rows(console)) <= allowed


def test_tickets_typed_and_imported_with_injection_strings_add_tickets_alone(opened: Callable[[str], AppTest], console: Engine) -> None:
    before = rows(console)
    page = opened("submit")
    for string in STRINGS[:100]:
        page.text_input(key="subject").set_value(string)
        page.text_input(key="customer_ref").set_value(string[:64])
        page.text_area(key="body").set_value(f"hello {string}")
        page.button[0].click().run()
        assert not page.exception, string
    out = io.StringIO()
    csv.writer(out).writerows([["body", "subject", "customer_ref"], *([f"hello {s}", s, s[:64]] for s in SQL)])
    file = imports.read(out.getvalue().encode(), name="x.csv", router=console.router)
    assert len(imports.run(file, router=console.router, store=console.decisions).decisions) == len(SQL)
    for column in ("channel", "priority", "ticket_id"):
        for string in SQL[:100]:
            out = io.StringIO()
            csv.writer(out).writerows([["body", column], ["hello there", f"'{string}"]])
            with pytest.raises(InputRejected):
                imports.read(out.getvalue().encode(), name="x.csv", router=console.router)
    assert moved(before, rows(console)) <= {"tickets", "routing_history", "sessions", "counters"}


def test_a_taxonomy_of_injection_strings_is_stored_as_what_it_says(console: Engine) -> None:
    """Departments' purposes as the table saves them, then the columns of the three files."""
    for department, string in zip(console.taxonomy.departments(), SQL, strict=False):
        console.taxonomy.save([Department(department.name, plain_text(string))])
    before = rows(console)
    names = [remark(f"D{number} {string}") for number, string in enumerate(SQL)]

    def content(*columns: tuple[str, list[str]]) -> bytes:
        out = io.StringIO()
        csv.writer(out).writerows([[name for name, _ in columns], *zip(*(values for _, values in columns), strict=True)])
        return out.getvalue().encode()

    for string in SQL[:100]:
        with pytest.raises(InputRejected, match="triage is yes or no"):
            taxonomy_csv.departments(content(("department", ["D"]), ("purpose", ["p"]), ("triage", [f"'{string}"])))
    some = taxonomy_csv.departments(content(("department", names), ("purpose", SQL)))
    topics = taxonomy_csv.topics(content(("department", names), ("topic", [f"T{name}" for name in names]), ("purpose", SQL)), some)
    taxonomy_csv.exemplars(content(("text", [f"hello {s}" for s in SQL]), ("department", names), ("topic", [f"T{name}" for name in names])), some, topics)
    console.taxonomy.replace(some, topics)
    assert {d.name for d in console.taxonomy.departments()} == set(names)
    assert moved(before, rows(console)) <= {"departments", "topics", "counters", "attempts", "sessions"}


def test_departments_that_are_added_one_by_one_are_stored_as_what_they_are_and_move_nothing_else(
    opened: Callable[[str], AppTest], console: Engine
) -> None:
    before, known = rows(console), console.taxonomy.departments()
    page = opened("departments")
    for number, string in enumerate(SQL[:40]):
        page.text_input(key=f"department_name_{number}").set_value(f"D{number} {string}"[:120])
        page.text_area(key=f"department_purpose_{number}").set_value(string)
        page.button(key=f"add_department_{number}").click().run()
        assert not page.exception and not page.error, string
    made = {Department(remark(f"D{number} {string}"[:120]), plain_text(string)) for number, string in enumerate(SQL[:40])}
    assert set(console.taxonomy.departments()) == {*known, *made}
    assert moved(before, rows(console)) <= {"departments", "counters", "audit_log", "audit_head", "sessions"}


def test_forms_of_the_sign_in_pages_let_nobody_in_and_move_nothing(served: Served) -> None:
    engine = served.engine
    before = rows(engine)
    http = requests.Session()
    http.headers["X-Forwarded-For"] = "10.9.9.11"
    token = signin.csrf_of(http.get(f"{served.url}/auth/login", timeout=30).text)
    agent = served.sign_in(Role.AGENT)
    own = signin.csrf_of(agent.get(f"{served.url}/auth/password", timeout=30).text)
    for string in STRINGS:
        answers = [
            http.post(f"{served.url}/auth/login", data={"csrf": token, "name": string, "password": string, "next": string}, timeout=30),
            http.post(f"{served.url}/auth/login", data={"csrf": string, "name": "admin", "password": string}, timeout=30),
            agent.post(f"{served.url}/auth/password", data={"csrf": own, "username": string, "old": string, "new": string, "again": string}, timeout=30),
            agent.post(f"{served.url}/auth/logout", data={"csrf": string}, timeout=30),
        ]
        assert all(answer.status_code in (400, 401, 403, 422, 429) for answer in answers), [answer.status_code for answer in answers]
    assert moved(before, rows(engine)) <= {"attempts", "sign_in_attempts", "sessions", "users", "audit_log", "audit_head"}
    assert {row.action for row in engine.audit.find(limit=20)} <= {"signed_in", "user_added"}


def test_every_place_that_takes_text_is_named_here_or_in_the_apis_test() -> None:
    here = {
        "audit/object", "labelling/looked_up", "latest/open_number_*", "people/new_name", "account/token_name", "policy/policy_reason", "labelling/note_*",
        "choice/overrule_reason_*", "draft/subject", "draft/body", "draft/customer_ref", "taxonomy_form/purposes_*",
        "taxonomy_form/department_name_*", "taxonomy_form/department_purpose_*",
    }
    # Numbers only; and what stands in the address is looked up among the options that exist.
    without_words = {"policy_form/policy_departments_*", "policy_form/policy_limits_*", *(name for name in inventory.widgets() if name.startswith("address/"))}
    assert inventory.widgets() == here | without_words
    assert {name.split("/")[0] for name in inventory.columns()} == {"file", "departments_csv", "topics_csv", "exemplars_csv"}
    assert {name.split("/")[0] for name in inventory.form_fields()} == {"sign_in", "sign_out", "password"}
    assert inventory.api_fields() == {f"api/{name}" for name in (
        "action", "actor", "object", "limit", "hours", "ticket_id", "department", "reason", "note", "body", "subject", "channel",
        "customer_ref", "priority", "resolution_hours", "satisfaction",
    )}
