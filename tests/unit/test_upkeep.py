"""Tasks beside routing run when they are due, and a broken one neither ends the others nor fills the log."""
from __future__ import annotations

import threading
import time

from engine.errors import InvariantBroken, ServiceUnavailable
from engine.upkeep import Task, Upkeep
from tests.heard import Heard


class Watchword:
    """A stopwatch that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_task_runs_at_its_own_pace_and_not_before_its_first_time_has_come() -> None:
    ran: list[str] = []
    watch = Watchword()
    upkeep = Upkeep(
        [Task("often", 2.0, lambda: ran.append("often")), Task("seldom", 15.0, lambda: ran.append("seldom"))], log=Heard(), stopwatch=watch
    )
    assert upkeep.run_due() == []
    for _ in range(15):
        watch.now += 1.0
        upkeep.run_due()
    assert (ran.count("often"), ran.count("seldom")) == (7, 1)
    watch.now += 60.0
    assert upkeep.run_due() == ["often", "seldom"], "a long stop is made up for once, not thirty times"
    assert upkeep.run_due() == []


def test_a_task_that_is_wanted_at_once_runs_with_the_start_and_then_at_its_pace() -> None:
    watch, ran = Watchword(), []
    upkeep = Upkeep([Task("early", 15.0, lambda: ran.append(watch.now), at_once=True)], log=Heard(), stopwatch=watch)
    assert upkeep.run_due() == ["early"]
    assert upkeep.run_due() == []
    watch.now += 15.0
    assert upkeep.run_due() == ["early"]


def test_a_failing_task_is_told_once_for_each_outage_and_the_others_go_on() -> None:
    log, watch, ran = Heard(), Watchword(), []
    errors: list[Exception | None] = [ServiceUnavailable("database", "is away"), ServiceUnavailable("database", "is away"), None,
                                      InvariantBroken("odd"), ValueError("a customer's words"), None]

    def fail() -> None:
        error = errors.pop(0)
        if error is not None:
            raise error

    upkeep = Upkeep([Task("roll", 1.0, fail), Task("after", 1.0, lambda: ran.append(1))], log=log, stopwatch=watch)
    for _ in range(6):
        watch.now += 1.0
        assert upkeep.run_due() == ["roll", "after"]
    assert log.events == [
        ("upkeep_failed", {"task": "roll", "service": "database", "reason": "is away"}), ("upkeep_failed", {"task": "roll", "error": "InvariantBroken"}),
    ]
    assert len(ran) == 6


def test_close_lets_the_task_at_hand_end_and_starts_no_other() -> None:
    began, may_end, ran = threading.Event(), threading.Event(), []

    def long() -> None:
        began.set()
        may_end.wait(10)
        ran.append("long")

    upkeep = Upkeep([Task("long", 0.0, long), Task("next", 0.0, lambda: ran.append("next"))], log=Heard(), stopwatch=time.monotonic)
    upkeep.start()
    assert began.wait(10)
    closing = threading.Thread(target=upkeep.close)
    closing.start()
    while not upkeep._stopped.is_set():
        time.sleep(0.01)
    may_end.set()
    closing.join(10)
    assert not closing.is_alive()
    assert ran == ["long"]


def test_closing_what_was_never_started_is_no_error() -> None:
    Upkeep([], log=Heard(), stopwatch=time.monotonic).close()
