"""The access table: each role holds everything of the role before, and nothing opens that is not in it."""
from __future__ import annotations

import pytest

from engine import access
from engine.access import API, COMMANDS, FILES, PAGES, TABLE, Permission, Role, allowed, may_run, opens
from engine.errors import NotAllowed
from engine.web import resources


def test_each_role_holds_what_the_one_before_holds_and_more() -> None:
    roles = list(Role)
    assert roles == [Role.AGENT, Role.SUPERVISOR, Role.MANAGER, Role.ADMIN]
    for lower, higher in zip(roles, roles[1:], strict=False):
        assert TABLE[lower] < TABLE[higher]
    assert TABLE[Role.ADMIN] == frozenset(Permission)


@pytest.mark.parametrize(("role", "pages"), [
    ("agent", {"submit", "account"}),
    ("supervisor", {"submit", "account", "review", "accuracy"}),
    ("manager", {"submit", "account", "review", "accuracy", "dashboard", "policy", "alerts"}),
    ("admin", set(PAGES)),
])
def test_pages_of_each_role(role: str, pages: set[str]) -> None:
    assert {page for page in PAGES if opens(role, page)} == pages


@pytest.mark.parametrize(("role", "gains"), [
    ("agent", {"POST /tickets", "GET /tickets", "GET /tickets/{ticket_id:path}", "POST /overrules", "GET /departments"}),
    ("supervisor", {"POST /outcomes", "GET /accuracy"}),
    ("manager", {"GET /figures", "GET /policy", "GET /alerts", "GET /metrics"}),
    ("admin", {"GET /users", "GET /health", "GET /audit"}),
])
def test_routes_that_each_role_holds_more_than_the_one_before(role: str, gains: set[str]) -> None:
    def routes(of: str) -> set[str]:
        return {f"{method} {path.removeprefix('/api/v1')}" for (method, path), needed in API.items() if allowed(of, needed)}

    number = list(Role).index(Role(role))
    assert routes(role) - (routes(list(Role)[number - 1]) if number else set()) == gains


def test_files_and_commands_of_each_role() -> None:
    files = {path: [role.value for role in Role if opens(role, page)] for path, page in FILES.items()}
    assert files == {"/files/decisions.csv": ["manager", "admin"], "/files/audit.csv": ["admin"]}
    least = {command: next(role.value for role in Role if allowed(role, needed)) for command, needed in COMMANDS.items()}
    assert least == {
        "route": "agent", "import": "agent", "evaluate": "supervisor", "load": "admin", "user": "admin", "token": "admin", "audit": "admin",
    }


def test_unknown_roles_permissions_and_pages_open_nothing() -> None:
    assert not allowed("root", "users")
    assert not allowed("", "submit")
    assert not allowed("admin", "everything")
    assert not opens("admin", "no_such_page")
    assert not opens("admin", "")


def test_commands_ask_the_same_table() -> None:
    may_run("agent", "route")
    may_run("admin", "purge")
    for command in ("user", "token", "audit", "purge", "migrate", "not yet written"):
        with pytest.raises(NotAllowed):
            may_run("manager", command)


def test_every_api_route_of_the_table_has_a_handler_and_the_other_way_round() -> None:
    assert set(resources.HANDLERS) == {key for key in API if key[1].startswith("/api/")}


def test_every_page_file_is_in_the_table_and_in_the_navigation() -> None:
    from pathlib import Path

    pages = Path(__file__).resolve().parents[2] / "pages"
    files = {path.stem for path in pages.glob("*.py")}
    frame = (pages / "parts" / "frame.py").read_text()
    assert files <= set(access.PAGES)
    assert all(f'("{name}", ' in frame for name in files)
