"""Uploads straight to a served console: files of another name and files that are too large are refused before they are taken."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from engine.access import Role
from engine.web.gate import COOKIE
from tests import websocket
from tests.serving import Served

LIMIT = 50 * 1024 * 1024


class Sender:
    """Sends files to one visit, as a browser does or otherwise."""

    def __init__(self, served: Served, http: requests.Session, visit: str) -> None:
        self._http = http
        self._url = f"{served.url}/_stcore/upload_file/{visit}"
        http.get(f"{served.url}/_stcore/health", timeout=30)
        self._headers = {"X-Xsrftoken": http.cookies.get("_streamlit_xsrf", ""), "Origin": served.url}

    def __call__(self, name: str, content: bytes = b"body\nwhere is my parcel\n", method: str = "PUT") -> int:
        return self.raw(method, files={"file": (name, content, "text/csv")})

    def raw(self, method: str = "PUT", headers: dict[str, str] | None = None, number: str = "one", **more: object) -> int:
        url = f"{self._url}/{number}"
        return self._http.request(method, url, headers={**self._headers, **(headers or {})}, timeout=120, **more).status_code


@pytest.fixture
def send(served: Served) -> Iterator[Sender]:
    http = served.sign_in(Role.AGENT)
    with websocket.opened(served.url, http.cookies[COOKIE]) as socket:
        yield Sender(served, http, websocket.run(socket).session)


def test_files_named_csv_are_taken(send: Sender) -> None:
    assert [send(name) for name in ("tickets.csv", "TICKETS.CSV", "a.b.csv", "tickets of märz.csv")] == [204] * 4


@pytest.mark.parametrize("name", [
    "page.html", "page.csv.html", "picture.svg", "run.exe", "csv", "tickets.csv ", "tickets.csv;.html", "tickets.csv\u2028", ".csv/", "x.csv%00.html",
])
def test_files_of_any_other_name_are_refused(send: Sender, name: str) -> None:
    assert send(name) == 415
    assert send(name, method="POST") == 415


@pytest.mark.parametrize("lines", [
    ['Content-Disposition: form-data; name="file"; filename="a.csv"; filename="b.html"'],
    ['Content-Disposition: form-data; name="file"; filename="a.csv"; filename*=UTF-8\'\'b.html'],
    ['Content-Disposition: form-data; name="file"; filename="a.csv"', 'Content-Disposition: form-data; name="file"; filename="b.html"'],
    ['Content-Disposition: form-data; name="text"'],
    ["Content-Type: text/csv"], [],
])
def test_a_name_that_can_be_read_in_two_ways_is_none(send: Sender, lines: list[str]) -> None:
    body = "\r\n".join(["--limit", *lines, "", "body", "--limit--", ""]).encode()
    assert send.raw(data=body, headers={"Content-Type": "multipart/form-data; boundary=limit"}) == 415


def test_what_is_no_form_is_refused(send: Sender) -> None:
    assert send.raw(data=b"body\n", headers={"Content-Type": "text/csv"}) == 415
    assert send.raw(data=b"") == 415


def test_a_second_file_behind_a_good_one_is_refused_too(send: Sender) -> None:
    files = [("file", ("a.csv", b"body\n", "text/csv")), ("file2", ("b.html", b"<p>", "text/html"))]
    assert send.raw(files=files) == 400


def test_files_that_are_too_large_are_refused(send: Sender) -> None:
    """By what the header says, and by what comes where the header says nothing."""
    head = b'--limit\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=limit"}

    handed_over = 0

    def chunks() -> Iterator[bytes]:
        nonlocal handed_over
        yield head
        for _ in range(LIMIT // 1_000_000 + 4):
            yield b"x" * 1_000_000
            handed_over += 1_000_000
        yield b"\r\n--limit--\r\n"

    def status(**more: object) -> int:
        try:
            return send.raw(**more)
        except requests.ConnectionError:
            # The console had its say and hung up while the rest was still being sent.
            assert handed_over > LIMIT - 1_000_000
            return 413

    assert send("a.csv", b"x" * (LIMIT + 1)) == 413
    assert status(data=chunks(), headers=kind) == 413
    assert send("a.csv") == 204, "the console goes on"


def test_what_one_user_uploads_does_not_fill_the_memory(served: Served) -> None:
    """The framework keeps every file until its page is closed, whether a page asked for it or not."""
    large = {"file": ("a.csv", bytes(LIMIT - 1_000_000), "text/csv")}
    http = served.sign_in(Role.MANAGER)
    with websocket.opened(served.url, http.cookies[COOKIE]) as one, websocket.opened(served.url, http.cookies[COOKIE]) as two:
        first, second = (Sender(served, http, websocket.run(socket).session) for socket in (one, two))
        assert [first.raw(number="a", files=large), first.raw(number="b", files=large), second.raw(number="a", files=large)] == [204] * 3
        assert first.raw(number="c", files=large) == 413
        assert second.raw(number="b", files=large) == 413, "another page of the same user is no way round"
        assert second("a.csv") == 204, "what is small fits"
        others = served.sign_in(Role.SUPERVISOR)
        with websocket.opened(served.url, others.cookies[COOKIE]) as socket:
            assert Sender(served, others, websocket.run(socket).session).raw(files=large) == 204
        assert first.raw("DELETE", number="a") == 204
        assert first.raw(number="c", files=large) == 204, "what was taken away counts no more"


def test_strangers_upload_nothing(served: Served) -> None:
    files = {"file": ("a.csv", b"body\n", "text/csv")}
    assert requests.put(f"{served.url}/_stcore/upload_file/a/b", files=files, timeout=30).status_code == 401
