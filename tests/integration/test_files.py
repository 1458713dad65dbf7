"""Files that people take from pages: by whom, what stands in them, and what an address that asks for nonsense gets."""
from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import requests

from engine import audit_csv, figures_csv
from engine.access import FILES, PAGES, Role, opens
from engine.domain import TicketDraft
from engine.web.files import MAKERS
from tests import signin
from tests.serving import ROOT, Served

SQL: list[str] = json.loads((ROOT / "tests" / "data" / "hostile_texts.json").read_text())["sql"]
HTML = {"Accept": "text/html,*/*;q=0.8"}


def taken(http: requests.Session, served: Served, address: str, **headers: str) -> requests.Response:
    return http.get(f"{served.url}{address}", headers={**HTML, **headers}, allow_redirects=False, timeout=60)


def rows(answer: requests.Response, columns: Iterable[str]) -> list[dict[str, str]]:
    assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (200, "text/csv; charset=utf-8", "no-store")
    reader = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
    found = list(reader)
    assert tuple(reader.fieldnames) == tuple(columns)
    return found


def exports(served: Served) -> int:
    return len(served.engine.audit.find(action="audit_exported", limit=1000))


def test_every_file_of_the_table_is_made_and_belongs_to_a_page() -> None:
    assert set(MAKERS) == set(FILES)
    assert set(FILES.values()) <= set(PAGES)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("role", Role)
def test_a_file_opens_for_whom_its_page_opens(served: Served, path: str, role: Role) -> None:
    before, answer = exports(served), taken(served.sign_in(role), served, path)
    if opens(role, FILES[path]):
        assert answer.status_code == 200 and answer.headers["content-disposition"].startswith("attachment; ")
    else:
        assert (answer.status_code, "not open to your role" in answer.text) == (403, True)
        assert exports(served) == before


@pytest.mark.parametrize("path", [*FILES, "/files/else.csv", "/files/"])
def test_strangers_are_sent_to_sign_in(served: Served, path: str) -> None:
    answer = taken(requests.Session(), served, f"{path}?span=7d")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/auth/login?next={path}%3Fspan%3D7d")
    assert requests.get(f"{served.url}{path}", timeout=30).status_code == 401


@pytest.mark.parametrize("path", FILES)
def test_a_new_role_and_a_disabled_user_count_at_once(served: Served, path: str) -> None:
    name = f"taker-{FILES[path]}"
    _, word = served.engine.accounts.add(name, role=Role.ADMIN, by="test", must_change=False)
    served.secrets.append(word)
    http = signin.signed_in(served.url, name, word)
    assert taken(http, served, path).status_code == 200
    before = exports(served)
    served.engine.accounts.set_role(name, "agent", by="test")
    assert taken(http, served, path).status_code in (303, 403)
    served.engine.accounts.set_role(name, "admin", by="test")
    served.engine.accounts.disable(name, by="test")
    assert taken(http, served, path).status_code == 303
    assert exports(served) == before


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_other_site_has_a_row_written(served: Served, site: str) -> None:
    before, http = exports(served), served.sign_in(Role.ADMIN)
    answer = taken(http, served, "/files/audit.csv", **{"Sec-Fetch-Site": site})
    assert (answer.status_code, "own pages" in answer.text, exports(served)) == (403, True, before)
    for page in ("http://elsewhere.invalid/a", "http://[", "about:blank", ""):
        assert taken(http, served, "/files/audit.csv", Referer=page).status_code == 403
    assert exports(served) == before
    for own in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Referer": f"{served.url}/audit"}):
        assert taken(http, served, "/files/audit.csv", **own).status_code == 200


def test_asking_for_the_head_alone_makes_no_file(served: Served) -> None:
    before, http = exports(served), served.sign_in(Role.ADMIN)
    assert http.head(f"{served.url}/files/audit.csv", timeout=30).status_code == 200
    assert served.sign_in(Role.AGENT).head(f"{served.url}/files/audit.csv", timeout=30).status_code == 403
    assert exports(served) == before


@pytest.mark.parametrize("path", FILES)
def test_who_signs_in_after_asking_for_a_file_comes_to_its_page(served: Served, path: str) -> None:
    http = requests.Session()
    form = http.get(f"{served.url}{path}?span=7d", headers=HTML, timeout=30)
    csrf, target = signin.csrf_of(form.text), f"{path}?span=7d"
    answer = http.post(
        f"{served.url}/auth/login", data={"csrf": csrf, "next": target, "name": "admin", "password": served.words[Role.ADMIN]},
        headers={"Origin": served.url}, allow_redirects=False, timeout=30,
    )
    served.secrets.append(http.cookies["console_session"])
    assert (answer.status_code, answer.headers["location"]) == (303, f"/{FILES[path]}")


def test_the_filters_of_the_dashboard_count_in_its_file(served: Served) -> None:
    http = served.sign_in(Role.MANAGER)

    def tickets(query: str) -> int:
        return sum(int(row["tickets"]) for row in rows(taken(http, served, f"/files/decisions.csv{query}"), figures_csv.COLUMNS))

    before = {channel: tickets(f"?channel={channel}") for channel in ("chat", "phone")}
    decided = [served.engine.router.route(TicketDraft(body=f"where is my parcel, order {n}", channel="phone")) for n in range(3)]
    served.engine.router.route(TicketDraft(body="you took the money twice", channel="chat"))
    assert tickets("?channel=phone") == before["phone"] + 3
    assert tickets("?span=1h&channel=phone&channel=chat") == sum(before.values()) + 4
    name = decided[0].department
    assert tickets(f"?department={quote(name)}") >= 3 and tickets("?department=Nobody") == 0
    assert tickets("?policy=0") == tickets("") and tickets("?policy=999999999") == 0
    assert tickets("?demo=false") == tickets("?demo=true"), "this console holds no demo tickets"
    assert taken(http, served, "/files/decisions.csv?span=12m").headers["content-disposition"] == 'attachment; filename="decisions-12m.csv"'


def test_the_filters_of_the_audit_log_count_in_its_file_and_taking_it_is_noted(served: Served) -> None:
    http = served.sign_in(Role.ADMIN)
    served.engine.audit.record("=cmd|x", "did_something", "thing", "=1+1", after={"n": 1})
    (row,) = rows(taken(http, served, f"/files/audit.csv?actor={quote('=cmd|x')}&action=did_something&object=1%2B1"), audit_csv.COLUMNS)
    assert (row["who"], row["object"], row["after"]) == ("'=cmd|x", "'=1+1", '{"n": 1}')
    noted = served.engine.audit.find(action="audit_exported", limit=1)[0]
    assert (noted.actor, noted.after, noted.address) == ("admin", {"rows": 1, "complete": True}, "127.0.0.1")
    today = datetime.now(UTC)
    assert rows(taken(http, served, f"/files/audit.csv?since={today:%Y-%m-%d}"), audit_csv.COLUMNS)
    assert not rows(taken(http, served, f"/files/audit.csv?since={today + timedelta(days=2):%Y-%m-%d}"), audit_csv.COLUMNS)


@pytest.mark.parametrize(("address", "told"), [
    ("/files/decisions.csv?span=9d", "span: one of 1h, 24h, 7d, 30d, 12m"),
    ("/files/decisions.csv?span=", "span: one of"),
    ("/files/decisions.csv?demo=maybe", "demo: one of true, false"),
    ("/files/decisions.csv?channel=chat&channel=smoke", "channel: one of"),
    ("/files/decisions.csv?policy=x", "policy: a number"),
    ("/files/decisions.csv?policy=%D9%A3", "policy: a number"),
    ("/files/decisions.csv?policy=12345678901", "policy: a number"),
    ("/files/audit.csv?since=tomorrow", "since: a day as 2026-01-31"),
    ("/files/audit.csv?since=2026-02-31", "since: this day is in no calendar"),
])
def test_an_address_that_asks_for_nonsense_is_told_so(served: Served, address: str, told: str) -> None:
    before, answer = exports(served), taken(served.sign_in(Role.ADMIN), served, address)
    assert (answer.status_code, told in answer.text, exports(served)) == (422, True, before)


def test_a_file_that_there_is_not(served: Served) -> None:
    answer = taken(served.sign_in(Role.ADMIN), served, "/files/users.csv")
    assert (answer.status_code, "no file of this name" in answer.text) == (404, True)
    assert served.sign_in(Role.ADMIN).post(f"{served.url}/files/audit.csv", timeout=30).status_code == 405


def test_sql_in_an_address_finds_nothing_and_changes_nothing(served: Served) -> None:
    http = served.sign_in(Role.ADMIN)
    for there in (*map(quote, SQL), "%00", "%ED%A0%80", "%FF"):
        assert taken(http, served, f"/files/audit.csv?actor={there}&object={there}&action={there}").status_code == 200, there
        assert taken(http, served, f"/files/decisions.csv?department={there}").status_code == 200, there


def test_what_pages_offer_by_themselves_is_made_before_and_stays_through_runs() -> None:
    # A callable is run later, under a number that the next run of the page forgets; a click that starts a run takes away the file it asks for.
    for path in (ROOT / "pages").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "download_button":
                assert isinstance(node.args[1], (ast.Name, ast.Attribute)), f"{path.name}:{node.lineno}: use pages/parts/files.py"
                assert {word.arg: getattr(word.value, "value", "") for word in node.keywords}["on_click"] == "ignore", f"{path.name}:{node.lineno}"
