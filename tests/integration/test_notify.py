"""Notices arrive at real receivers: an HTTP server and a mail server on this machine."""
from __future__ import annotations

import base64
import json
import random
import re
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine

from db.alerts import Alerts
from engine.adapters.alertmanager import Alertmanager
from engine.adapters.http_post import SECONDS
from engine.adapters.mail import Mail
from engine.adapters.webhook import Webhook
from engine.alert_rules import SHIPPED
from engine.alerts import Change
from engine.errors import NotFound, ServiceUnavailable
from engine.notice import MAX_ATTEMPTS, Notice
from engine.notify import AT_ONCE, LONGEST_WAIT, Channel, Notifier, Sent
from engine.settings import Settings
from engine.telling import channels
from tests.servers import certificates
from tests.servers.certificates import Certificate
from tests.unit.test_alerts import Quiet, unnoted

START = datetime(2026, 3, 17, 8, 0, tzinfo=UTC)
RULE = next(rule for rule in SHIPPED if rule.name == "false_hits")
S = TypeVar("S", bound=socketserver.BaseServer)


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted and answers with `status`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.status = 200
        self.posts: list[tuple[str, dict[str, str], object]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class Silent:
    """Accepts connections and never says a word; `callers` are those that wait, or have given up."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.callers: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self.callers.append(self._listener.accept()[0])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for caller in self.callers:
            caller.close()


class Postman(socketserver.ThreadingTCPServer):
    """A small mail server that keeps its messages; `refuse` makes it answer 451 to the message, and it has no
    mailbox for `unknown`.

    With `certificate` it speaks TLS from the first byte, or offers STARTTLS where `offer` is set; it lets in who gives `word`.
    `heard` holds every command that came in the clear.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *, certificate: Certificate | None = None, offer: bool = False, word: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.refuse = False
        self.unknown: set[str] = set()
        self.offer, self.word = offer, word
        self.context = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate.certificate, certificate.key)
        self.mails: list[tuple[list[str], str]] = []
        self.heard: list[str] = []
        self.logins = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._secret = False
        try:
            if self.server.context is not None and not self.server.offer:
                self._encrypt()
            self._talk()
        except (ssl.SSLError, ConnectionError):
            pass  # the other side did not like the certificate
        finally:
            if self._secret:
                for opened in (self.rfile, self.wfile, self.request):
                    opened.close()

    def _encrypt(self) -> None:
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", buffering=0)
        self._secret = True

    def _talk(self) -> None:
        receivers: list[str] = []
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if not self._secret:
                self.server.heard.append(line)
            if word == "EHLO" and self.server.context is not None:
                self._say("250-here\r\n250 AUTH PLAIN" if self._secret else "250-here\r\n250 STARTTLS")
            elif word == "STARTTLS":
                self._say("220 go on")
                self._encrypt()
            elif word == "AUTH":
                given = base64.b64decode(line.split()[2]).decode().split("\0")
                if given == ["", "console", self.server.word]:
                    self.server.logins += 1
                    self._say("235 welcome")
                else:
                    self._say("535 who are you")
            elif word == "RCPT":
                receiver = line.split("<")[1].split(">")[0]
                if receiver in self.server.unknown:
                    self._say("550 nobody here")
                else:
                    receivers.append(receiver)
                    self._say("250 ok")
            elif word == "DATA":
                self._say("354 go on")
                lines = []
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(text)
                if self.server.refuse:
                    self._say("451 not now")
                else:
                    self.server.mails.append((receivers, "\n".join(lines)))
                    self._say("250 taken")
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


def until_closed(server: S) -> Iterator[S]:
    """A receiver for a test, closed after it."""
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from until_closed(Receiver())


@pytest.fixture
def postman() -> Iterator[Postman]:
    yield from until_closed(Postman())


class Scene:
    """An open alert, its notices, and a clock that is moved by hand."""

    def __init__(self, database: Engine, channels: dict[str, object]) -> None:
        self.now = START
        self.table = Alerts(database)
        self.log = Quiet()
        self.notifier = Notifier(
            store=self.table, channels=channels, page="https://console.example/alerts", clock=lambda: self.now, log=self.log,
            chance=random.Random(1),
        )

    def open(self, subject: str = "Sales & <b>more</b>") -> None:
        change = Change(kind="opened", rule=RULE, subject=subject, value=0.031, sample=120)
        self.table.apply([change], now=self.now, channels=self.notifier.channels)

    def resolve(self) -> None:
        alerts, _ = self.table.state()
        self.table.apply([Change(kind="resolved", rule=RULE, subject=a.subject, alert_id=a.id) for a in alerts], now=self.now, channels=())


def test_a_webhook_gets_slacks_format_once_with_a_link_and_nothing_to_inject(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(f"{receiver.url}/hook")})
    scene.open()
    assert scene.notifier.send_due() == Sent(1, 0)
    assert scene.notifier.send_due() == Sent(0, 0)
    ((path, headers, body),) = receiver.posts
    assert path == "/hook" and headers["Idempotency-Key"].endswith("-opened")
    assert body["text"].startswith("[WARNING] Known cases answered wrongly (Sales &amp; &lt;b&gt;more")
    (attached,) = body["attachments"]
    assert attached["title_link"] == "https://console.example/alerts" and attached["fallback"] == body["text"]
    scene.now += timedelta(minutes=5)
    scene.resolve()
    assert scene.notifier.send_due() == Sent(1, 0)
    assert receiver.posts[1][2]["text"].startswith("[RESOLVED]")
    (over,) = receiver.posts[1][2]["attachments"]
    assert [[field["title"] for field in one["fields"]] for one in (attached, over)] == [["Severity", "Since"], ["Severity", "Since", "Until"]]
    assert attached["color"] != over["color"]


def test_the_log_says_where_a_notice_arrived_or_did_not_and_what_it_was_about(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    scene.open()
    for receiver.status in (500, 200):
        scene.notifier.send_due()
        scene.now += timedelta(minutes=1)
    about = {"channel": "webhook", "rule": RULE.name}
    assert scene.log.events == ["notice_failed", "notice_sent"]
    assert scene.log.fields == [about | {"attempt": 1}, about | {"kind": "opened"}]


def test_a_receiver_that_fails_is_asked_again_as_long_as_the_alert_is_open(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    receiver.status = 500
    scene.open()
    assert scene.notifier.send_due() == Sent(0, 1)
    assert scene.notifier.send_due() == Sent(0, 0), "not before its time"
    for _ in range(20):
        scene.now += timedelta(hours=1)
        scene.notifier.send_due()
    assert len(receiver.posts) == 21 > MAX_ATTEMPTS
    (row,) = scene.table.latest()
    assert row.undelivered == "webhook: notification is not available: the receiver answered 500"
    receiver.status = 200
    scene.now += timedelta(hours=1)
    assert scene.notifier.send_due() == Sent(1, 0)
    assert scene.table.latest()[0].undelivered is None


def test_a_receiver_that_is_away_for_days_is_still_asked_every_quarter_of_an_hour(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    receiver.status = 500
    scene.open()
    tries = 120
    for _ in range(tries):
        assert scene.notifier.send_due() == Sent(0, 1)
        scene.now += LONGEST_WAIT
    assert len(receiver.posts) == tries
    receiver.status = 200
    assert scene.notifier.send_due() == Sent(1, 0)


def test_about_an_alert_that_is_over_nobody_is_asked_for_ever(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    receiver.status = 500
    scene.open()
    scene.notifier.send_due()
    scene.resolve()
    for _ in range(40):
        scene.now += timedelta(hours=1)
        scene.notifier.send_due()
    assert len(receiver.posts) == 2 * MAX_ATTEMPTS
    assert scene.table.latest()[0].undelivered


def test_alertmanager_hears_again_and_again_of_what_is_open_and_of_nothing_else(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {})
    webhook, alertmanager = Webhook(f"{receiver.url}/hook"), Alertmanager(receiver.url, clock=lambda: scene.now)
    scene = Scene(database, {"webhook": webhook, "alertmanager": alertmanager})
    alertmanager._clock = lambda: scene.now
    assert scene.notifier.repeat() == 0
    scene.open("Sales")
    scene.open("Returns")
    scene.notifier.send_due()
    told = len(receiver.posts)
    scene.now += timedelta(minutes=3)
    assert scene.notifier.repeat() == 2
    assert scene.notifier.repeat() == 0, "not before its time"
    again = [body for path, _, body in receiver.posts[told:] if path == "/api/v2/alerts"]
    assert len(again) == len(receiver.posts[told:]) == 2, "the webhook hears of it once"
    for (alert,) in again:
        ends = datetime.fromisoformat(alert["endsAt"])
        assert scene.now + timedelta(minutes=2) < ends <= scene.now + timedelta(minutes=15)
        assert datetime.fromisoformat(alert["startsAt"]) == START
    scene.table.silence(rule=RULE.name, subject="Sales", until=scene.now + timedelta(hours=1), by="kim", reason="", noted=unnoted)
    scene.now += timedelta(minutes=3)
    assert scene.notifier.repeat() == 1
    scene.resolve()
    scene.now += timedelta(minutes=3)
    assert scene.notifier.repeat() == 0


def test_a_receiver_that_failed_is_asked_again_after_ten_seconds_then_after_twice_as_long_each_time(database: Engine, receiver: Receiver) -> None:
    """A fifth more or less, so that many do not ask together."""
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    receiver.status = 500
    scene.open()
    for wait in (10, 20, 40):
        assert scene.notifier.send_due() == Sent(0, 1)
        scene.now += timedelta(seconds=0.79 * wait)
        assert scene.notifier.send_due() == Sent(0, 0)
        scene.now += timedelta(seconds=0.42 * wait)
    assert len({scene.notifier._wait(1) for _ in range(9)}) == 9


def test_a_channel_that_is_not_set_up_any_more_is_said_to_be_and_holds_up_no_other(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"pigeon": Webhook(receiver.url), "webhook": Webhook(receiver.url)})
    scene.open()
    later = Scene(database, {"webhook": Webhook(receiver.url)})
    assert later.notifier.send_due() == Sent(1, 1)
    assert later.table.latest()[0].undelivered == "pigeon: notification is not available: the channel pigeon is not set up any more"


def test_more_than_twenty_notices_go_in_several_rounds(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    for number in range(23):
        scene.open(f"department {number}")
    assert [scene.notifier.send_due() for _ in range(3)] == [Sent(20, 0), Sent(3, 0), Sent(0, 0)]


def test_an_opening_that_arrives_late_is_still_told_as_one(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {})
    scene = Scene(database, {"alertmanager": Alertmanager(receiver.url, clock=lambda: scene.now)})
    receiver.status = 503
    scene.open()
    scene.notifier.send_due()
    scene.now += timedelta(minutes=1)
    scene.resolve()
    over, receiver.status = scene.now, 200
    for _ in range(2):
        scene.notifier.send_due()
        scene.now += timedelta(minutes=1)
    _, opened, ended = (datetime.fromisoformat(body[0]["endsAt"]) for _, _, body in receiver.posts)
    assert opened > over >= ended


def test_a_receiver_that_fails_at_the_repeats_is_left_alone_until_the_next(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {})
    scene = Scene(database, {"alertmanager": Alertmanager(receiver.url, clock=lambda: scene.now)})
    scene.open("Sales")
    scene.open("Returns")
    scene.notifier.send_due()
    told, receiver.status = len(receiver.posts), 500
    for _ in range(2):
        scene.now += timedelta(minutes=3)
        assert scene.notifier.repeat() == 0 == scene.notifier.repeat()
    assert len(receiver.posts) == told + 2


def test_after_an_outage_the_opening_arrives_before_the_end(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    receiver.status = 503
    scene.open()
    scene.notifier.send_due()
    scene.now += timedelta(minutes=1)
    scene.resolve()
    receiver.status = 204
    for _ in range(3):
        scene.notifier.send_due()
        scene.now += timedelta(minutes=1)
    assert [post[2]["text"].split("]")[0] for post in receiver.posts] == ["[WARNING", "[WARNING", "[RESOLVED"]


def test_several_senders_send_each_notice_once(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    for number in range(12):
        scene.open(f"department {number}")
    threads = [threading.Thread(target=scene.notifier.send_due) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({post[2]["text"] for post in receiver.posts}) == len(receiver.posts) == 12


def test_a_notice_whose_sender_died_on_the_way_is_sent_by_another_after_a_minute(database: Engine, receiver: Receiver) -> None:
    """And not before: it may be slow and not dead, and people would hear twice."""
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    scene.open()
    assert scene.table.claim(scene.now).event == "opened"
    scene.now += timedelta(seconds=59)
    assert scene.notifier.send_due() == Sent(0, 0)
    scene.now += timedelta(seconds=2)
    assert scene.notifier.send_due() == Sent(1, 0)


def test_an_end_waits_for_the_opening_of_its_own_alert_on_its_own_channel_and_for_no_other(database: Engine, receiver: Receiver) -> None:
    away = Receiver()
    scene = Scene(database, {"pager": Webhook(away.url), "webhook": Webhook(receiver.url)})

    def heard(by: Receiver) -> list[tuple[str, str]]:
        return [(words[0], words[1]) for _, _, body in by.posts if (words := re.findall(r"RESOLVED|WARNING|Sales|Returns", body["text"]))]

    scene.open("Sales")
    assert scene.notifier.send_due() == Sent(2, 0)
    away.status = 503
    scene.open("Returns")
    assert scene.notifier.send_due() == Sent(1, 1)
    away.status = 200
    scene.resolve()
    scene.now += timedelta(seconds=1)
    assert scene.notifier.send_due() == Sent(3, 0), "all but the end of what the pager has not heard of yet"
    told = [("WARNING", "Sales"), ("WARNING", "Returns")]
    over = [("RESOLVED", "Returns"), ("RESOLVED", "Sales")]
    assert heard(receiver)[:2] == told and sorted(heard(receiver)[2:]) == over
    assert heard(away) == [*told, ("RESOLVED", "Sales")], "the second of them was refused"
    scene.now += timedelta(minutes=1)
    assert scene.notifier.send_due() == Sent(2, 0)
    assert heard(away)[3:] == [("WARNING", "Returns"), ("RESOLVED", "Returns")]
    away.shutdown()
    away.server_close()


def test_what_is_due_longest_goes_first_and_nothing_is_left_behind_what_comes_new(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"webhook": Webhook(receiver.url)})
    for number in range(AT_ONCE + 2):
        scene.open(f"department {number}")
        scene.now += timedelta(seconds=1)
    assert scene.notifier.send_due() == Sent(AT_ONCE, 0)
    told = [re.search(r"department (\d+)", body["text"])[1] for _, _, body in receiver.posts]
    assert told == [str(number) for number in range(AT_ONCE)]


def test_a_redirect_is_not_followed_and_an_error_never_names_the_address(receiver: Receiver) -> None:
    receiver.status = 302
    scene = Notifier(store=None, channels={"webhook": Webhook(f"{receiver.url}/secret-path")}, page="x", clock=lambda: START, log=Quiet(),
                     chance=random.Random(1))
    with pytest.raises(ServiceUnavailable, match="answered 302") as caught:
        scene.test("webhook", by="kim")
    assert "secret-path" not in str(caught.value)
    with pytest.raises(NotFound):
        scene.test("pigeon", by="kim")


def test_a_mail_arrives_in_plain_text_at_every_receiver(database: Engine, postman: Postman) -> None:
    mail = Mail(host="127.0.0.1", port=postman.server_address[1], sender="console@example.com", receivers=["a@example.com", "b@example.com"],
                encryption="none")
    scene = Scene(database, {"mail": mail})
    postman.refuse = True
    scene.open("Sales\nBcc: x@example.com")
    assert scene.notifier.send_due() == Sent(0, 1)
    postman.refuse = False
    scene.now += timedelta(minutes=5)
    assert scene.notifier.send_due() == Sent(1, 0)
    ((receivers, text),) = postman.mails
    message = message_from_string(text, policy=policy.default)
    assert receivers == ["a@example.com", "b@example.com"] and message["Bcc"] is None
    assert message["Subject"].startswith("[WARNING] Known cases answered wrongly (Sales Bcc: x@example.com)")
    assert message["Message-ID"].endswith("-opened@example.com>")
    assert message["Auto-Submitted"] == "auto-generated", "who is on holiday answers it not"
    assert "https://console.example/alerts" in message.get_content()


def test_a_receiver_that_the_mail_server_refuses_is_said_to_be_and_the_others_hear_once(database: Engine, postman: Postman) -> None:
    mail = Mail(host="127.0.0.1", port=postman.server_address[1], sender="console@example.com", receivers=["a@example.com", "b@example.com"],
                encryption="none")
    scene = Scene(database, {"mail": mail})
    postman.unknown = {"b@example.com"}
    with pytest.raises(ServiceUnavailable, match=r"refused 1 of 2 receivers \(550\)"):
        scene.notifier.test("mail", by="kim")
    postman.mails.clear()
    scene.open("Sales")
    for _ in range(2):
        assert scene.notifier.send_due() == Sent(0, 1)
        assert scene.table.latest()[0].undelivered.endswith("refused 1 of 2 receivers (550)")
        scene.now += timedelta(minutes=5)
    postman.unknown.clear()
    assert scene.notifier.send_due() == Sent(1, 0)
    assert [receivers for receivers, _ in postman.mails] == [["a@example.com"], ["b@example.com"]]
    assert scene.table.latest()[0].undelivered is None


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """A certificate whose authority this machine trusts."""
    made = certificates.made(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    return made


def mail_to(postman: Postman, **more: str) -> Mail:
    return Mail(host="127.0.0.1", port=postman.server_address[1], sender="console@example.com", receivers=["a@example.com"], **more)


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_mail_goes_over_tls_with_the_users_password_and_nothing_of_it_in_the_clear(
    database: Engine, certificate: Certificate, encryption: str
) -> None:
    with Postman(certificate=certificate, offer=encryption == "starttls", word="hush-1") as postman:
        scene = Scene(database, {"mail": mail_to(postman, encryption=encryption, user="console", password="hush-1")})
        scene.open()
        assert scene.notifier.send_due() == Sent(1, 0)
        assert (len(postman.mails), postman.logins) == (1, 1)
        assert [line.split()[0].upper() for line in postman.heard] == (["EHLO", "STARTTLS"] if encryption == "starttls" else [])
        postman.shutdown()


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_wrong_password_is_said_without_the_password(certificate: Certificate, encryption: str) -> None:
    with Postman(certificate=certificate, offer=encryption == "starttls", word="hush-1") as postman:
        mail = mail_to(postman, encryption=encryption, user="console", password="hush-2")
        with pytest.raises(ServiceUnavailable, match=r"SMTPAuthenticationError 535") as refused:
            told(mail)
        assert "hush" not in str(refused.value) and postman.mails == []
        postman.shutdown()


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_mail_server_that_nobody_vouches_for_gets_neither_password_nor_mail(tmp_path: Path, encryption: str) -> None:
    with Postman(certificate=certificates.made(tmp_path), offer=encryption == "starttls", word="hush-1") as postman:
        with pytest.raises(ServiceUnavailable, match="SSLCertVerificationError"):
            told(mail_to(postman, encryption=encryption, user="console", password="hush-1"))
        assert (postman.mails, postman.logins) == ([], 0)
        assert not any(line.upper().startswith(("AUTH", "MAIL")) for line in postman.heard)
        postman.shutdown()


def test_a_mail_server_without_starttls_is_not_spoken_to_in_the_clear(postman: Postman) -> None:
    with pytest.raises(ServiceUnavailable, match="SMTPNotSupportedError"):
        told(mail_to(postman, user="console", password="hush-1"))
    assert [line.split()[0].upper() for line in postman.heard] == ["EHLO"] and postman.mails == []


def test_letters_that_no_request_and_no_sign_in_can_hold_are_a_receiver_that_is_away(
    database: Engine, receiver: Receiver, certificate: Certificate
) -> None:
    """And cost nobody else his notice."""
    with Postman(certificate=certificate, word="hush-1") as postman:
        mail = mail_to(postman, encryption="tls", user="console", password="h\u00fcsh")
        webhook = Webhook(f"{receiver.url}/h\u00f6k")
        for channel in (mail, webhook):
            with pytest.raises(ServiceUnavailable, match="UnicodeEncodeError") as refused:
                told(channel)
            assert "h\u00fcsh" not in str(refused.value) and "h\u00f6k" not in str(refused.value)
        scene = Scene(database, {"mail": mail, "webhook": webhook, "alertmanager": Alertmanager(receiver.url, clock=lambda: START)})
        scene.open()
        assert scene.notifier.send_due() == Sent(1, 2)
        postman.shutdown()


def test_a_host_whose_name_makes_no_sender_is_a_mail_server_that_takes_nothing_and_costs_nobody_else_his_notice(
    database: Engine, receiver: Receiver, postman: Postman
) -> None:
    mail = Mail(host="127.0.0.1", port=postman.server_address[1], sender="console@mail..example", receivers=["a@example.com"], encryption="none")
    with pytest.raises(ServiceUnavailable, match="HeaderParseError"):
        told(mail)
    scene = Scene(database, {"mail": mail, "webhook": Webhook(receiver.url)})
    scene.open()
    assert scene.notifier.send_due() == Sent(1, 1)
    assert postman.mails == []


def test_a_host_whose_full_name_ends_in_a_dot_makes_a_sender_without_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, smtp_host="mail.example.", alert_mail_to="a@example.com")
    notice = Notice(
        key="k", event="test", rule="test", subject="", severity="warning", message="m", opened_at=START, resolved_at=None, link="x",
    )
    assert channels(settings, lambda: START)["mail"]._message(notice)["From"] == "Routing console <console@mail.example>"


def test_a_mail_server_with_an_address_of_version_6_is_reached(tmp_path: Path) -> None:
    def refuse() -> None:
        client, _ = listener.accept()
        with client:
            client.sendall(b"421 not now\r\n")

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        threading.Thread(target=refuse, daemon=True).start()
        settings = Settings(data_dir=tmp_path, smtp_host="[::1]", smtp_port=listener.getsockname()[1], alert_mail_to="a@example.com")
        with pytest.raises(ServiceUnavailable, match="SMTPConnectError 421"):
            told(channels(settings, lambda: START)["mail"])


def told(channel: Channel) -> None:
    """Send a test this way."""
    Notifier(store=None, channels={"mail": channel}, page="x", clock=lambda: START, log=Quiet(), chance=random.Random(1)).test("mail", by="kim")


def test_a_receiver_that_speaks_no_http_is_one_that_cannot_be_reached_and_the_others_are_told(
    database: Engine, receiver: Receiver, postman: Postman
) -> None:
    elsewhere = Webhook(f"http://127.0.0.1:{postman.server_address[1]}")
    scene = Scene(database, {"webhook": elsewhere, "alertmanager": Alertmanager(receiver.url, clock=lambda: START)})
    scene.open()
    assert scene.notifier.send_due() == Sent(1, 1)
    assert len(receiver.posts) == 1


def test_a_receiver_that_says_nothing_costs_one_wait_a_round_and_the_others_are_told(database: Engine, receiver: Receiver) -> None:
    silent = Silent()
    scene = Scene(database, {"webhook": Webhook(silent.url), "alertmanager": Alertmanager(receiver.url, clock=lambda: START)})
    for number in range(3):
        scene.open(f"department {number}")
    began = time.monotonic()
    assert scene.notifier.send_due() == Sent(3, 1)
    assert time.monotonic() - began < 2 * SECONDS, "one time limit, not one for each alert"
    assert {body[0]["labels"]["subject"] for _, _, body in receiver.posts} == {f"department {number}" for number in range(3)}
    assert len(silent.callers) == 1
    silent.close()


def test_alertmanager_is_told_the_beginning_and_the_end(database: Engine, receiver: Receiver) -> None:
    scene = Scene(database, {"alertmanager": Alertmanager(receiver.url, clock=lambda: START)})
    scene.open("Sales")
    scene.notifier.send_due()
    scene.now += timedelta(minutes=7)
    scene.resolve()
    scene.notifier.send_due()
    (path, _, (opened,)), (_, _, (resolved,)) = receiver.posts
    assert path == "/api/v2/alerts"
    assert opened["labels"] == resolved["labels"] == {
        "alertname": "false_hits", "severity": "warning", "service": "routing-console", "subject": "Sales"
    }
    # A console that dies leaves no alert behind.
    assert datetime.fromisoformat(opened["endsAt"]) == START + timedelta(minutes=10)
    assert datetime.fromisoformat(resolved["endsAt"]) == START + timedelta(minutes=7)
