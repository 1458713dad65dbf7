"""When the database is away: people are told once by each instance, and whoever scrapes the metrics still gets them."""
from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr
from sqlalchemy import Engine as Database
from sqlalchemy import text

from db.alerts import Alerts
from db.services import Services
from db.session import connect
from engine import bootstrap, process, telling
from engine import outage as outage_module
from engine.access import Role
from engine.adapters.alertmanager import EVERY, Alertmanager
from engine.adapters.webhook import Webhook
from engine.alert_rules import SHIPPED
from engine.alerts import Change
from engine.bootstrap import Engine
from engine.domain import Spooled, TicketDraft
from engine.errors import ServiceUnavailable
from engine.notice import MAX_ATTEMPTS, Notice, Told
from engine.notify import FIRST_WAIT, LONGEST_WAIT
from engine.outage import SHORTEST, Outage
from tests.faults.conftest import socket_of, through
from tests.integration.test_notify import Receiver, until_closed
from tests.integration.test_watching import task
from tests.servers.proxy import FaultyProxy
from tests.serving import Served
from tests.unit.test_alerts import Quiet

START = datetime(2026, 3, 17, 8, 0, tzinfo=UTC)
RULE = next(rule for rule in SHIPPED if rule.name == "database_failures")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from until_closed(Receiver())


class Scene:
    """A database that answers or not, one webhook, and a clock that is moved by hand."""

    def __init__(self, receiver: Receiver, *, hook: str = "hook") -> None:
        self.now, self.answers = START, True
        self.receiver = receiver
        self.log = Quiet()
        self.outage = Outage(
            answers=lambda: self.answers, rule=RULE, page="https://console.example/alerts", instance="host:1", clock=lambda: self.now,
            log=self.log, channels={"webhook": Webhook(f"{receiver.url}/{hook}"), "am": Alertmanager(receiver.url, clock=lambda: self.now)},
        )

    def look(self, **after: float) -> list[str]:
        """Move the clock and look; the first words of what the webhook heard since."""
        before = len(self.receiver.posts)
        self.now += timedelta(**after)
        self.outage.look()
        return [body["text"].split("]")[0] for path, _, body in self.receiver.posts[before:] if path == "/hook"]


def test_an_outage_is_told_once_and_its_end_once(receiver: Receiver) -> None:
    scene = Scene(receiver)
    assert scene.look() == []
    scene.answers = False
    assert scene.look(seconds=5) == []
    assert scene.look(seconds=SHORTEST.total_seconds() - 1) == [], "a restart is no outage"
    assert scene.look(seconds=1) == ["[CRITICAL"]
    assert [scene.look(minutes=5) for _ in range(10)] == [[]] * 10
    scene.answers = True
    assert scene.look(seconds=5) == ["[RESOLVED"]
    assert scene.look(minutes=5) == []
    ((_, headers, body), *_), (*_, (_, last, _)) = receiver.posts, [post for post in receiver.posts if post[0] == "/hook"]
    assert "host:1" in body["text"] and headers["Idempotency-Key"].startswith("database-host:1-") and last != headers


def test_the_log_says_who_was_told_of_an_outage_and_who_was_not(receiver: Receiver) -> None:
    scene = Scene(receiver)
    scene.answers, receiver.status = False, 500
    scene.look()
    scene.look(minutes=1)
    receiver.status = 200
    scene.look(minutes=1)
    told = [(name, fields["channel"], fields["rule"]) for name, fields in zip(scene.log.events, scene.log.fields, strict=True) if "notice" in name]
    assert told == [(name, channel, RULE.name) for name in ("notice_failed", "notice_sent") for channel in ("webhook", "am")]


def test_an_address_that_no_request_can_hold_keeps_no_other_channel_from_hearing(receiver: Receiver) -> None:
    scene = Scene(receiver, hook="h\u00f6k")
    scene.answers = False
    scene.look()
    scene.look(minutes=1)
    assert [path for path, *_ in receiver.posts] == ["/api/v2/alerts"]


def test_alertmanager_hears_of_an_outage_as_long_as_it_lasts(receiver: Receiver) -> None:
    scene = Scene(receiver)
    scene.answers = False
    scene.look()
    for _ in range(5):
        scene.look(seconds=EVERY.total_seconds())
    heard = [body[0] for path, _, body in receiver.posts if path == "/api/v2/alerts"]
    assert len(heard) == 5
    assert {alert["startsAt"] for alert in heard} == {START.isoformat()} and all("subject" not in alert["labels"] for alert in heard)
    scene.answers = True
    scene.look(seconds=5)
    ended = [body[0] for path, _, body in receiver.posts if path == "/api/v2/alerts"][5:]
    assert [datetime.fromisoformat(alert["endsAt"]) for alert in ended] == [scene.now]


def test_a_receiver_that_is_away_as_well_hears_of_it_later_and_of_no_end_without_a_beginning(receiver: Receiver) -> None:
    scene = Scene(receiver)
    receiver.status, scene.answers = 500, False
    scene.look()
    assert scene.look(minutes=1) == ["[CRITICAL"]
    assert scene.look(seconds=1) == []
    scene.answers = True
    assert scene.look(minutes=1) == [], "nobody heard that it began"
    receiver.status, scene.answers = 200, False
    scene.look(minutes=1)
    receiver.status = 500
    assert scene.look(minutes=1) == ["[CRITICAL"]
    receiver.status = 200
    assert scene.look(minutes=1) == ["[CRITICAL"], "the second try arrives"
    assert scene.look(minutes=30) == []


def test_the_end_of_an_outage_is_told_to_whoever_heard_of_that_outage_and_not_of_one_before(receiver: Receiver) -> None:
    scene = Scene(receiver)
    for status, heard in ((200, ["[CRITICAL", "[RESOLVED"]), (500, []), (200, ["[CRITICAL", "[RESOLVED"])):
        scene.answers, receiver.status = False, status
        before = len(receiver.posts)
        scene.look()
        scene.look(minutes=1)
        receiver.status = 200
        scene.answers = True
        scene.look(seconds=1)
        scene.look(hours=1)
        assert [body["text"].split("]")[0] for path, _, body in receiver.posts[before:] if path == "/hook" and status == 200] == heard
        kept: list[Told] = []
        scene.outage.settle(kept.append)
        everybody, nobody = frozenset({"webhook", "am"}), frozenset()
        assert [(told.heard, told.missed) for told in kept] == [(everybody, nobody) if heard else (nobody, everybody)]
    keys = [headers["Idempotency-Key"] for path, headers, _ in receiver.posts if path == "/hook"]
    assert len(set(keys)) == len(keys), "each notice is another one"
    paths = [path for path, *_ in receiver.posts]
    assert paths.count("/api/v2/alerts") == paths.count("/hook") == 5, "an end is told once to whoever hears of a beginning again and again"


def test_tries_to_tell_of_an_outage_come_at_growing_pauses_that_begin_anew_once_one_arrives(receiver: Receiver) -> None:
    scene = Scene(receiver)
    first, longest = FIRST_WAIT.total_seconds(), LONGEST_WAIT.total_seconds()

    def pushed(**after: float) -> int:
        """Alertmanager's share of what is tried then."""
        before = len(receiver.posts)
        scene.look(**after)
        return [path for path, *_ in receiver.posts[before:]].count("/api/v2/alerts")

    scene.answers, receiver.status = False, 500
    scene.look()
    assert pushed(minutes=1) == 1
    for pause in (first, 2 * first, 4 * first, 8 * first, 16 * first, 32 * first, 64 * first, *[longest] * 60):
        assert (pushed(seconds=pause - 1), pushed(seconds=1)) == (0, 1), pause
    receiver.status = 200
    assert pushed(seconds=longest) == 1
    receiver.status = 500
    for pause in (EVERY.total_seconds(), first, 2 * first):
        assert (pushed(seconds=pause - 1), pushed(seconds=1)) == (0, 1), pause


def test_a_receiver_that_has_gone_is_not_told_for_ever_that_an_outage_is_over(receiver: Receiver) -> None:
    scene = Scene(receiver)
    scene.answers = False
    scene.look()
    assert scene.look(minutes=1) == ["[CRITICAL"]
    scene.answers, receiver.status = True, 410
    assert sum(len(scene.look(seconds=LONGEST_WAIT.total_seconds())) for _ in range(3 * MAX_ATTEMPTS)) == MAX_ATTEMPTS


def test_a_longer_hold_a_rule_that_is_off_and_a_silence_count(receiver: Receiver) -> None:
    for rule, quiet in ((RULE.edited({"hold_minutes": 10}), None), (RULE.edited({"enabled": False}), None), (RULE, START + timedelta(minutes=6))):
        scene = Scene(receiver)
        scene.outage.learn(rule, quiet_until=quiet)
        scene.answers = False
        scene.look()
        assert scene.look(minutes=5) == []
        assert scene.look(minutes=6) == (["[CRITICAL"] if rule.enabled else [])


@pytest.fixture
def postgres(databases, learned: str) -> Iterator[tuple[str, FaultyProxy]]:  # noqa: ANN001
    url = databases.make(learned)
    with FaultyProxy(socket_of(url)) as proxy:
        yield url, proxy
    databases.drop(url)


def told_by(receiver: Receiver) -> list[str]:
    """The first words of what the webhook heard about the database. Availability is a figure of its own, with an alert of its own."""
    return [
        body["text"].split("]")[0] for path, _, body in receiver.posts
        if path == "/hook" and ("The database does not answer" in body["text"] or RULE.title in body["text"])
    ]


def due(engine: Engine, *names: str) -> None:
    """Run these tasks now."""
    for name in names:
        task(engine, name)()


def test_one_outage_is_one_alert_told_once_and_resolved_once(postgres, console_settings, receiver: Receiver) -> None:  # noqa: ANN001
    url, proxy = postgres
    now = [datetime.now(UTC)]
    given = console_settings.model_copy(update={
        "database_url": SecretStr(through(url, proxy)), "alert_webhook_url": SecretStr(f"{receiver.url}/hook"), "alertmanager_url": receiver.url,
    })
    engine = bootstrap.build(given, log_stream=None, clock=lambda: now[0], chance=random.Random(1))
    watch, outage = engine.watch, engine.watch.lookout.outage
    try:
        for worker in (watch.upkeep, watch.notices, watch.lookout):
            worker.close()
        due(engine, "report", "alerts", "notices", "repeats")
        proxy.set("refused")
        began = now[0]
        for _ in range(10):
            now[0] += timedelta(seconds=15)
            outage.look()
            with pytest.raises(ServiceUnavailable):
                due(engine, "report")
        assert told_by(receiver) == ["[CRITICAL"]
        proxy.set("ok")
        while len(told_by(receiver)) < 2:
            # The breaker tries again when its own time has come. What failed is not told of before the outage is stored.
            with suppress(ServiceUnavailable):
                due(engine, "report", "alerts", "notices", "repeats")
            outage.look()
        ended = now[0]
        for _ in range(40):
            due(engine, "report", "alerts", "notices", "repeats")
            now[0] += timedelta(seconds=15)
            outage.look()
        assert told_by(receiver) == ["[CRITICAL", "[RESOLVED"]
        pushed = [body[0] for path, _, body in receiver.posts if path == "/api/v2/alerts" and body[0]["labels"]["alertname"] == RULE.name]
        assert len({str(alert["labels"]) for alert in pushed}) == 1 and "subject" not in pushed[0]["labels"]
        assert datetime.fromisoformat(pushed[-1]["endsAt"]) == ended, "and nobody opened it again"
        (row,) = [row for row in watch.alert_table.latest() if row.rule == RULE.name]
        assert began <= row.opened_at < row.resolved_at == ended and row.subject == ""
        assert all(notice.sent_at for notice in watch.alert_table.notices(row.id)) and len(watch.alert_table.notices(row.id)) == 4
        failed = Services(connect(url)).totals("database", since=began)[1]
        assert failed > 0, "the failures themselves are counted"
        # What fails later is news.
        minute = now[0].replace(second=0, microsecond=0)
        Services(connect(url)).add({(minute, "database"): (9, 3)})
        due(engine, "alerts", "notices")
        assert told_by(receiver)[2:] == ["[CRITICAL"]
    finally:
        proxy.set("ok")
        engine.close()


def test_a_database_that_answers_and_stores_nothing_is_an_outage(console_settings, databases, receiver: Receiver) -> None:  # noqa: ANN001
    now = [datetime.now(UTC)]
    given = console_settings.model_copy(update={"alert_webhook_url": SecretStr(f"{receiver.url}/hook")})
    name, beside = databases.name(given.postgres_url), connect(given.postgres_url)
    engine = bootstrap.build(given, log_stream=None, clock=lambda: now[0], chance=random.Random(1))
    outage, gate = engine.watch.lookout.outage, engine.services._breakers["database"]

    def read_only(how: str) -> None:
        with beside.begin() as connection:
            connection.execute(text(f"alter database {name} {how}"))
            connection.execute(text("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"))

    try:
        for worker in (engine.watch.upkeep, engine.watch.notices, engine.watch.lookout, engine.drainer):
            worker.close()
        read_only("set default_transaction_read_only = on")
        gate.probe_now()
        assert isinstance(engine.router.route(TicketDraft(body="where is my parcel")), Spooled)
        gate.succeeded()
        for _ in range(4):
            assert not engine.health.ready()
            outage.look()
            now[0] += timedelta(seconds=15)
        assert told_by(receiver) == ["[CRITICAL"]
        read_only("reset default_transaction_read_only")
        for _ in range(100):
            gate.probe_now()
            if engine.health.ready():
                break
        assert engine.health.ready()
        outage.look()
        assert told_by(receiver) == ["[CRITICAL", "[RESOLVED"]
    finally:
        engine.close()
        beside.dispose()


def test_a_console_that_begins_on_a_read_only_standby_is_not_ready_before_its_first_ticket(
    build, console_settings, databases  # noqa: ANN001
) -> None:
    beside = connect(console_settings.postgres_url)
    with beside.begin() as connection:
        connection.execute(text(f"alter database {databases.name(console_settings.postgres_url)} set default_transaction_read_only = on"))
    beside.dispose()
    (database,) = [report for report in build().health.report(needed_only=True) if report.service == "database"]
    assert not database.ok and "read-only" in database.detail


def over(minutes: int, *, since: int = 0, instance: str = "host:1", heard: str = "webhook", missed: str = "") -> Told:
    notice = Notice(
        key=f"{instance}-resolved", event="resolved", rule=RULE.name, subject="", severity="critical", message=f"as {instance} sees it",
        opened_at=START + timedelta(minutes=since), resolved_at=START + timedelta(minutes=minutes), link="",
    )
    return Told(notice=notice, heard=frozenset(heard.split()), missed=frozenset(missed.split()))


def waiting(table: Alerts, now: datetime) -> list[tuple[str, str]]:
    sent = []
    while (row := table.claim(now)) is not None:
        sent.append((row.channel, row.event))
        table.sent(row.notice_id, now=now)
    return sent


def test_what_several_instances_saw_is_one_alert_and_who_missed_it_hears_both_ends_later(database: Database) -> None:
    table, after = Alerts(database), START + timedelta(minutes=20)
    table.cover(over(5, heard="webhook", missed="mail alertmanager"), until=START + timedelta(minutes=5, seconds=10))
    table.cover(over(7, since=1, instance="host:2", heard="webhook alertmanager", missed="mail"), until=START + timedelta(minutes=7, seconds=10))
    (row,) = table.latest()
    assert (row.opened_at, row.resolved_at, row.subject) == (START, START + timedelta(minutes=7), "")
    assert table.covered(RULE.name, START) == [(START, START + timedelta(minutes=7, seconds=10))]
    assert waiting(table, after) == [("mail", "opened"), ("mail", "resolved")]
    assert table.open_told("alertmanager", after) == []
    table.cover(over(19, since=15), until=after)
    assert len(table.latest()) == 2, "another outage is another alert"
    assert table.covered(RULE.name, after + timedelta(minutes=1)) == []
    assert waiting(table, after) == []


def test_an_alert_that_was_open_before_goes_on_and_is_told_to_nobody_twice(database: Database) -> None:
    table = Alerts(database)
    table.apply([Change(kind="opened", rule=RULE, subject="", value=3, sample=9)], now=START, channels=("webhook", "mail"))
    claimed = table.claim(START)
    table.sent(claimed.notice_id, now=START)
    assert claimed.channel == "webhook"
    # The mail about it was still waiting when the database went away, so the instance told of the outage by mail.
    table.cover(over(5, heard="mail", missed=""), until=START + timedelta(minutes=5))
    (row,) = table.latest()
    assert row.resolved_at is None and table.covered(RULE.name, START) == []
    now = START + timedelta(minutes=12)
    table.apply([Change(kind="resolved", rule=RULE, subject="", alert_id=row.id)], now=now, channels=())
    assert waiting(table, now) == [("webhook", "resolved")]


def test_whoever_knows_of_an_open_alert_is_not_told_again_but_alertmanager_goes_on_hearing(receiver: Receiver) -> None:
    scene = Scene(receiver)
    scene.outage.learn(RULE, quiet_until=None, told=("webhook", "am"))
    scene.answers = False
    for _ in range(4):
        assert scene.look(minutes=2) == []
    assert [path for path, *_ in receiver.posts] == ["/api/v2/alerts"] * 3
    assert not scene.outage.settle(lambda told: None), "it goes on"
    scene.answers, kept = True, []
    assert scene.look(seconds=5) == []
    assert scene.outage.settle(kept.append) and scene.outage.settle(kept.append)
    assert [(told.heard, told.missed) for told in kept] == [(frozenset(), frozenset())]
    assert len(receiver.posts) == 3, "the alert ends by itself"
    scene.outage.learn(RULE, quiet_until=None)
    scene.answers = False
    scene.look()
    assert scene.look(minutes=2) == ["[CRITICAL"], "of the next outage nobody knows yet"


def test_the_end_is_told_of_what_was_told_to_begin_whatever_was_changed_meanwhile(receiver: Receiver) -> None:
    scene = Scene(receiver)
    scene.answers = False
    scene.look()
    assert scene.look(minutes=1) == ["[CRITICAL"]
    scene.outage.learn(RULE.edited({"severity": "warning", "enabled": False}), quiet_until=None)
    scene.answers = True
    assert scene.look(seconds=5) == ["[RESOLVED"]
    labels = [body[0]["labels"] for path, _, body in receiver.posts if path == "/api/v2/alerts"]
    assert labels[0] == labels[-1] and labels[0]["severity"] == "critical", "another severity is another alert there, and this one would stay open"


def test_an_outage_that_cannot_be_stored_yet_is_stored_later(receiver: Receiver) -> None:
    scene = Scene(receiver)
    scene.answers = False
    scene.look()
    scene.look(minutes=1)
    scene.answers = True
    scene.look(seconds=5)

    def away(_: Told) -> None:
        raise ServiceUnavailable("database", "gone again")

    with pytest.raises(ServiceUnavailable):
        scene.outage.settle(away)
    kept: list[Told] = []
    assert scene.outage.settle(kept.append)
    assert [sorted(told.heard) for told in kept] == [["am", "webhook"]]


def test_a_console_that_starts_while_its_database_is_away_tells_of_it(
    postgres, console_settings, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: ANN001
) -> None:
    url, proxy = postgres
    for name, value in {
        "DATABASE_URL": through(url, proxy), "REDIS_URL": console_settings.redis_address, "DATA_DIR": str(tmp_path / "late"),
        "ALERT_WEBHOOK_URL": f"{receiver.url}/hook", "PUBLIC_URL": "https://console.example",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(outage_module, "SHORTEST", timedelta(seconds=1))
    monkeypatch.setattr(telling, "LOOK_EVERY", 0.2)
    proxy.set("refused")
    started: list[Engine] = []

    def until(count: int) -> None:
        limit = time.monotonic() + 90
        while len(receiver.posts) < count:
            assert time.monotonic() < limit
            time.sleep(0.05)

    try:
        process.start(started.append)
        until(1)
        assert not started and process.away() == "database"
        assert receiver.posts[0][2]["text"].startswith("[CRITICAL] The database does not answer")
        assert receiver.posts[0][2]["attachments"][0]["title_link"] == "https://console.example/alerts"
        proxy.set("ok")
        until(2)
        assert receiver.posts[1][2]["text"].startswith("[RESOLVED] The database does not answer")
        limit = time.monotonic() + 90
        while not started:
            assert time.monotonic() < limit
            time.sleep(0.05)
        due(started[0], "report", "alerts", "notices")
        (row,) = [row for row in started[0].watch.alert_table.latest() if row.rule == RULE.name]
        assert row.resolved_at is not None, "the engine that came later has stored it"
        assert told_by(receiver) == ["[CRITICAL", "[RESOLVED"]
    finally:
        proxy.set("ok")
        process.stop()


def test_the_console_itself_tells_when_its_database_is_gone(postgres, console_settings, receiver: Receiver) -> None:  # noqa: ANN001
    url, proxy = postgres
    now = [datetime.now(UTC)]
    given = console_settings.model_copy(update={
        "database_url": SecretStr(through(url, proxy)), "alert_webhook_url": SecretStr(f"{receiver.url}/hook"),
    })
    engine = bootstrap.build(given, log_stream=None, clock=lambda: now[0], chance=random.Random(1))
    try:
        engine.watch.upkeep.close()
        engine.watch.lookout.close()
        look = engine.watch.lookout.outage.look
        look()
        proxy.set("refused")
        for seconds in (5, 35, 35):
            look()
            now[0] += timedelta(seconds=seconds)
        assert [body["text"].split("]")[0] for _, _, body in receiver.posts] == ["[CRITICAL"]
        proxy.set("ok")
        while len(receiver.posts) < 2:
            look()
        assert receiver.posts[-1][2]["text"].startswith("[RESOLVED] The database does not answer")
    finally:
        proxy.set("ok")
        engine.close()


def test_metrics_are_given_to_a_token_that_was_good_lately_while_the_database_is_away(
    postgres, servers, tmp_path  # noqa: ANN001
) -> None:
    url, proxy = postgres
    console = Served(through(url, proxy), f"{servers.redis_url}?db=3", tmp_path)
    try:
        console.start()
        good, unused = console.token(Role.MANAGER), console.token(Role.MANAGER)
        agent = console.token(Role.AGENT)

        def scraped(token: str) -> int:
            return requests.get(f"{console.url}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=60).status_code

        assert (scraped(good), scraped(agent)) == (200, 403)
        proxy.set("refused")
        assert scraped(good) == 200
        text = requests.get(f"{console.url}/metrics", headers={"Authorization": f"Bearer {good}"}, timeout=60).text
        assert 'routing_service_breaker_state{service="database"}' in text and "routing_tickets_spooled" in text
        assert scraped(agent) == 403, "a token without the scope stays without it"
        assert scraped(unused) == 503, "a token that was never seen is not believed"
        assert scraped(good[:-1] + ("A" if good[-1] != "A" else "B")) == 503
        assert requests.get(f"{console.url}/metrics", timeout=60).status_code == 401
    finally:
        proxy.set("ok")
        console.close()


def test_tickets_of_a_token_that_was_good_lately_are_kept_while_the_database_is_away(postgres, servers, tmp_path) -> None:  # noqa: ANN001
    url, proxy = postgres
    console = Served(through(url, proxy), f"{servers.redis_url}?db=3", tmp_path)
    try:
        console.start()
        good, unused, admin = console.token(Role.AGENT), console.token(Role.AGENT), console.token(Role.ADMIN)

        def sent(token: str, id_: str) -> requests.Response:
            return requests.post(
                f"{console.url}/api/v1/tickets", json={"body": "where is my parcel", "ticket_id": id_},
                headers={"Authorization": f"Bearer {token}"}, timeout=60,
            )

        assert sent(good, "crm-1").status_code == 201
        proxy.set("refused")
        kept = sent(good, "crm-2")
        assert (kept.status_code, kept.json()["status"], kept.json()["ticket_id"]) == (202, "spooled", "crm-2")
        assert kept.json()["reason"] == "the database does not answer", "and nothing of where it is"
        for token in (unused, good[:-1] + ("A" if good[-1] != "A" else "B")):
            refused = sent(token, "crm-3")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
            assert refused.json()["error"] == {
                "kind": "unavailable", "message": "database is not available. Nothing was stored: send it again later.",
            }
        read = requests.get(f"{console.url}/api/v1/tickets/crm-1", headers={"Authorization": f"Bearer {good}"}, timeout=60)
        assert (read.status_code, read.json()["error"]["message"]) == (503, "database is not available. Ask again later.")
        proxy.set("ok")
        end, stored = time.monotonic() + 60, []
        while not stored:
            assert time.monotonic() < end
            time.sleep(0.1)
            # This process's own connections have to find back as well.
            with suppress(ServiceUnavailable):
                stored = console.engine.decisions.rows(["crm-2", "crm-3"])
        assert [row.ticket_id for row in stored] == ["crm-2"]
        assert console.engine.decisions.rows(["crm-2"])[0].created_by == "agent"
        health = requests.get(f"{console.url}/api/v1/health", headers={"Authorization": f"Bearer {admin}"}, timeout=60)
        assert health.status_code == 200, "also where there is an error to tell of"
        told = next(row for row in health.json()["services"] if row["service"] == "database")
        assert told["last_error"] and datetime.fromisoformat(told["last_error_at"]).tzinfo is not None
    finally:
        proxy.set("ok")
        console.close()


def test_a_remembered_token_is_believed_for_its_time_and_not_after_its_end(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [datetime.now(UTC)]
    monkeypatch.setattr(console.tokens, "_clock", lambda: now[0])
    console.accounts.add("boss", role=Role.MANAGER, by="test", password="plum-tractor-evening-42", must_change=False)
    boss = console.accounts.named("boss")
    tokens = console.tokens
    hour = timedelta(hours=1)
    lasting, revoked = (tokens.make(boss, name="m", scopes=["metrics"], days=1, by="test") for _ in range(2))
    find = tokens._store.find

    def away(_: str) -> None:
        raise ServiceUnavailable("database", "gone")

    assert tokens.find_again(lasting, within=hour) and tokens.find_again(revoked, within=hour)
    tokens.revoke(revoked.split("_")[1], by="test")
    assert tokens.find_again(revoked, within=hour) is None
    monkeypatch.setattr(tokens._store, "find", away)
    with pytest.raises(ServiceUnavailable):
        tokens.find_again(revoked, within=hour)
    assert tokens.find_again(lasting, within=hour).user == "boss"
    now[0] += timedelta(minutes=59)
    assert tokens.find_again(lasting, within=hour).user == "boss"
    now[0] += timedelta(minutes=2)
    with pytest.raises(ServiceUnavailable):
        tokens.find_again(lasting, within=hour)
    monkeypatch.setattr(tokens._store, "find", find)
    now[0] += timedelta(hours=22, minutes=50)
    assert tokens.find_again(lasting, within=hour)
    monkeypatch.setattr(tokens._store, "find", away)
    now[0] += timedelta(minutes=30)
    with pytest.raises(ServiceUnavailable):
        tokens.find_again(lasting, within=hour)


def test_of_more_tokens_than_are_remembered_those_are_that_were_used_last(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    console.accounts.add("boss", role=Role.MANAGER, by="test", password="plum-tractor-evening-42", must_change=False)
    boss, tokens, hour = console.accounts.named("boss"), console.tokens, timedelta(hours=1)
    monkeypatch.setattr("engine.tokens.REMEMBERED", 2)
    one, two, three = (tokens.make(boss, name=name, scopes=["metrics"], by="test") for name in ("one", "two", "three"))
    for token in (one, two, one, three):
        assert tokens.find_again(token, within=hour)

    def away(_: str) -> None:
        raise ServiceUnavailable("database", "gone")

    monkeypatch.setattr(tokens._store, "find", away)
    assert [tokens.find_again(token, within=hour).token_name for token in (one, three)] == ["one", "three"]
    with pytest.raises(ServiceUnavailable):
        tokens.find_again(two, within=hour)
