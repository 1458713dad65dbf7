"""When the database is away: people are told once by each instance, and whoever scrapes the metrics still gets them."""
from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from pydantic import SecretStr

from engine import bootstrap
from engine.access import Role
from engine.adapters.alertmanager import EVERY, Alertmanager
from engine.adapters.webhook import Webhook
from engine.alert_rules import SHIPPED
from engine.bootstrap import Engine
from engine.errors import ServiceUnavailable
from engine.outage import SHORTEST, Outage
from tests.faults.conftest import socket_of, through
from tests.integration.test_notify import Receiver
from tests.servers.proxy import FaultyProxy
from tests.serving import Served
from tests.unit.test_alerts import Quiet

START = datetime(2026, 3, 17, 8, 0, tzinfo=UTC)
RULE = next(rule for rule in SHIPPED if rule.name == "database_failures")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


class Scene:
    """A database that answers or not, one webhook, and a clock that is moved by hand."""

    def __init__(self, receiver: Receiver) -> None:
        self.now, self.answers = START, True
        self.receiver = receiver
        self.log = Quiet()
        self.outage = Outage(
            answers=lambda: self.answers, rule=RULE, page="https://console.example/alerts", instance="host:1", clock=lambda: self.now,
            log=self.log, channels={"webhook": Webhook(f"{receiver.url}/hook"), "am": Alertmanager(receiver.url, clock=lambda: self.now)},
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


def test_alertmanager_hears_of_an_outage_as_long_as_it_lasts(receiver: Receiver) -> None:
    scene = Scene(receiver)
    scene.answers = False
    scene.look()
    for _ in range(5):
        scene.look(seconds=EVERY.total_seconds())
    heard = [body[0] for path, _, body in receiver.posts if path == "/api/v2/alerts"]
    assert len(heard) == 5
    assert {alert["startsAt"] for alert in heard} == {START.isoformat()} and {alert["labels"]["subject"] for alert in heard} == {"host:1"}
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


def test_the_console_itself_tells_when_its_database_is_gone(postgres, console_settings, receiver: Receiver) -> None:  # noqa: ANN001
    url, proxy = postgres
    now = [datetime.now(UTC)]
    given = console_settings.model_copy(update={
        "database_url": SecretStr(through(url, proxy)), "alert_webhook_url": SecretStr(f"{receiver.url}/hook"),
    })
    engine = bootstrap.build(given, log_stream=None, clock=lambda: now[0], chance=random.Random(1))
    try:
        engine.watch.upkeep.close()
        look = next(one.run for one in engine.watch.upkeep._tasks if one.name == "outage")
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
