"""docs/api.md is true: its routes and scopes are the table's, and its examples have the fields that a served console takes and gives."""
from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.session import connect, writing
from engine.access import API, Permission, Role
from engine.decision_json import as_dict
from engine.domain import Limits, Spooled, Thresholds
from engine.web.api import _STATUS
from tests.integration.test_api import Client
from tests.serving import Served

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
SECTIONS = {
    (method, path): section for method, path, section in re.findall(r"^### (GET|POST) (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
}
# What is named in an example because there is some, not because there is always one.
NAMED = {"timings_ms", "versions", "departments", "limits", "before", "after"}


def examples(method: str, path: str) -> list[Any]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", SECTIONS[method, path], re.S)]


def shape(value: Any, name: str = "") -> Any:
    """Names of fields at every depth; what several rows of a list have in common is told by the first."""
    if isinstance(value, dict):
        return "names" if name in NAMED else {key: shape(inner, key) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else "list"
    return "text" if isinstance(value, str) else "value"


@pytest.fixture(scope="module")
def answers(served: Served) -> dict[tuple[str, str], Any]:
    """What each route answers to the page's own examples, in an order in which each finds something to tell."""
    engine = served.engine
    department = engine.taxonomy.departments()[0].name
    live = engine.policies.live()
    client = Client(served, served.token(Role.ADMIN))
    found: dict[tuple[str, str], Any] = {}
    for method, path in (("POST", "/api/v1/tickets"), ("POST", "/api/v1/overrules"), ("POST", "/api/v1/outcomes")):
        content = examples(method, path)[0]
        if "department" in content:
            content["department"] = department
        answer = client(method, path, content)
        assert answer.status_code == 201, answer.text
        found[method, path] = answer.json()
    pool = connect(served.settings.postgres_url)
    with writing(pool) as connection:
        connection.execute(text(
            "insert into alerts (rule, subject, severity, message, value, opened_at) values ('made', '', 'warning', 'made', 1, now())"
        ))
    pool.dispose()
    own = {**live.departments, department: Thresholds(auto=0.8, preselect=0.6)}
    limits = {department: Limits(accuracy=0.75)}
    engine.policies.add(replace(live, departments=own, limits=limits), author="test", reason="so that a department has thresholds and limits of its own")
    for method, path in API:
        if method == "GET" and path.startswith("/api/"):
            answer = client("GET", path.replace("{ticket_id:path}", "crm-48213"))
            assert answer.status_code == 200, answer.text
            found[method, path.replace(":path", "")] = answer.json()
    return found


def test_the_page_names_each_route_with_its_scope_and_no_other() -> None:
    assert set(SECTIONS) == {(method, path.replace(":path", "")) for method, path in API}
    for (method, path), permission in API.items():
        section = SECTIONS[method, path.replace(":path", "")]
        assert re.match(r"\s*Scope `(\w+)`", section)[1] == permission, (method, path)
    assert set(re.findall(r"[Ss]cope `(\w+)`", PAGE)) <= {permission.value for permission in Permission}


def test_the_page_names_each_kind_of_error_with_its_status() -> None:
    table = {kind: int(status) for status, kind in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.M)}
    assert {kind: status for _, status, kind in _STATUS}.items() <= table.items()
    assert table.keys() - {kind for _, _, kind in _STATUS} == {"token", "method", "too_large", "internal"}


@pytest.mark.parametrize(("method", "path"), [key for key in SECTIONS if key[1].startswith("/api/")])
def test_each_answer_has_the_fields_of_the_page(answers: dict[tuple[str, str], Any], method: str, path: str) -> None:
    shown = examples(method, path)[1 if method == "POST" else 0]
    if path.endswith("{ticket_id}"):
        shown["decision"] = {**examples("POST", "/api/v1/tickets")[1], "evidence": answers[method, path]["decision"]["evidence"]}
    assert shape(answers[method, path]) == shape(shown)


def test_a_ticket_that_waits_on_disk_has_the_fields_of_the_page() -> None:
    waiting = as_dict(Spooled(ticket_id="crm-48213", kept_at=datetime.now(UTC), reason="the database does not answer"))
    assert shape(waiting) == shape(examples("POST", "/api/v1/tickets")[2])
