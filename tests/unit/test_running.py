"""The one engine of a process: built when it can be, replaced without a gap, closed at the end."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from engine.errors import ConfigurationError, ServiceUnavailable
from engine.running import Running


class Thing:
    """Stands for an engine."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.close = self.closed.set


class Builder:
    """Builds things, or raises what stands in `errors` first; the thread that goes on trying does so while `again` is set."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.built: list[Thing] = []
        self.again = threading.Event()
        self.again.set()

    def __call__(self, renew: Callable[[], None]) -> Thing:
        if threading.current_thread().name == "start":
            assert self.again.wait(20)
        if self.errors:
            raise self.errors.pop(0)
        self.built.append(Thing())
        return self.built[-1]


def made(builder: Builder, said: list[str], *, last_callers: float = 0.01) -> Running[Thing]:
    return Running(builder, say=said.append, interval=0.01, last_callers=last_callers)


def until(true: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_it_is_built_once_at_first_use_and_closed_by_stop() -> None:
    builder = Builder()
    running = made(builder, [])
    assert running.engine() is running.engine()
    assert running.away() is None
    running.stop()
    assert len(builder.built) == 1
    assert builder.built[0].closed.is_set()
    assert running.engine() is builder.built[1]


def test_while_a_service_is_away_callers_are_told_at_once_and_each_reason_is_said_once() -> None:
    gone, said, entered = ServiceUnavailable("database", "refused"), [], []
    builder = Builder(*[gone] * 5, ServiceUnavailable("database", "starting up"), ConfigurationError("no extension"), ValueError("odd"), *[gone] * 2)
    running = made(builder, said)
    builder.again.clear()
    running.start(entered.append)
    assert running.away() == "database"
    tried = len(builder.errors)
    with pytest.raises(ServiceUnavailable, match="^database is not available: refused$"):
        running.engine()
    assert len(builder.errors) == tried, "a caller does not try, and wait, for itself"
    builder.again.set()
    until(lambda: entered)
    assert entered == [running.engine()] == builder.built
    assert running.away() is None
    assert [text.partition("available: ")[2] for text in said] == ["refused", "starting up", "no extension", "ValueError while starting", "refused"]
    running.stop()


def test_what_follows_the_start_is_tried_again_until_it_succeeds() -> None:
    results = [ServiceUnavailable("database", "gone again"), None]
    finished = threading.Event()

    def then(_: Thing) -> None:
        error = results.pop(0)
        if error is not None:
            raise error
        finished.set()

    builder = Builder()
    running = made(builder, [])
    running.start(then)
    assert finished.wait(20)
    assert running.engine() is builder.built[0]
    assert len(builder.built) == 1
    running.stop()


def test_a_configuration_error_at_the_start_is_raised() -> None:
    running = made(Builder(ConfigurationError("DATABASE_URL: no")), [])
    with pytest.raises(ConfigurationError):
        running.start(lambda _: None)


def test_a_replaced_engine_is_closed_after_its_last_callers() -> None:
    builder = Builder()
    running = made(builder, [])
    old = running.engine()
    running.renew()
    assert running.engine() is builder.built[1]
    assert old.closed.wait(20)
    assert not builder.built[1].closed.is_set()
    running.stop()


def test_a_replaced_engine_stays_open_until_the_last_long_work_on_it_ends() -> None:
    builder = Builder()
    running = made(builder, [])
    old = running.engine()
    with running.kept(old):
        with running.kept(old):
            running.renew()
            until(lambda: running._due)
        assert not old.closed.is_set()
        with running.kept(running.engine()):
            pass
    assert old.closed.wait(20)
    assert not builder.built[1].closed.is_set()
    with running.kept(running.engine()):
        running.stop()
        assert builder.built[1].closed.is_set(), "stopping waits for nobody"


def test_a_replacement_that_cannot_be_built_leaves_the_old_one_in_place() -> None:
    builder = Builder()
    running = made(builder, [])
    old = running.engine()
    builder.errors.append(ServiceUnavailable("database", "refused"))
    with pytest.raises(ServiceUnavailable):
        running.renew()
    assert running.engine() is old
    assert not old.closed.is_set()
    running.stop()


def test_stop_closes_replaced_engines_too_and_a_replacement_that_comes_late() -> None:
    builder = Builder()
    running = made(builder, [], last_callers=600)
    running.engine()
    running.renew()
    running.stop()
    running.renew()
    assert len(builder.built) == 3
    assert all(thing.closed.is_set() for thing in builder.built)


def test_stop_ends_the_trying() -> None:
    running = made(Builder(*[ServiceUnavailable("database", "refused")] * 10_000), [])
    running.start(lambda _: None)
    running.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "start"]
