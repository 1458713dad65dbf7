"""Identical tickets at the same moment, in one process or in several that share a cache: one is decided, the others wait."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from db.embedded import EmbeddedServers
from engine.adapters.redis_cache import RedisCache
from engine.adapters.redis_client import RedisClient
from engine.domain import Candidate
from engine.errors import ServiceUnavailable
from engine.flights import FIRST_LOOK, LONGEST, LONGEST_LOOK, Boarding, Flights
from engine.ports import CachedRoute
from engine.resilience import Deadline
from tests.servers.faulty import refused_port

ROUTE = CachedRoute("T-1", "Billing", None, 0.97, 0.95, "learned", (Candidate("Billing", 0.95),), ())


@pytest.fixture
def cache(servers: EmbeddedServers) -> Iterator[RedisCache]:
    client = RedisClient(f"{servers.redis_url}?db=4")
    made = RedisCache(client, ttl=60)
    yield made
    client().flushdb()
    made.close()


def soon(seconds: float = 8.0) -> Deadline:
    return Deadline.after(seconds, stopwatch=time.monotonic)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits does so for a minute: what ends it sooner is that the first one has left."""
    monkeypatch.setattr("engine.flights.LONGEST", 60.0)


class Waiting:
    """A ticket that waits on a thread of its own; `wait` returns once it does."""

    def __init__(self, flights: Flights, pool: ThreadPoolExecutor, cache: RedisCache) -> None:
        looked = threading.Event()
        real = cache.claim

        def claim(*arguments: object, **more: object):  # noqa: ANN202
            found = real(*arguments, **more)
            looked.set()
            return found

        cache.claim = claim
        self.result = pool.submit(flights.board, "print", "e", deadline=soon(120.0))
        assert looked.wait(20)
        cache.claim = real


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("same_process", [True, False])
def test_the_second_one_gets_the_answer_of_the_first(cache: RedisCache, same_process: bool) -> None:
    first = Flights(cache)
    second = first if same_process else Flights(cache)
    leading = first.board("print", "e", deadline=soon())
    assert leading.leads
    with ThreadPoolExecutor(1) as pool:
        waiting = Waiting(second, pool, cache)
        assert not waiting.result.done()
        cache.put({"print": ROUTE}, "e")
        first.leave(leading, kept=True)
        assert waiting.result.result(20) == Boarding(ROUTE)
    assert second.board("print", "e", deadline=soon()) == Boarding(ROUTE)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("same_process", [True, False])
def test_without_an_answer_the_second_one_is_decided_on_its_own_and_nobody_waits_for_it(cache: RedisCache, same_process: bool) -> None:
    first = Flights(cache)
    second = first if same_process else Flights(cache)
    leading = first.board("print", "e", deadline=soon())
    with ThreadPoolExecutor(1) as pool:
        waiting = Waiting(second, pool, cache)
        first.leave(leading, kept=False)
        assert waiting.result.result(20) == Boarding()
    again = second.board("print", "e", deadline=soon())
    assert again.leads, "the claim was released, so the next one leads"
    second.leave(again, kept=False)


def test_a_claim_of_a_killed_process_holds_nobody_up_for_more_than_half_of_its_time(cache: RedisCache) -> None:
    cache.claim("print", "e", holder="a process that is gone", seconds=60)
    slept: list[float] = []
    now = [100.0]

    def pause(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    flights = Flights(cache, pause=pause)
    assert flights.board("print", "e", deadline=Deadline(102.0, lambda: now[0])) == Boarding()
    assert sum(slept) == pytest.approx(1.0)
    now[0] = 200.0
    slept.clear()
    assert flights.board("print", "e", deadline=Deadline(260.0, lambda: now[0])) == Boarding()
    assert sum(slept) == pytest.approx(3.0)
    assert (slept[0], max(slept)) == (FIRST_LOOK, LONGEST_LOOK), "an answer is never noticed later than that"


def test_what_a_killed_process_has_claimed_is_forgotten_when_nobody_waits_for_it_any_more(cache: RedisCache, servers: EmbeddedServers) -> None:
    Flights(cache).board("print", "e", deadline=soon())
    with redis.Redis.from_url(f"{servers.redis_url}?db=4") as client:
        [left] = [client.pttl(name) for name in client.keys("route:*")]
    assert 0 < left <= 1000 * LONGEST


def test_an_entry_of_an_earlier_policy_still_lets_one_process_decide_once(cache: RedisCache) -> None:
    cache.put({"print": ROUTE}, "earlier")
    flights = Flights(cache)
    leading = flights.board("print", "e", deadline=soon())
    assert leading.leads
    with ThreadPoolExecutor(1) as pool:
        waiting = Waiting(flights, pool, cache)
        cache.put({"print": ROUTE}, "e")
        flights.leave(leading, kept=True)
        assert waiting.result.result(20) == Boarding(ROUTE)


def test_without_the_cache_nobody_waits_and_leaving_is_quiet(cache: RedisCache) -> None:
    gone = RedisCache(RedisClient(f"redis://127.0.0.1:{refused_port()}/0"))
    with pytest.raises(ServiceUnavailable):
        Flights(gone).board("print", "e", deadline=soon())
    Flights(gone).leave(Boarding(None, True, "print", "e", "me"), kept=False)
