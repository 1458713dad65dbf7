"""What a check reports of services that answer, fail or say nothing."""
from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime

import pytest

from engine.errors import ConfigurationError, ServiceUnavailable
from engine.guarded import Services
from engine.health import NOT_CONFIGURED, Check, Health


def health(*checks: Check, longest: float = 1.0) -> Health:
    return Health(checks, stopwatch=time.perf_counter, longest=longest)


def test_a_probe_that_never_ends_is_reported_in_time_and_asked_by_one_thread_alone() -> None:
    answered, asked = threading.Event(), []

    def probe() -> str:
        asked.append(1)
        answered.wait(60)
        return "version 1"

    checked = health(Check("index", "configured", probe, needed=False), Check("database", "embedded", lambda: "version 2"))
    for _ in range(3):
        index, database = checked.report()
        assert (index.ok, index.detail) == (False, "no answer within 1 s")
        assert (database.ok, database.detail) == (True, "version 2")
    assert len(asked) == 1
    answered.set()
    while not checked.test("index").ok:
        time.sleep(0.01)
    assert checked.ready()


def test_a_machine_that_gave_no_thread_once_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    checked = health(Check("database", "embedded", lambda: "version 2"))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        for _ in range(2):
            found = checked.test("database")
            assert not found.ok and "no thread" in found.detail
    assert checked.ready()


@pytest.mark.parametrize("error", [ServiceUnavailable("index", "refused"), ConfigurationError("PINECONE_INDEX: is wrong")])
def test_an_error_of_the_product_is_what_the_row_says(error: Exception) -> None:
    def probe() -> str:
        raise error

    found = health(Check("index", "configured", probe, consequence="The copy answers."), longest=60.0).test("index")
    assert (found.ok, found.detail, found.consequence) == (False, str(error), "The copy answers.")


def test_a_service_that_is_not_configured_has_a_row_with_what_follows_and_nobody_asks_it() -> None:
    absent = Check("language_model", NOT_CONFIGURED, None, needed=False, consequence="People decide.")
    checked = health(absent, Check("database", "embedded", lambda: "version 2"))
    first, second = checked.report()
    assert (first.configured, first.ok, first.latency_ms, first.consequence) == (False, True, 0.0, "People decide.")
    assert (second.configured, second.consequence) == (True, "")
    assert checked.services == ("database",)
    assert checked.ready()


def test_tickets_go_without_a_service_only_if_it_is_one_of_theirs() -> None:
    breakers = Services(stopwatch=time.monotonic, clock=lambda: datetime.now(UTC), sleep=time.sleep, chance=random.Random(1))
    for name in ("index", "replica"):
        breakers.breaker(name, failures=1).failed(ServiceUnavailable(name, "refused"))
    found = Health(
        [
            Check("index", "configured", lambda: "version 1", needed=False, consequence="The copy answers."),
            Check("replica", "configured", lambda: "version 2", needed=False, consequence="The primary answers.", of_tickets=False),
        ],
        stopwatch=time.perf_counter, states=breakers.states,
    )
    assert found.left_alone() == [("index", "The copy answers.")]
    assert [report.consequence for report in found.report()] == ["The copy answers.", "The primary answers."]


def test_any_other_error_is_not_hidden() -> None:
    def probe() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        health(Check("index", "configured", probe), longest=60.0).report()
