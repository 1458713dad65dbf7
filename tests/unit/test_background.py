"""What works in the background goes on whatever it meets, and says so once for each outage."""
from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.background import Background
from engine.drain import Drainer
from engine.errors import InvariantBroken, ServiceUnavailable
from engine.reembed import Reembedder
from engine.refresh import Refresher
from engine.reindex import Reindexer
from engine.spool import Spool
from tests.unit.test_upkeep import Heard


class Failing:
    """Raises what it was given, one after the other, and then says that it was reached."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.reached = threading.Event()

    def __call__(self, *_: object, **__: object) -> object:
        if not self.errors:
            self.reached.set()
            return None
        error = self.errors.pop(0)
        if error is not None:
            raise error
        return None


ERRORS = (ValueError("a newer format"), ValueError("again"), None, KeyError("gone"), ServiceUnavailable("database", "away"), InvariantBroken("odd"))


def test_work_goes_on_after_any_error_and_each_outage_is_told_once() -> None:
    log, work = Heard(), Failing(*ERRORS)
    background = Background("work", work, log=log, interval=0.001)
    background.start()
    assert work.reached.wait(20)
    background.close()
    assert not background._thread.is_alive()
    assert log.events == [("upkeep_failed", {"task": "work", "error": "ValueError"}), ("upkeep_failed", {"task": "work", "error": "KeyError"})]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_pauses_are_those_that_were_asked_for(at_once: bool) -> None:
    """`interval` after what succeeded, `after_failure` after what did not; none before the first time where it is wanted at once."""
    pauses: list[float | None] = []
    background = Background(
        "work", Failing(None, ValueError("x"), ValueError("x"), None), log=Heard(), interval=7.0, after_failure=3.0, at_once=at_once,
    )

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return len(pauses) == 5

    background._stopped = Stopped()
    background._go()
    assert pauses == [0.0 if at_once else 7.0, 7.0, 3.0, 3.0, 7.0]


def test_work_may_close_its_own_background_and_is_not_done_again() -> None:
    done: list[int] = []
    background = Background("work", lambda: (done.append(1), background.close()), log=Heard(), interval=0.001, at_once=True)
    background.start()
    background._thread.join(20)
    assert (done, background.stopped) == ([1], True)


def test_closing_what_was_never_started_is_no_error() -> None:
    Background("work", Failing(), log=Heard(), interval=1.0).close()


class Nothing:
    """An embedder, an exemplar store, notes, an index: whatever the work asks fails first."""

    name, dimensions = "m", 3

    def __init__(self, fail: Failing) -> None:
        self.fail = fail

    def missing(self, *, limit: int) -> list[object]:
        self.fail()
        return []

    def open(self, *, again: bool = False) -> bool:
        return False

    def work(self, send: Callable[..., None]) -> int:
        self.fail()
        return 0

    def count(self) -> int:
        return 0


def refresher(fail: Failing, log: Heard, folder: Path) -> Refresher:
    stamps = iter(range(1_000_000))
    first = [True]

    def load() -> object:
        if first and first.pop():
            return object()
        fail()
        return type("State", (), {"versions": {}})()

    return Refresher(load=load, stamp=lambda: next(stamps), log=log, interval=0.001)


def drainer(fail: Failing, log: Heard, folder: Path) -> Drainer:
    return Drainer(spool=Spool(folder), route=fail, store=Nothing(fail), open_for_calls=lambda: bool(fail()), log=log, interval=0.001)


def reembedder(fail: Failing, log: Heard, folder: Path) -> Reembedder:
    return Reembedder(embedder=Nothing(fail), exemplars=Nothing(fail), log=log, look_every=0.001)


def reindexer(fail: Failing, log: Heard, folder: Path) -> Reindexer:
    return Reindexer(notes=Nothing(fail), index=Nothing(fail), log=log, interval=0.001)


@pytest.mark.parametrize("make", [refresher, drainer, reembedder, reindexer])
def test_no_worker_ends_with_an_error_that_nobody_thought_of(make: Callable[..., object], tmp_path: Path) -> None:
    log, fail = Heard(), Failing(*ERRORS)
    worker = make(fail, log, tmp_path)
    worker.start()
    try:
        assert fail.reached.wait(20)
    finally:
        worker.close()
    assert [name for name, _ in log.events].count("upkeep_failed") == 2
