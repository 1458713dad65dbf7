"""What a check reports of services that answer, fail or say nothing."""
from __future__ import annotations

import threading
import time

import pytest

from engine.errors import ConfigurationError, ServiceUnavailable
from engine.health import Check, Health


def health(*checks: Check, longest: float = 0.05) -> Health:
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
        assert (index.ok, index.detail) == (False, "no answer within 0.05 s")
        assert (database.ok, database.detail) == (True, "version 2")
    assert len(asked) == 1
    answered.set()
    while not checked.test("index").ok:
        time.sleep(0.01)
    assert checked.ready()


@pytest.mark.parametrize("error", [ServiceUnavailable("index", "refused"), ConfigurationError("PINECONE_INDEX: is wrong")])
def test_an_error_of_the_product_is_what_the_row_says(error: Exception) -> None:
    def probe() -> str:
        raise error

    found = health(Check("index", "configured", probe, consequence="The copy answers."), longest=60.0).test("index")
    assert (found.ok, found.detail, found.consequence) == (False, str(error), "The copy answers.")


def test_any_other_error_is_not_hidden() -> None:
    def probe() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        health(Check("index", "configured", probe), longest=60.0).report()
