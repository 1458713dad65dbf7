"""The gate of a served console: who gets in, by which door, with which cookie; over HTTP and by a raw websocket."""
from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from itsdangerous import Signer
from sqlalchemy import text
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from db.session import connect
from engine.access import PAGES, Role, opens
from engine.domain import TicketDraft
from engine.web.gate import COOKIE, LONGEST_MESSAGE
from engine.web.signin import BROWSER, CSRF
from tests import signin, websocket
from tests.serving import ROOT, Served

HTML = {"Accept": "text/html,*/*;q=0.8"}
TLS = {"X-Forwarded-Proto": "https"}
EXISTING = [name for name in PAGES if (ROOT / "pages" / f"{name}.py").exists()]


def get(served: Served, path: str, **more: object) -> requests.Response:
    return requests.get(f"{served.url}{path}", allow_redirects=False, timeout=30, **more)


def cookies_of(answer: requests.Response) -> dict[str, str]:
    """How the answer sets its cookies, by their names."""
    lines = [line.split("; ") for line in answer.raw.headers.getlist("set-cookie")]
    return {first.partition("=")[0]: "; ".join(sorted(one for one in more if not one.startswith("expires="))) for first, *more in lines}


def cookie_of(http: requests.Session) -> str:
    return http.cookies[COOKIE]


def refused(served: Served, cookie: str = "", **headers: str) -> int:
    """The status with which the websocket is refused; 101 when it is opened."""
    try:
        with websocket.opened(served.url, cookie, **headers):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


# The first test asks a fresh server, on which no page has run yet.
def test_a_fresh_server_runs_no_page_for_strangers_whatever_they_ask_first(served: Served) -> None:
    assert refused(served) == 403
    for name in EXISTING:
        answer = get(served, f"/{name}", headers=HTML)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/auth/login?next=/{name}")
        assert get(served, f"/{name}").status_code == 401


def test_a_fresh_server_opens_an_agents_first_page_only_if_the_table_says_so(served: Served) -> None:
    with websocket.opened(served.url, cookie_of(served.sign_in(Role.AGENT))) as socket:
        first = websocket.run(socket, page="users")
    assert "Users" not in first.headings
    assert set(first.pages) - {""} <= {"submit", "account"}


@pytest.mark.parametrize("path", [
    "/", "/_stcore/stream", "/_stcore/metrics", "/_stcore/upload_file/a/b", "/media/abc.csv", "/component/x/index.html", "/_stcore/agent/interact",
    "/_stcore/agent/openapi.json", "/metrics", "//auth/login", "/static/../users", "/Auth/login", "/favicon.ico", "/_stcore/health/../stream",
    "/docs", "/app.py", "/.env", "/page.js", "/_stcore/script-health-check",
])
def test_everything_but_the_few_open_paths_asks_strangers_to_sign_in(served: Served, path: str) -> None:
    prepared = requests.Request("GET", served.url + "/").prepare()
    prepared.url = served.url + path
    with requests.Session() as http:
        answer = http.send(prepared, allow_redirects=False, timeout=30)
    assert answer.status_code in (400, 401, 403, 404)
    assert "stApp" not in answer.text and "<script" not in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/auth/login", "/auth/style.css", "/_stcore/health", "/_stcore/host-config", "/favicon.png"])
def test_sign_in_health_and_static_files_are_open(served: Served, path: str) -> None:
    assert get(served, path).status_code == 200


HOLDERS = {
    **dict.fromkeys(("review", "accuracy"), "supervisors, managers and admins"), **dict.fromkeys(("dashboard", "policy", "alerts"), "managers and admins"),
    **dict.fromkeys(("departments", "system", "users", "audit"), "admins"),
}


@pytest.mark.parametrize("role", Role)
def test_each_role_opens_exactly_the_tables_pages_by_url_and_by_script_hash(served: Served, role: Role) -> None:
    with websocket.opened(served.url, cookie_of(served.sign_in(Role.ADMIN))) as socket:
        titles = {page: websocket.run(socket, page="" if page == "submit" else page).headings[0] for page in EXISTING}
        hashes = websocket.run(socket).pages
    hashes["submit"] = hashes.get("submit") or hashes[""]
    assert len(set(titles.values())) == len(EXISTING)
    with websocket.opened(served.url, cookie_of(served.sign_in(role))) as socket:
        for page in EXISTING:
            may = opens(role, page)
            by_url = websocket.run(socket, page="" if page == "submit" else page)
            assert (titles[page] in by_url.headings) is may, f"{role} asked for {page}"
            refusal = f"This page is not open to your role, {role}. It opens for {HOLDERS.get(page)}. Ask an admin if you need it."
            assert any(refusal in text for text in by_url.texts) is not may
            by_hash = websocket.run(socket, script_hash=hashes[page])
            assert may or titles[page] not in by_hash.headings, f"{role} asked for the script of {page}"


def test_identity_headers_from_outside_are_ignored(served: Served) -> None:
    spoofed = {"X_Console_User": "admin", "X_Console_Role": "admin", "X_Console_Sid": served.engine.sessions.key_of(cookie_of(served.sign_in("admin")))}
    assert refused(served, **spoofed) == 403
    assert get(served, "/", headers={name.replace("_", "-"): value for name, value in spoofed.items()}).status_code == 401
    with websocket.opened(served.url, cookie_of(served.sign_in(Role.AGENT)), **spoofed) as socket:
        shown = websocket.run(socket, page="users")
    assert "Users" not in shown.headings and "users" not in shown.pages
    assert any("not open to your role, agent." in text for text in shown.texts)
    assert any("agent (agent)" in text for text in shown.texts)


def test_forged_and_damaged_cookies_are_refused(served: Served) -> None:
    good = cookie_of(served.sign_in(Role.ADMIN))
    secret, _, signature = good.rpartition(".")
    key = served.engine.sessions.key_of(good)
    others = Signer("another secret that is long enough", salt="console.session").sign(secret).decode()
    for bad in (secret, good[:-1], good + "A", f"{secret}.{signature[::-1]}", f"x{good}", others, key, "", ".", "%00", "a" * 5000, '"', "null"):
        assert refused(served, bad) == 403, bad
        assert get(served, "/", headers={"Cookie": f"{COOKIE}={bad}"}).status_code in (400, 401), bad
    assert refused(served, good) == 101


def test_a_cookie_that_was_signed_out_cannot_be_replayed(served: Served) -> None:
    http = served.sign_in(Role.AGENT)
    stolen = cookie_of(http)
    assert refused(served, stolen) == 101
    assert signin.post_form(http, f"{served.url}/auth/logout").status_code == 303
    assert refused(served, stolen) == 403


def test_signing_in_again_rotates_the_secret_and_ends_the_earlier_session(served: Served) -> None:
    http = served.sign_in(Role.AGENT)
    first = cookie_of(http)
    token = signin.csrf_of(http.get(f"{served.url}/auth/logout", timeout=30).text)
    fields = {"csrf": token, "name": "agent", "password": served.words[Role.AGENT]}
    assert http.post(f"{served.url}/auth/login", data=fields, allow_redirects=False, timeout=30).status_code == 303
    assert cookie_of(http) != first
    served.secrets.append(cookie_of(http))
    assert (refused(served, first), refused(served, cookie_of(http))) == (403, 101)


def test_a_planted_cookie_is_never_taken_over(served: Served) -> None:
    http = requests.Session()
    http.cookies.set(COOKIE, "planted.value")
    answer = signin.post_form(http, f"{served.url}/auth/login", name="agent", password=served.words[Role.AGENT])
    assert "planted" not in answer.headers["set-cookie"]


def test_a_websocket_under_one_cookie_stays_that_users(served: Served) -> None:
    with websocket.opened(served.url, cookie_of(served.sign_in(Role.AGENT))) as socket:
        websocket.run(socket)
        served.sign_in(Role.ADMIN)
        again = websocket.run(socket, page="users")
    assert any("agent (agent)" in text for text in again.texts)


def test_disabling_a_user_ends_open_pages_at_once(served: Served) -> None:
    served.engine.accounts.add("leaver", role=Role.MANAGER, by="test", password="tall-lamp-and-coin", must_change=False)
    cookie = cookie_of(signin.signed_in(served.url, "leaver", "tall-lamp-and-coin"))
    with websocket.opened(served.url, cookie) as socket:
        assert websocket.run(socket, page="dashboard").headings
        served.engine.accounts.disable("leaver", by="test")
        with pytest.raises(ConnectionClosed) as closed:
            websocket.run(socket, page="dashboard")
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
    assert refused(served, cookie) == 403
    http = requests.Session()
    answer = signin.post_form(http, f"{served.url}/auth/login", name="leaver", password="tall-lamp-and-coin")
    assert (answer.status_code, "Name or password is wrong" in answer.text) == (401, True)


def holding(call: str) -> list[str]:
    """The pages in whose file this call stands in the source."""
    return [name for name in EXISTING if call in (ROOT / "pages" / f"{name}.py").read_text()]


def told_to_load_again(came: list[ForwardMsg], *, at: str = "") -> bool:
    """True when a page got the message that makes it load again, at its own address or `at` another, and nothing to show before it."""
    kinds = [message.WhichOneof("type") for message in came]
    # Streamlit tells by itself, now and then, that no script runs.
    return set(kinds) <= {"session_status_changed", "auth_redirect"} and kinds[-1] == "auth_redirect" and came[-1].auth_redirect.url == at


def demoted(served: Served, name: str, page: str) -> tuple[str, websocket.Run, ClientConnection, ExitStack]:
    """Somebody who opened a page as an admin and is an agent now."""
    served.engine.accounts.add(name, role=Role.ADMIN, by="test", password="tall-lamp-and-coin", must_change=False)
    cookie = cookie_of(signin.signed_in(served.url, name, "tall-lamp-and-coin"))
    stack = ExitStack()
    socket = stack.enter_context(websocket.opened(served.url, cookie))
    shown = websocket.run(socket, page=page)
    assert len(shown.headings) > 0
    served.engine.accounts.set_role(name, "agent", by="test")
    return cookie, shown, socket, stack


def test_a_new_role_counts_in_pages_that_are_open_already(served: Served) -> None:
    cookie, _, socket, stack = demoted(served, "climber", "users")
    with stack:
        came, code = websocket.until_closed(socket, websocket.wanted(page="users"))
    assert (told_to_load_again(came), code) == (True, 1008)
    with websocket.opened(served.url, cookie) as socket:
        assert "Users" not in websocket.run(socket, page="users").headings


@pytest.mark.parametrize("page", holding("st.fragment("))
def test_a_new_role_counts_in_parts_that_refresh_by_themselves(served: Served, page: str) -> None:
    served.engine.router.route(TicketDraft(body="where is my parcel"))
    cookie, shown, socket, stack = demoted(served, f"{page}-watcher", page)
    assert shown.fragments, f"{page} refreshes nothing"
    with stack:
        came, code = websocket.until_closed(socket, websocket.wanted(page=page, fragment=min(shown.fragments)))
    assert (told_to_load_again(came), code) == (True, 1008)
    # Nor does a new connection take up the old visit with its parts.
    with websocket.opened(served.url, cookie, resume=shown.session) as socket:
        socket.send(websocket.wanted(page=page, fragment=min(shown.fragments)))
        again = websocket.run(socket, page=page)
    assert again.session and again.session != shown.session
    assert shown.headings[0] not in again.headings and "metric" not in " ".join(again.texts)


def test_a_message_longer_than_any_page_has_to_say_is_dropped(served: Served) -> None:
    """What people type is cleaned in time that grows with its length, so twenty megabytes would keep the console busy for minutes."""
    cookie = cookie_of(served.sign_in(Role.AGENT))
    with websocket.opened(served.url, cookie) as socket:
        assert websocket.run(socket, page="x" * (LONGEST_MESSAGE - 1_000)).not_found
        came, code = websocket.until_closed(socket, websocket.wanted(page="x" * LONGEST_MESSAGE))
    assert (told_to_load_again(came, at="?told=too-long"), code) == (True, 1008)


def test_parts_that_refresh_by_themselves_stand_where_the_test_above_finds_them() -> None:
    found = {path.stem for path in (ROOT / "pages").rglob("*.py") if re.search(r"\bfragment\b", path.read_text())}
    # What the dashboard shows while the database is away stands in a file of its own; it shows no figure.
    assert found == {*holding("st.fragment("), "overview"}


def test_a_one_time_password_opens_nothing_but_the_form_that_changes_it(served: Served) -> None:
    _, word = served.engine.accounts.add("newcomer", role=Role.AGENT, by="test")
    served.secrets.append(word)
    http = signin.signed_in(served.url, "newcomer", word)
    assert refused(served, cookie_of(http)) == 403
    answer = http.get(f"{served.url}/", headers=HTML, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["location"]) == (303, "/auth/password")
    weak = signin.post_form(http, f"{served.url}/auth/password", old=word, new="password12345", again="password12345")
    assert (weak.status_code, "too easy" in weak.text) == (422, True)
    before = cookie_of(http)
    done = signin.post_form(http, f"{served.url}/auth/password", old=word, new="seven-quiet-boats", again="seven-quiet-boats")
    assert done.status_code == 303
    served.secrets += [cookie_of(http), "seven-quiet-boats"]
    assert (refused(served, before), refused(served, cookie_of(http))) == (403, 101)


@pytest.mark.parametrize("target", [
    "/dashboard?span=7d&department=Returns%20%26%20Refunds&channel=email", "/dashboard?span=7d&channel=email&channel=chat", "/review",
])
def test_a_shared_view_survives_the_sign_in(served: Served, target: str) -> None:
    http = requests.Session()
    answer = http.get(f"{served.url}{target}", headers=HTML, allow_redirects=False, timeout=30)
    form = http.get(urljoin(served.url, answer.headers["location"]), timeout=30)
    (kept,) = re.findall(r'name="next" value="([^"]*)"', form.text)
    fields = {"csrf": signin.csrf_of(form.text), "name": "manager", "password": served.words[Role.MANAGER], "next": unescape(kept)}
    answer = http.post(f"{served.url}/auth/login", data=fields, allow_redirects=False, timeout=30)
    served.secrets.append(cookie_of(http))
    assert (answer.status_code, answer.headers["location"]) == (303, target)


@pytest.mark.parametrize("query", ["x=%0d%0aSet-Cookie:a=b", "a=1\\@elsewhere", "a=<script>", 'a="b', "a=ä", "a b", "x=" + "1" * 2000, "a=1\r\nX: y"])
def test_a_strange_query_ends_no_header_and_leads_nowhere_else(served: Served, query: str) -> None:
    answer = signin.post_form(
        requests.Session(), f"{served.url}/auth/login", name="agent", password=served.words[Role.AGENT], next=f"/dashboard?{query}"
    )
    assert answer.status_code == 303
    assert answer.headers["location"] in ("/dashboard", f"/dashboard?{query}") and "X" not in answer.headers
    assert urlsplit(urljoin(served.url, answer.headers["location"]))[:3] == urlsplit(f"{served.url}/dashboard")[:3]
    assert "a=b" not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize("path", ["/auth/login", "/auth/logout", "/auth/password"])
def test_forms_from_elsewhere_do_nothing(served: Served, path: str) -> None:
    http = served.sign_in(Role.AGENT)
    token = signin.csrf_of(http.get(f"{served.url}/auth/logout", timeout=30).text)
    fields = {"name": "agent", "password": "wrong", "old": "a", "new": "b", "again": "b"}

    def status(**more: object) -> int:
        return http.post(f"{served.url}{path}", allow_redirects=False, timeout=30, **more).status_code

    assert status(data=fields) == 403
    assert status(data={**fields, "csrf": token[::-1]}) == 403
    assert status(data={**fields, "csrf": token}, headers={"Origin": "https://elsewhere.invalid"}) == 403
    for origin in ("null", "http://[", "http://[::1"):
        assert status(data={**fields, "csrf": token}, headers={"Origin": origin}) == 403
    for site in ("cross-site", "same-site"):
        assert status(data={**fields, "csrf": token}, headers={"Sec-Fetch-Site": site}) == 403
    http.cookies.pop(CSRF)
    assert status(data=fields) == status(data={**fields, "csrf": ""}) == 403, "no token is no token that fits"
    http.cookies.set(CSRF, token)
    assert status(data={**fields, "csrf": token, **{f"more{n}": "x" for n in range(9)}}) == 400
    assert status(data={**fields, "csrf": token, "more": "x" * 20_000}) == 413
    assert refused(served, cookie_of(http)) == 101


@pytest.mark.parametrize("target", [
    "//elsewhere.invalid", "https://elsewhere.invalid", "/\\elsewhere.invalid", "javascript:alert(1)", "/auth/logout", "/%0d%0aX: y",
    "//elsewhere.invalid?x=1", "?//elsewhere.invalid",
    "https://elsewhere.invalid?/dashboard", "/auth/logout?x=1", "/api/v1/tickets?limit=1",
])
def test_nobody_is_sent_elsewhere_after_signing_in(served: Served, target: str) -> None:
    answer = signin.post_form(requests.Session(), f"{served.url}/auth/login", name="agent", password=served.words[Role.AGENT], next=target)
    assert answer.headers["location"] == "/"


def test_cookies_are_closed_to_scripts_and_secure_behind_tls(served: Served) -> None:
    plain = signin.post_form(requests.Session(), f"{served.url}/auth/login", name="agent", password=served.words[Role.AGENT])
    line = plain.headers["set-cookie"]
    assert "HttpOnly" in line and "SameSite=lax" in line and "Secure" not in line
    form = requests.get(f"{served.url}/auth/login", headers=TLS, timeout=30)
    fields = {"csrf": signin.csrf_of(form.text), "name": "agent", "password": served.words[Role.AGENT]}
    sent = {**TLS, "Cookie": f"{CSRF}={form.cookies[CSRF]}"}
    entered = requests.post(f"{served.url}/auth/login", data=fields, headers=sent, allow_redirects=False, timeout=30)
    served.secrets.append(entered.cookies[COOKIE])
    given = {name: line for answer in (form, entered) for name, line in cookies_of(answer).items()}
    strict = "HttpOnly; Path=/auth; SameSite=strict; Secure"
    assert given == {CSRF: strict, COOKIE: "HttpOnly; Path=/; SameSite=lax; Secure", BROWSER: "HttpOnly; Max-Age=31536000; Path=/auth; SameSite=strict; Secure"}
    assert form.headers["strict-transport-security"].startswith("max-age=31536000")
    assert "strict-transport-security" not in plain.headers
    assert plain.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/auth/login", "/healthz", "/api/v1/tickets", "/nothing/here", "/static/nothing.js"])
def test_every_answer_carries_the_security_headers(served: Served, path: str) -> None:
    headers = served.sign_in(Role.AGENT).get(served.url + path, timeout=30).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-eval'" not in headers["content-security-policy"].replace("'wasm-unsafe-eval'", "")
    assert "script-src 'self' 'unsafe-inline'" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY" and "camera=()" in headers["permissions-policy"]
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert "object-src 'none'" in headers["content-security-policy"] or "default-src 'none'" in headers["content-security-policy"]


def test_a_foreign_origin_gets_no_websocket_even_with_a_cookie(served: Served) -> None:
    cookie = cookie_of(served.sign_in(Role.AGENT))
    # A cookie goes to every port of its host, so another program's page there would bring it along.
    for origin in ("https://elsewhere.invalid", "http://127.0.0.1:9", "http://127.0.0.1", f"http://localhost:{served.port}", "null", "http://["):
        assert refused(served, cookie, Origin=origin) == 403
    assert refused(served, cookie, Origin=served.url) == 101


@pytest.mark.parametrize(("host", "origin", "own"), [
    ("console.invalid:443", "https://console.invalid", True), ("console.invalid:80", "http://console.invalid", True),
    ("Console.invalid", "https://console.invalid", True), ("[::1]", "http://[::1]:80", True), ("console.invalid:8443", "https://console.invalid:8443", True),
    ("console.invalid:8443", "https://console.invalid", False), ("console.invalid:80", "https://console.invalid", False),
    ("console.invalid", "https://console.invalid:8443", False), ("console.invalid:443", "https://elsewhere.invalid", False),
    ("console.invalid:port", "https://console.invalid", False), ("", "https://", False), ("", "null", False),
])
def test_a_proxy_may_write_the_usual_port_into_the_host(served: Served, host: str, origin: str, own: bool) -> None:
    address = f"{served.url}/auth/login"
    form = requests.get(address, timeout=30)
    fields = {"csrf": signin.csrf_of(form.text), "name": "agent", "password": served.words[Role.AGENT]}
    sent = {"Host": host, "Origin": origin, "Cookie": f"{CSRF}={form.cookies[CSRF]}"}
    answer = requests.post(address, data=fields, headers=sent, allow_redirects=False, timeout=30)
    served.secrets.extend(answer.cookies.values())
    assert answer.status_code == (303 if own else 403)


def test_a_file_that_a_page_offers_stays_in_no_cache(served: Served) -> None:
    http = served.sign_in(Role.AGENT)
    with websocket.opened(served.url, cookie_of(http)) as socket:
        [address] = {found[0] for text in websocket.run(socket).texts if (found := re.search(r"/media/\w+\.csv", text))}
        answer = http.get(served.url + address, timeout=30)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    icon = http.get(f"{served.url}/favicon.png", timeout=30)
    assert "max-age" in icon.headers["cache-control"]
    confirmed = http.get(f"{served.url}/favicon.png", headers={"If-None-Match": icon.headers["etag"]}, timeout=30)
    assert confirmed.status_code == 304 and "no-store" not in confirmed.headers.get("cache-control", ""), "it would be thrown away by those who ask again"


def test_paths_that_are_no_page_say_so(served: Served) -> None:
    assert [get(served, f"/auth/{path}", headers=HTML).status_code for path in ("nothing", "login/x")] == [404, 404]
    answer = served.sign_in(Role.AGENT).get(f"{served.url}/submit", allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["location"]) == (307, "/")
    assert requests.post(f"{served.url}/dashboard", headers=HTML, allow_redirects=False, timeout=30).status_code == 401, "what was sent is not taken along"


@pytest.mark.parametrize("path", ["/auth/oidc", "/auth/oidc/callback?state=a&code=b"])
def test_without_an_identity_provider_its_ways_lead_nowhere_and_say_so(served: Served, path: str) -> None:
    answer = get(served, path)
    assert (answer.status_code, "No identity provider is configured." in answer.text) == (404, True)
    assert cookies_of(answer) == {}


def test_who_is_signed_in_goes_on_and_a_second_form_keeps_the_first_ones_token(served: Served) -> None:
    http = served.sign_in(Role.AGENT)
    answer = http.get(f"{served.url}/auth/login?next=/account", allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    tokens = {signin.csrf_of(http.get(f"{served.url}/auth/{form}", timeout=30).text) for form in ("logout", "password", "logout")}
    assert len(tokens) == 1


def test_signing_out_takes_the_cookie_and_is_noted_with_where_from(served: Served) -> None:
    http = served.sign_in(Role.SUPERVISOR)
    answer = signin.post_form(http, f"{served.url}/auth/logout")
    assert (answer.status_code, answer.headers["location"], answer.headers["clear-site-data"]) == (303, "/auth/login?out=1", '"cache"')
    assert COOKIE not in http.cookies
    row = served.engine.audit.find(limit=1, action="signed_out")[0]
    assert (row.actor, row.object, row.address) == ("supervisor", "supervisor", "127.0.0.1")


def until_locked(attempt: Callable[[], requests.Response], wrong: int) -> list[requests.Response]:
    """The answers to attempts, `wrong` being the status of those that were looked at, until the delay is longer than an attempt takes."""
    answers = []
    for _ in range(20):
        answers.append(attempt())
        if answers[-1].status_code != wrong:
            break
    return answers


def test_a_locked_account_is_told_when_to_come_back_and_opens_in_the_owners_browser(served: Served) -> None:
    served.engine.accounts.add("guessed", role=Role.AGENT, by="test", password="tall-lamp-and-coin", must_change=False)
    owner, stranger = signin.signed_in(served.url, "guessed", "tall-lamp-and-coin"), requests.Session()
    assert [session.address for session in served.engine.sessions.of_user(served.engine.accounts.named("guessed").id)] == ["127.0.0.1"]
    answers = until_locked(lambda: signin.post_form(stranger, f"{served.url}/auth/login", name="guessed", password="not-this-one-either"), 401)
    assert len(answers) > 5 and answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1 and "retry-after" not in answers[0].headers
    events = [json.loads(line) for line in served.logged().splitlines() if line.startswith("{")]
    assert {event["address"] for event in events if event["event_type"] == "sign_in_refused"} == {"127.0.0.1"}
    signin.post_form(owner, f"{served.url}/auth/logout")
    assert signin.post_form(owner, f"{served.url}/auth/login", name="guessed", password="tall-lamp-and-coin").status_code == 303
    served.secrets.append(cookie_of(owner))


def test_a_new_password_is_typed_twice_and_the_old_one_is_not_guessed_for_ever(served: Served) -> None:
    served.engine.accounts.add("changer", role=Role.AGENT, by="test", password="tall-lamp-and-coin", must_change=False)
    http = signin.signed_in(served.url, "changer", "tall-lamp-and-coin")

    def changed(old: str, new: str, again: str) -> requests.Response:
        return signin.post_form(http, f"{served.url}/auth/password", old=old, new=new, again=again)

    differ = changed("tall-lamp-and-coin", "seven-quiet-boats", "seven-quiet-goats")
    assert (differ.status_code, "The two new passwords differ" in differ.text) == (422, True)
    answers = until_locked(lambda: changed("not-this-one-either", "seven-quiet-boats", "seven-quiet-boats"), 422)
    assert len(answers) > 5 and answers[-1].status_code == 429
    assert served.engine.accounts.sign_in("changer", "tall-lamp-and-coin").name == "changer"


def test_a_part_that_refreshes_by_itself_is_no_use_of_the_session_and_a_page_is(served: Served) -> None:
    http, pool = served.sign_in(Role.MANAGER), connect(served.settings.postgres_url)
    key, then = served.engine.sessions.key_of(cookie_of(http)), datetime.now(UTC) - timedelta(minutes=5)

    def seen() -> datetime:
        with pool.connect() as connection:
            return connection.execute(text("select seen_at from sessions where key = :key"), {"key": key}).scalar_one()

    with websocket.opened(served.url, cookie_of(http)) as socket:
        shown = websocket.run(socket, page="alerts")
        with pool.begin() as connection:
            connection.execute(text("update sessions set seen_at = :then where key = :key"), {"then": then, "key": key})
        websocket.run(socket, page="alerts", fragment=min(shown.fragments))
        assert seen() == then
        websocket.run(socket, page="alerts")
        assert seen() > then
    pool.dispose()


# The last test stops and starts the process.
def test_sessions_survive_a_restart(served: Served) -> None:
    cookie = cookie_of(served.sign_in(Role.MANAGER))
    served.stop()
    served.start()
    with websocket.opened(served.url, cookie) as socket:
        assert any("manager (manager)" in text for text in websocket.run(socket).texts)
