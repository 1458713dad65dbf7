"""What several processes report of one service, as one state."""
from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engine.breaker import Breaker, Circuit, ServiceState
from engine.errors import ServiceUnavailable
from engine.reported import as_rows, together

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Process:
    """A process's last report as it comes out of the database."""

    name: str
    services: dict[str, dict[str, object]]
    seen_at: datetime = NOW


def states(*errors: str, minutes: int = 0) -> dict[str, ServiceState]:
    breaker = Breaker("index", stopwatch=lambda: 0.0, clock=lambda: NOW + timedelta(minutes=minutes), chance=random.Random(1), failures=2)
    for error in errors:
        breaker.failed(ServiceUnavailable("index", error))
    return {"index": breaker.state()}


def reported(**processes: dict[str, ServiceState]) -> list[Process]:
    return [Process(name, json.loads(json.dumps(as_rows(given)))) for name, given in processes.items()]


def test_one_process_is_told_as_it_is() -> None:
    alone = states("refused", "refused again")
    assert together(reported(one=alone)) == alone


def test_of_several_the_worst_circuit_the_newest_error_and_all_failures_are_told() -> None:
    found = together(reported(one=states(), two=states("old", "older"), three=states("newest", minutes=5)))["index"]
    assert (found.circuit, found.last_error, found.last_error_at, found.failures) == (
        Circuit.OPEN, "index is not available: newest", NOW + timedelta(minutes=5), 3,
    )
    assert found.retry_in > 0


def test_without_a_process_nothing_is_known() -> None:
    assert together([]) == {}
    assert together(reported(one={})) == {}
