"""Deadlines, retries, breakers and places: with a clock that the test moves."""
from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime

import pytest

from engine.breaker import Breaker, Circuit
from engine.errors import DeadlineExceeded, ServiceUnavailable
from engine.resilience import Deadline, Limits, Service, within


class Time:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def breaker(time: Time, **more: float) -> Breaker:
    return Breaker("thing", stopwatch=time, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC), chance=random.Random(1), **more)


def service(time: Time, limits: Limits, **more: float) -> Service:
    return Service("thing", breaker=breaker(time, **more), limits=limits, stopwatch=time, sleep=time.sleep, chance=random.Random(1))


def failing(error: Exception):  # noqa: ANN201
    def work(_: float) -> None:
        raise error

    return work


AGAIN = ServiceUnavailable("thing", "busy", retryable=True)
FOR_GOOD = ServiceUnavailable("thing", "wrong key")


def test_only_what_is_retryable_is_tried_again_and_no_more_often_than_allowed() -> None:
    time = Time()
    calls = []

    def work(error: ServiceUnavailable):  # noqa: ANN202
        def run(_: float) -> None:
            calls.append(1)
            raise error

        return run

    with pytest.raises(ServiceUnavailable):
        service(time, Limits(attempts=3)).call(work(FOR_GOOD))
    assert len(calls) == 1
    with pytest.raises(ServiceUnavailable):
        service(time, Limits(attempts=3)).call(work(AGAIN))
    assert len(calls) == 4
    assert len(time.slept) == 2


def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for() -> None:
    time = Time()
    door = service(time, Limits(attempts=50, first_wait=1.0, longest_wait=1.0, seconds=60))
    with pytest.raises(ServiceUnavailable):
        door.call(failing(AGAIN), deadline=Deadline.after(3.0, stopwatch=time))
    assert time.now <= 103.0
    assert door.state().retries == len(time.slept) > 1


def test_work_is_told_how_much_time_is_left_and_none_is_started_without_any() -> None:
    time = Time()
    door = service(time, Limits(seconds=5.0))
    assert door.call(lambda seconds: seconds) == 5.0
    assert door.call(lambda seconds: seconds, deadline=Deadline.after(2.0, stopwatch=time)) == 2.0
    with pytest.raises(DeadlineExceeded):
        door.call(lambda seconds: seconds, deadline=Deadline.after(0.0, stopwatch=time))


def test_a_breaker_opens_after_failures_in_a_row_probes_once_and_closes() -> None:
    time = Time()
    door = service(time, Limits(), failures=3, pause=1.0)
    for _ in range(3):
        assert door.state().circuit is Circuit.CLOSED
        with pytest.raises(ServiceUnavailable):
            door.call(failing(FOR_GOOD))
    assert door.state().circuit is Circuit.OPEN
    with pytest.raises(ServiceUnavailable, match="left alone"):
        door.call(lambda _: 1)
    time.now += 1.3
    assert door.state().circuit is Circuit.HALF_OPEN
    assert door.call(lambda _: 1) == 1
    assert door.state().circuit is Circuit.CLOSED
    assert door.state().refused == 1


def test_failures_with_an_answer_in_between_are_not_in_a_row() -> None:
    door = service(Time(), Limits(), failures=3)
    for _ in range(5):
        with pytest.raises(ServiceUnavailable):
            door.call(failing(FOR_GOOD))
        assert door.call(lambda _: 1) == 1
    assert door.state().circuit is Circuit.CLOSED


def test_a_probe_that_finds_no_place_or_meets_an_error_of_the_caller_is_not_the_last_one() -> None:
    time = Time()
    door = service(time, Limits(at_once=1), failures=1, pause=1.0)
    with pytest.raises(ServiceUnavailable):
        door.call(failing(FOR_GOOD))
    time.now += 2
    door._places.acquire()
    with pytest.raises(ServiceUnavailable, match="under way"):
        door.call(lambda _: 1)
    door._places.release()
    time.now += 3
    with pytest.raises(KeyError):
        door.call(failing(KeyError("bug")))
    assert door.call(lambda _: 1) == 1


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    time = Time()
    one = breaker(time, failures=1, pause=1.0, longest=5.0)
    pauses = []
    for _ in range(5):
        one.before()
        one.failed(FOR_GOOD)
        pauses.append(one.state().retry_in)
        time.now += pauses[-1] + 0.01
    for pause, wanted in zip(pauses, (1, 2, 4, 5, 5), strict=True):
        assert 0.8 * wanted <= pause <= 1.2 * wanted
    one.before()
    one.succeeded()
    one.before()
    one.failed(FOR_GOOD)
    assert one.state().retry_in <= 1.2, "after an answer it begins anew"


def test_only_one_caller_probes_while_the_others_are_refused() -> None:
    time = Time()
    one = breaker(time, failures=1, pause=1.0)
    one.before()
    one.failed(FOR_GOOD)
    time.now += 2
    one.before()
    assert one.state().circuit is Circuit.HALF_OPEN
    with pytest.raises(ServiceUnavailable):
        one.before()
    one.succeeded()
    one.before()


def test_one_long_silence_opens_the_circuit_where_the_limits_say_so() -> None:
    for silence, failed_after, opened in ((5.0, 6.0, True), (5.0, 4.0, False), (None, 6.0, False)):
        time = Time()
        door = service(time, Limits(seconds=60.0, silence=silence))

        def silent(_: float, seconds: float = failed_after, time: Time = time) -> None:
            time.sleep(seconds)
            raise DeadlineExceeded("thing", "no answer")

        with pytest.raises(DeadlineExceeded):
            door.call(silent)
        assert (door.state().circuit is Circuit.OPEN) == opened


def test_an_error_of_the_caller_is_no_failure_of_the_service() -> None:
    time = Time()
    door = service(time, Limits(), failures=1)
    with pytest.raises(KeyError):
        door.call(failing(KeyError("bug")))
    assert door.state().circuit is Circuit.CLOSED


def test_a_hanging_call_ends_for_its_caller_and_keeps_its_place_until_it_is_over() -> None:
    release = threading.Event()
    import time as clock

    door = Service(
        "thing", breaker=Breaker(
            "thing", stopwatch=clock.monotonic, clock=lambda: datetime.now(UTC), chance=random.Random(1), failures=100
        ),
        limits=Limits(seconds=0.1, at_once=2), stopwatch=clock.monotonic, sleep=clock.sleep, chance=random.Random(1),
    )
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            door.call(lambda _: release.wait(30))
    with pytest.raises(ServiceUnavailable, match="under way"):
        door.call(lambda _: 1)
    release.set()
    while True:
        try:
            assert door.call(lambda _: 1) == 1
            break
        except ServiceUnavailable:
            continue


def test_a_machine_that_gives_no_thread_takes_no_place_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    door = service(Time(), Limits(at_once=1))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(ServiceUnavailable, match="no thread"):
            door.call(lambda _: 1)
    assert door.call(lambda _: 1) == 1
    assert door.state().circuit is Circuit.CLOSED


def test_the_breakers_counters_add_up_under_many_threads() -> None:
    time = Time()
    door = service(time, Limits(), failures=10**9)

    def many() -> None:
        for number in range(200):
            try:
                door.call(failing(FOR_GOOD) if number % 2 else (lambda _: 1))
            except ServiceUnavailable:
                continue

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (door.state().calls, door.state().failures) == (1600, 800)


def test_a_call_ends_with_the_tickets_deadline_the_given_one_or_the_services_own_whichever_is_first() -> None:
    time, given = Time(), []
    door = service(time, Limits(seconds=5.0))
    other = Time()
    other.now = 9_000.0  # of another stopwatch, whose numbers mean nothing here
    with within(Deadline.after(2.0, stopwatch=other)):
        door.call(given.append)
        door.call(given.append, deadline=Deadline.after(1.0, stopwatch=time))
        door.call(given.append, deadline=Deadline.after(3.0, stopwatch=time))
        other.now += 1.5
        door.call(given.append)
        with within(Deadline.after(0.25, stopwatch=other)):
            door.call(given.append)
        other.now += 0.5
        with pytest.raises(DeadlineExceeded):
            door.call(given.append)
    door.call(given.append)
    door.call(given.append, more=2.0)
    assert given == [2.0, 1.0, 2.0, 0.5, 0.25, 5.0, 7.0]


def test_threads_outside_the_block_keep_the_services_own_limit_and_a_copied_context_does_not() -> None:
    time, given = Time(), []
    door = service(time, Limits(seconds=5.0))
    with within(Deadline.after(2.0, stopwatch=time)), ThreadPoolExecutor(1) as pool:
        pool.submit(door.call, given.append).result()
        pool.submit(copy_context().run, door.call, given.append).result()
        pool.submit(door.call, given.append).result()
    assert given == [5.0, 2.0, 5.0]
