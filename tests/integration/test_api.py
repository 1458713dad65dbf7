"""The API of a served console: each role's token opens the table's routes and no other, and bad input is never an error 500."""
from __future__ import annotations

import json
import random
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import text

from db.session import connect, writing
from engine.access import API, TABLE, Permission, Role
from engine.domain import Origin, TicketDraft
from tests.integration.test_rollups import decision, store
from tests.serving import Served

HOSTILE = json.loads((Path(__file__).resolve().parents[1] / "data" / "hostile_texts.json").read_text())
ROUTES = [key for key in API if key[1].startswith("/api/")]


class Client:
    """Sends JSON with one token."""

    def __init__(self, served: Served, token: str = "") -> None:
        self._http = requests.Session()
        self._url = served.url
        if token:
            self._http.headers["Authorization"] = f"Bearer {token}"

    def __call__(self, method: str, path: str, content: object = None, **more: object) -> requests.Response:
        return self._http.request(method, f"{self._url}{path}", json=content, timeout=60, allow_redirects=False, **more)


@pytest.fixture(scope="module")
def tokens(served: Served) -> dict[Role, str]:
    return {role: served.token(role) for role in Role}


@pytest.fixture(scope="module")
def own_ticket(served: Served, tokens: dict[Role, str]) -> dict[Role, str]:
    """A ticket of each role's own."""
    bodies = {"body": "my package has not arrived yet"}
    return {role: Client(served, token)("POST", "/api/v1/tickets", bodies).json()["ticket_id"] for role, token in tokens.items()}


def ask(client: Client, method: str, path: str, ticket_id: str) -> requests.Response:
    content = {
        "/api/v1/tickets": {"body": "where is my refund"},
        "/api/v1/overrules": {"ticket_id": ticket_id, "department": "no such department"},
        "/api/v1/outcomes": {"ticket_id": ticket_id, "department": "no such department"},
    }.get(path) if method == "POST" else None
    return client(method, path.replace("{ticket_id:path}", ticket_id), content)


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("role", [*Role, None])
def test_each_route_opens_for_the_tables_roles_alone(
    served: Served, tokens: dict[Role, str], own_ticket: dict[Role, str], role: Role | None, method: str, path: str
) -> None:
    answer = ask(Client(served, tokens[role] if role else ""), method, path, own_ticket[role or Role.ADMIN])
    if role is None:
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    elif API[method, path] in TABLE[role]:
        # The two routes that name a department are let in and then refuse the department.
        assert answer.status_code == (422 if path.endswith(("overrules", "outcomes")) else 201 if method == "POST" else 200), answer.text
    else:
        assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_token_without_the_scope_is_refused_whoever_owns_it(served: Served, own_ticket: dict[Role, str], method: str, path: str) -> None:
    others = TABLE[Role.ADMIN] - {API[method, path]}
    token = served.engine.tokens.make(served.engine.accounts.named("admin"), name="some", scopes=others, by="test")
    answer = ask(Client(served, token), method, path, own_ticket[Role.ADMIN])
    assert answer.status_code == 403
    assert answer.json()["error"]["message"].startswith(f"the token needs the scope {API[method, path]},"), "the role is not to blame"


def test_metrics_ask_for_a_token_with_their_scope(served: Served, tokens: dict[Role, str]) -> None:
    statuses = {role: Client(served, token)("GET", "/metrics").status_code for role, token in tokens.items()}
    assert Client(served)("GET", "/metrics").status_code == 401
    assert statuses[Role.AGENT] == statuses[Role.SUPERVISOR] == 403
    assert Permission.METRICS in TABLE[Role.MANAGER] and statuses[Role.MANAGER] not in (401, 403)


def test_a_sessions_cookie_opens_no_api_route(served: Served) -> None:
    http = served.sign_in(Role.ADMIN)
    assert http.get(f"{served.url}/api/v1/users", timeout=30).status_code == 401


def test_agents_see_and_overrule_their_own_tickets_only(served: Served, tokens: dict[Role, str], own_ticket: dict[Role, str]) -> None:
    agent, foreign = Client(served, tokens[Role.AGENT]), own_ticket[Role.SUPERVISOR]
    assert agent("GET", f"/api/v1/tickets/{foreign}").status_code == 404
    department = agent("GET", "/api/v1/departments").json()["departments"][0]["name"]
    assert agent("POST", "/api/v1/overrules", {"ticket_id": foreign, "department": department}).status_code == 404
    assert foreign not in agent("GET", "/api/v1/tickets?limit=200").text
    assert own_ticket[Role.AGENT] in agent("GET", "/api/v1/tickets?limit=200").text
    assert agent("POST", "/api/v1/overrules", {"ticket_id": own_ticket[Role.AGENT], "department": department}).status_code == 201
    everything = Client(served, tokens[Role.SUPERVISOR])("GET", "/api/v1/tickets?limit=200").text
    assert all(ticket in everything for ticket in own_ticket.values())


def test_a_token_for_labels_labels_any_ticket_and_reads_none(served: Served, tokens: dict[Role, str], own_ticket: dict[Role, str]) -> None:
    supervisor = served.engine.accounts.named("supervisor")
    scopes = ["review", "submit", "own_tickets", "overrule"]
    client = Client(served, served.engine.tokens.make(supervisor, name="quality", scopes=scopes, by="test"))
    foreign = own_ticket[Role.MANAGER]
    department = client("GET", "/api/v1/departments").json()["departments"][0]["name"]
    answer = client("POST", "/api/v1/outcomes", {"ticket_id": foreign, "department": department})
    assert answer.status_code == 201, answer.text
    assert client("GET", f"/api/v1/tickets/{foreign}").status_code == 404
    assert client("POST", "/api/v1/overrules", {"ticket_id": foreign, "department": department}).status_code == 404
    assert foreign not in client("GET", "/api/v1/tickets?limit=200").text
    assert client("POST", "/api/v1/outcomes", {"ticket_id": "T-nobodys", "department": department}).status_code == 404


def test_the_list_says_what_was_decided_beside_where_the_ticket_is(served: Served, tokens: dict[Role, str]) -> None:
    agent = Client(served, tokens[Role.AGENT])
    made = agent("POST", "/api/v1/tickets", {"body": "you took the money twice for my october bill"}).json()
    other = next(d["name"] for d in agent("GET", "/api/v1/departments").json()["departments"] if d["name"] != made["department"])
    agent("POST", "/api/v1/overrules", {"ticket_id": made["ticket_id"], "department": other})
    row = next(row for row in agent("GET", "/api/v1/tickets").json()["tickets"] if row["id"] == made["ticket_id"])
    assert (row["department"], row["decided"], row["confidence"]) == (other, made["department"], pytest.approx(made["confidence"], abs=1e-4))
    # Blanks around a name are no other name.
    agent("POST", "/api/v1/overrules", {"ticket_id": made["ticket_id"], "department": f" {made['department']} "})
    row = next(row for row in agent("GET", "/api/v1/tickets").json()["tickets"] if row["id"] == made["ticket_id"])
    assert (row["department"], row["chosen"], row["labelled_as"]) == (made["department"], made["department"], None)
    assert agent("GET", f"/api/v1/tickets/{made['ticket_id']}").json()["chosen"] == made["department"]


def test_an_overrule_says_that_a_label_stands_and_that_a_department_is_retired(served: Served, tokens: dict[Role, str]) -> None:
    agent, supervisor = Client(served, tokens[Role.AGENT]), Client(served, tokens[Role.SUPERVISOR])
    ticket_id = agent("POST", "/api/v1/tickets", {"body": "the courier rang at the wrong house"}).json()["ticket_id"]
    first, second = [d["name"] for d in agent("GET", "/api/v1/departments").json()["departments"]][:2]
    choice = {"ticket_id": ticket_id, "department": first}
    assert agent("POST", "/api/v1/overrules", choice).json() == {**choice, "labelled_as": None}
    assert supervisor("POST", "/api/v1/outcomes", {"ticket_id": ticket_id, "department": second, "resolution_hours": 0}).status_code == 422
    assert supervisor("POST", "/api/v1/outcomes", {"ticket_id": ticket_id, "department": second}).status_code == 201
    assert agent("POST", "/api/v1/overrules", choice).json() == {**choice, "labelled_as": second}
    database = connect(served.settings.postgres_url)
    try:
        with writing(database) as connection:
            connection.execute(text("insert into departments (name, purpose, live) values ('Old Desk', '', false)"))
    finally:
        database.dispose()
    answer = agent("POST", "/api/v1/overrules", {"ticket_id": ticket_id, "department": "Old Desk"})
    assert answer.status_code == 422 and "'Old Desk' is retired" in answer.text


def test_a_label_is_kept_with_all_that_was_sent_and_numbers_are_numbers(served: Served, tokens: dict[Role, str]) -> None:
    supervisor = Client(served, tokens[Role.SUPERVISOR])
    ticket_id = supervisor("POST", "/api/v1/tickets", {"body": "the parcel was left with a neighbour"}).json()["ticket_id"]
    department = supervisor("GET", "/api/v1/departments").json()["departments"][0]["name"]
    label = {"ticket_id": ticket_id, "department": department}
    for wrong in ({"resolution_hours": True}, {"satisfaction": True}, {"satisfaction": 4.5}, {"resolution_hours": "1"}):
        answer = supervisor("POST", "/api/v1/outcomes", {**label, **wrong})
        assert answer.status_code == 422 and answer.json()["error"]["message"].startswith(f"{next(iter(wrong))}: a "), wrong
    # An id with a sign that no id has is no other ticket's.
    assert supervisor("POST", "/api/v1/outcomes", {**label, "ticket_id": f"{ticket_id}\x00"}).status_code == 404
    given = {"resolution_hours": 1.5, "satisfaction": 4.0, "note": "called back"}
    assert supervisor("POST", "/api/v1/outcomes", {**label, **given}).status_code == 201
    database = connect(served.settings.postgres_url)
    try:
        with writing(database) as connection:
            row = connection.execute(text("select * from outcomes where ticket_id = :id"), {"id": ticket_id}).one()
    finally:
        database.dispose()
    assert (row.resolution_time_hours, row.customer_satisfaction, row.note, row.labelled_by) == (1.5, 4, "called back", "supervisor")
    assert served.engine.decisions.find(ticket_id)[0].origin is Origin.API


def test_the_figures_leave_demo_tickets_out(served: Served, tokens: dict[Role, str]) -> None:
    manager = Client(served, tokens[Role.MANAGER])
    before = manager("GET", "/api/v1/figures").json()["n"]
    served.engine.router.route(TicketDraft(body="a ticket of the demo, which nobody has sent", origin=Origin.DEMO))
    assert manager("GET", "/api/v1/figures").json()["n"] == before
    manager("POST", "/api/v1/tickets", {"body": "a ticket that somebody has sent"})
    assert manager("GET", "/api/v1/figures").json()["n"] == before + 1


@pytest.mark.parametrize(("path", "most"), [("/api/v1/tickets?limit=", 200), ("/api/v1/audit?limit=", 1000), ("/api/v1/figures?hours=", 8784)])
def test_lists_and_times_have_their_bounds(served: Served, tokens: dict[Role, str], path: str, most: int) -> None:
    admin = Client(served, tokens[Role.ADMIN])
    assert [admin("GET", f"{path}{number}").status_code for number in (0, 1, most, most + 1)] == [422, 200, 200, 422]


def test_a_list_holds_the_newest_and_no_more_than_were_asked_for(served: Served, tokens: dict[Role, str]) -> None:
    agent = Client(served, tokens[Role.AGENT])
    drafts = [TicketDraft(body=f"where is my parcel number {number}", created_by="agent") for number in range(19)]
    served.engine.router.route_tickets([served.engine.router.admit(draft) for draft in drafts])
    ids = [agent("POST", "/api/v1/tickets", {"body": f"where is my bill number {number}"}).json()["ticket_id"] for number in range(2)]
    listed = [[row["id"] for row in agent("GET", f"/api/v1/tickets{query}").json()["tickets"]] for query in ("?limit=1", "?limit=21", "")]
    assert [len(one) for one in listed] == [1, 21, 20]
    assert [one[:2] for one in listed] == [[ids[1]], [ids[1], ids[0]], [ids[1], ids[0]]]


def test_the_audit_log_is_filtered_by_who_what_and_to_what(served: Served, tokens: dict[Role, str]) -> None:
    agent, supervisor, admin = (Client(served, tokens[role]) for role in (Role.AGENT, Role.SUPERVISOR, Role.ADMIN))
    one, other = (agent("POST", "/api/v1/tickets", {"body": f"the lamp number {number} is broken"}).json() for number in range(2))
    names = [d["name"] for d in agent("GET", "/api/v1/departments").json()["departments"] if d["name"] != one["department"]]
    for client, made, department in ((agent, one, names[0]), (agent, other, names[0]), (supervisor, one, names[1]), (agent, one, one["department"])):
        chosen = {"ticket_id": made["ticket_id"], "department": department}
        assert client("POST", "/api/v1/overrules", chosen).status_code == 201

    def found(**filters: object) -> list[tuple[str, str]]:
        rows = admin("GET", "/api/v1/audit", params={"object": one["ticket_id"], **filters}).json()["rows"]
        return [(row["actor"], row["action"]) for row in rows if row["object"] == one["ticket_id"] or pytest.fail(str(row))]

    every = [("agent", "ticket_confirmed"), ("supervisor", "ticket_overruled"), ("agent", "ticket_overruled")]
    assert found() == every
    assert found(actor="agent") == [every[0], every[2]]
    assert found(action="ticket_overruled") == every[1:]
    assert found(actor="agent", action="ticket_overruled") == every[2:]
    assert found(limit=2) == every[:2]


def test_the_figures_are_those_of_the_hours_that_were_asked_for(served: Served, tokens: dict[Role, str]) -> None:
    manager = Client(served, tokens[Role.MANAGER])

    def n(hours: int) -> int:
        return manager("GET", f"/api/v1/figures?hours={hours}").json()["n"]

    # The first real ticket would turn the demo tickets away between two looks.
    manager("POST", "/api/v1/tickets", {"body": "where is the refund of last week"})
    before = {hours: n(hours) for hours in (2, 30)}
    pool = connect(served.settings.postgres_url)
    store(pool, decision(4711, random.Random(1), at=datetime.now(UTC) - timedelta(hours=3), demo=False))
    pool.dispose()
    assert {hours: n(hours) - before[hours] for hours in before} == {2: 0, 30: 1}


def test_a_decision_comes_back_and_can_be_read_again(served: Served, tokens: dict[Role, str]) -> None:
    client = Client(served, tokens[Role.AGENT])
    made = client("POST", "/api/v1/tickets", {"body": "you took the money twice for my october bill", "channel": "email"})
    assert made.status_code == 201 and 0 <= made.json()["confidence"] <= 1
    again = client("GET", f"/api/v1/tickets/{made.json()['ticket_id']}").json()
    assert again["decision"]["department"] == made.json()["department"]
    assert again["ticket"]["body"] == "you took the money twice for my october bill"
    assert again["ticket"]["created_by"] == "agent"


@pytest.mark.parametrize(("content", "status"), [
    ({}, 422), ({"body": ""}, 422), ({"body": 7}, 422), ({"body": None}, 422), ({"body": "x" * 30_000}, 422), ({"body": "\x00\x00\x00\x00\x00"}, 422),
    ({"body": "hello there", "priority": "now"}, 422), ({"body": "hello there", "created_by": "admin"}, 422), ([], 422), ("x", 422), (3, 422),
    ({"body": "hello there", "ticket_id": "a\x00b"}, 422), ({"body": "hello there", "ticket_id": "\ud800"}, 422),
    ({"body": "hello there", "ticket_id": "a b"}, 422), ({"body": "hello there", "subject": {"a": 1}}, 422), ({"body": "x" * 200_000}, 413),
    ({"body": "hello there", "channel": "\ud800"}, 422), ({"body": "hello \ud800 there my friend"}, 201), ({"body": "hello\x00 there friend"}, 201),
])
def test_bad_tickets_are_refused_with_a_reason_and_strange_signs_are_cleaned(
    served: Served, tokens: dict[Role, str], content: object, status: int
) -> None:
    answer = Client(served, tokens[Role.AGENT])("POST", "/api/v1/tickets", content)
    assert answer.status_code == status, answer.text
    assert status == 201 or answer.json()["error"]["message"]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"body": "hello there"} x'])
def test_bodies_that_are_no_json_are_refused(served: Served, tokens: dict[Role, str], data: bytes) -> None:
    headers = {"Authorization": f"Bearer {tokens[Role.AGENT]}", "Content-Type": "application/json"}
    assert requests.post(f"{served.url}/api/v1/tickets", data=data, headers=headers, timeout=30).status_code == 422


@pytest.mark.parametrize("chunks", [False, True], ids=["with its length", "in chunks"])
def test_a_body_has_128_kib_at_most_however_it_is_sent(served: Served, tokens: dict[Role, str], chunks: bool) -> None:
    headers = {"Authorization": f"Bearer {tokens[Role.AGENT]}"}
    for size, status in ((131_072, 422), (131_073, 413)):
        data = b"x" * size
        answer = requests.post(f"{served.url}/api/v1/tickets", data=iter([data[:70_000], data[70_000:]]) if chunks else data, headers=headers, timeout=30)
        assert answer.status_code == status


def test_who_hangs_up_in_the_middle_stores_nothing_and_is_no_error_of_the_console(served: Served, tokens: dict[Role, str]) -> None:
    head = f"POST /api/v1/tickets HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {tokens[Role.AGENT]}\r\nContent-Length: 500\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(head.encode() + b'{"body": "half of a ticket", "ticket_id": "half-1"}')
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert Client(served, tokens[Role.AGENT])("GET", "/api/v1/tickets/half-1").status_code == 404
    assert "ClientDisconnect" not in served.logged() and "Exception in ASGI application" not in served.logged()


def test_a_label_that_comes_by_a_token_is_noted_with_where_from(served: Served, tokens: dict[Role, str], own_ticket: dict[Role, str]) -> None:
    ticket_id, department = own_ticket[Role.SUPERVISOR], served.engine.taxonomy.departments()[0].name
    answer = Client(served, tokens[Role.SUPERVISOR])("POST", "/api/v1/outcomes", {"ticket_id": ticket_id, "department": department})
    assert answer.status_code == 201
    row = served.engine.audit.find(limit=1, words=ticket_id)[0]
    assert (row.actor, row.address) == ("supervisor", "127.0.0.1")


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/api", 401), ("GET", "/api/", 404), ("GET", "/api/v1", 404), ("GET", "/api/v2/tickets", 404), ("POST", "/api/v1/nothing", 404),
    ("DELETE", "/api/v1/tickets", 405), ("PUT", "/api/v1/users", 405), ("GET", "/api/v1/outcomes", 405), ("GET", "/auth/nothing", 404),
])
def test_unknown_paths_and_methods_never_answer_with_a_page(served: Served, method: str, path: str, status: int) -> None:
    answer = requests.request(method, f"{served.url}{path}", timeout=30)
    assert answer.status_code == status and "<html" not in answer.text


def test_a_key_that_is_there_twice_is_refused_whichever_it_is(served: Served, tokens: dict[Role, str]) -> None:
    headers = {"Authorization": f"Bearer {tokens[Role.AGENT]}"}
    many = ", ".join(f'"k{number}": 1' for number in range(9_000))
    for body, name in (('{"body": "where is my parcel", "body": "someone stole my card"}', "body"), (f'{{{many}, "k8999": 2}}', "k8999")):
        answer = requests.post(f"{served.url}/api/v1/tickets", data=body, headers=headers, timeout=30)
        assert answer.status_code == 422
        assert answer.json()["error"]["message"] == f"{name}: is there twice. Nothing was stored: send it once."


def test_limits_say_when_to_come_back(served: Served) -> None:
    token = served.engine.tokens.make(served.engine.accounts.named("agent"), name="busy", scopes=["submit"], by="test")
    holder = served.engine.tokens.find(token).token_id
    for _ in range(2):
        served.engine.limits._counter.add(f"api:{holder}:{int(served.engine.limits._clock().timestamp() // 60)}", amount=600, seconds=120)
        answer = Client(served, token)("GET", "/api/v1/departments")
        if answer.status_code == 429:
            break
    assert answer.status_code == 429 and 1 <= int(answer.headers["retry-after"]) <= 60


def test_who_waits_as_long_as_told_is_not_refused_again(served: Served) -> None:
    """Asked at different moments of a second: half of them were told the second before."""
    token = served.engine.tokens.make(served.engine.accounts.named("agent"), name="patient", scopes=["submit"], by="test")
    holder, client = served.engine.tokens.find(token).token_id, Client(served, token)
    for _ in range(9):
        window = int(served.engine.limits._clock().timestamp() // 60)
        served.engine.limits._counter.add(f"api:{holder}:{window}", amount=600, seconds=120)
        answer = client("GET", "/api/v1/departments")
        # Unless a minute has begun in between.
        if answer.status_code == 429:
            told = int(answer.headers["retry-after"])
            assert served.engine.limits._clock().timestamp() + told >= 60 * (window + 1)
            assert f"Wait {told} s and send it again" in answer.json()["error"]["message"]
        time.sleep(0.12)


def test_tickets_are_limited_by_user_whichever_of_the_tokens_sends_them(served: Served) -> None:
    user, _ = served.engine.accounts.add("sends-much", role=Role.AGENT, by="test", password="green-river-table-9", must_change=False)
    one, other = (served.engine.tokens.make(user, name="m", scopes=["submit"], by="test") for _ in range(2))
    for token in (one, other, one, other):
        served.engine.limits._counter.add(f"submit:{user.name}:{int(served.engine.limits._clock().timestamp() // 60)}", amount=600, seconds=120)
        answer = Client(served, token)("POST", "/api/v1/tickets", {"body": "one ticket too many"})
        # Unless a minute has begun in between.
        if token == other and answer.status_code == 429:
            break
    assert answer.status_code == 429 and 1 <= int(answer.headers["retry-after"]) <= 60
    assert Client(served, other)("GET", "/api/v1/departments").status_code == 200


def test_injection_strings_change_no_row_and_never_fail(served: Served, tokens: dict[Role, str]) -> None:
    """Every string in every field and filter; tickets may be stored, nothing else may move."""
    served.engine.limits._counter.add("x", amount=1, seconds=1)
    strings = HOSTILE["sql"]
    assert len(strings) >= 100
    pool = connect(served.settings.postgres_url)

    def rows() -> dict[str, object]:
        with pool.connect() as connection:
            tables = ("departments", "topics", "users", "policies", "exemplars", "outcomes", "overrules", "routing_accuracy", "models", "tokens")
            found = {name: connection.execute(text(f"select count(*), coalesce(sum(hashtext(t::text)), 0) from {name} t")).one()
                     for name in tables if name not in ("tokens", "models")}
            found["schema"] = connection.execute(text("select count(*) from information_schema.columns where table_schema = 'public'")).one()
            found["audited"] = connection.execute(text("select count(*) from audit_log where action not in ('signed_in', 'token_made')")).one()
            return found

    # Tokens of their own, each with less than its limit: this is about injection.
    clients = [Client(served, served.token(Role.ADMIN)) for _ in range(1 + len(strings) * 7 // 500)]
    before, sent, statuses = rows(), 0, set()
    for string in strings:
        asked = [
            ("GET", "/api/v1/audit", None, {"actor": string}), ("GET", "/api/v1/audit", None, {"action": string, "object": string}),
            ("GET", "/api/v1/tickets", None, {"limit": string}), ("GET", "/api/v1/figures", None, {"hours": string}),
            ("GET", f"/api/v1/tickets/{requests.utils.quote(string, safe='')}", None, {}),
            ("POST", "/api/v1/overrules", {"ticket_id": string, "department": string, "reason": string}, {}),
            ("POST", "/api/v1/outcomes", {"ticket_id": string, "department": string, "note": string}, {}),
        ]
        for method, path, content, query in asked:
            answer = clients[sent // 500](method, path, content, params=query)
            sent += 1
            statuses.add(answer.status_code)
            assert answer.status_code < 500, (string, path, answer.text)
    assert statuses == {200, 404, 422}
    with_ids = [{"body": "hello there", "ticket_id": s, "channel": s, "customer_ref": s, "priority": s} for s in strings[:100]]
    agent = Client(served, served.token(Role.AGENT))
    for content in with_ids:
        assert agent("POST", "/api/v1/tickets", content).status_code in (422, 429)
    assert rows() == before
    pool.dispose()


def test_injection_strings_as_tickets_come_back_as_they_were_sent(served: Served) -> None:
    """Through the same router as the API, in one batch, so that no limit is in the way."""
    from engine.errors import TicketRejected

    router, kept = served.engine.router, []
    for string in HOSTILE["sql"]:
        try:
            kept.append(router.admit(TicketDraft(body=string, subject=string[:200], customer_ref=string[:64])))
        except TicketRejected:
            continue
    assert len(kept) >= 100
    for decided, ticket in zip(router.route_tickets(kept), kept, strict=True):
        assert served.engine.decisions.find(decided.ticket_id)[0].body == ticket.body


def test_the_log_holds_no_secret_and_no_customers_words(served: Served, tokens: dict[Role, str]) -> None:
    words = {"body": "my xylophone 4111 1111 1111 1111 for ann.secret@example.com", "subject": "glockenspiel", "customer_ref": "C-TUBA"}
    client = Client(served, tokens[Role.AGENT])
    made = client("POST", "/api/v1/tickets", words)
    client("POST", "/api/v1/tickets", {**words, "priority": "marimba"})
    client("POST", "/api/v1/overrules", {"ticket_id": made.json()["ticket_id"], "department": "marimba", "reason": "vibraphone"})
    assert made.json()["ticket_id"] in served.logged(), "the log is the right one"
    assert served.leaked("xylophone", "4111", "ann.secret", "glockenspiel", "C-TUBA", "marimba", "vibraphone", *HOSTILE["sql"][20:40]) == []
