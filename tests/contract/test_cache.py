"""One battery for the exact cache: the embedded Valkey, Debian's redis-server with a password, and a cluster."""
from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from db.embedded import EmbeddedServers
from engine.adapters.redis_cache import RedisCache
from engine.domain import Candidate, Neighbour
from engine.errors import ServiceUnavailable
from engine.ports import CachedRoute
from tests.servers.faulty import BlackHole, refused_port

ROUTE = CachedRoute(
    "T-1", "Billing", "charged_twice", 0.97, 0.95, "learned", (Candidate("Billing", 0.95), Candidate("Sales", 0.02)),
    (Neighbour(1, "Billing", "charged_twice", 0.9, source="seed"),),
)


def started(folder: Path, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """Debian's redis-server on a free port, answering."""
    port = refused_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return process, port
        except OSError:
            assert process.poll() is None and time.monotonic() < limit, "redis-server did not start"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, port = started(tmp_path_factory.mktemp("redis"), "--requirepass", "s3cret/:@")
    yield f"redis://:s3cret%2F%3A%40@127.0.0.1:{port}/0"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three masters that hold all slots."""
    with ExitStack() as stack:
        ports = []
        for number in range(3):
            process, port = started(tmp_path_factory.mktemp(f"node{number}"), "--cluster-enabled", "yes", "--cluster-port", str(refused_port()))
            stack.callback(process.wait)
            stack.callback(process.kill)
            ports.append(port)
        nodes = [redis.Redis(port=port) for port in ports]
        for number, node in enumerate(nodes):
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", number * 5462, min(16383, number * 5462 + 5461))
        buses = [int(node.config_get("cluster-port")["cluster-port"]) for node in nodes]
        for port, bus in zip(ports[1:], buses[1:], strict=True):
            nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        while not all(b"cluster_state:ok" in _raw(node) for node in nodes):
            time.sleep(0.1)
        for node in nodes:
            node.close()
        yield f"redis://127.0.0.1:{ports[0]}/0"


def _raw(node: redis.Redis) -> bytes:
    answer = node.execute_command("CLUSTER INFO")
    return answer if isinstance(answer, bytes) else "\n".join(f"{k}:{v}" for k, v in answer.items()).encode()


@pytest.fixture(params=["valkey", "password", "cluster"])
def cache(request: pytest.FixtureRequest, servers: EmbeddedServers) -> Iterator[RedisCache]:
    if request.param == "valkey":
        made = RedisCache(f"{servers.redis_url}?db=3", ttl=60)
    else:
        made = RedisCache(request.getfixturevalue(request.param), ttl=60, cluster=request.param == "cluster")
    yield made
    made.remove("a")
    made.close()


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


def test_the_server_says_its_version(cache: RedisCache) -> None:
    assert any(character.isdigit() for character in cache.ping())


def test_a_broken_entry_is_a_miss(servers: EmbeddedServers) -> None:
    cache = RedisCache(f"{servers.redis_url}?db=3")
    with redis.Redis.from_url(f"{servers.redis_url}?db=3") as client:
        for broken in ("not json", "[]", "{}", '["e", 1]'):
            client.set("route:broken", broken)
            assert cache.get(["broken"], "e") == [None]
    cache.close()


def test_a_wrong_password_is_an_unavailable_cache_and_is_not_shown(password: str) -> None:
    cache = RedisCache(password.replace("s3cret", "wrong"))
    with pytest.raises(ServiceUnavailable) as caught:
        cache.get(["a"], "e")
    assert "wrong" not in str(caught.value).split("WRONGPASS")[0]
    cache.close()


@pytest.mark.parametrize("clustered", [False, True])
def test_nothing_listening_and_silence_are_unavailable(clustered: bool) -> None:
    hole = BlackHole()
    for port in (refused_port(), hole.port):
        cache = RedisCache(f"redis://127.0.0.1:{port}/0", cluster=clustered)
        with pytest.raises(ServiceUnavailable):
            cache.get(["a"], "e")
        with pytest.raises(ServiceUnavailable):
            cache.put({"a": ROUTE}, "e")
        cache.close()
    hole.close()


def test_a_restarted_server_is_used_again_at_once(tmp_path: Path) -> None:
    process, port = started(tmp_path)
    cache = RedisCache(f"redis://127.0.0.1:{port}/0")
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
