"""What the stages know about one ticket while it is being routed."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.domain import Neighbour, Ticket
from engine.errors import ServiceUnavailable
from engine.model import Prediction
from engine.ports import DecisionLog


@dataclass(slots=True)
class Work:
    """One ticket on its way; the stages fill it in. `audited`: a cache hit that walks through everything
    all the same. `kept`: its answer is in the exact cache.
    """

    ticket: Ticket
    fingerprint: str
    vector: np.ndarray | None = None
    neighbours: tuple[Neighbour, ...] = ()
    prediction: Prediction | None = None
    verdict: "Verdict | None" = None  # noqa: F821, UP037 - engine.verdict knows Work, not the other way round
    audited: bool = False
    audit_department: str | None = None
    kept: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    degraded_by: list[str] = field(default_factory=list)


class Timer:
    """Adds the milliseconds of its block to every ticket's `stage`; a batch shares them evenly."""

    def __init__(self, works: Sequence[Work], stage: str, stopwatch: Callable[[], float]) -> None:
        self._works = works
        self._stage = stage
        self._stopwatch = stopwatch

    def __enter__(self) -> None:
        self._started = self._stopwatch()

    def __exit__(self, *_: object) -> None:
        if self._works:
            share = 1000 * (self._stopwatch() - self._started) / len(self._works)
            for work in self._works:
                work.timings[self._stage] = work.timings.get(self._stage, 0.0) + share


class degraded:  # noqa: N801 - used like a function
    """A service that does not answer ends its stage, not the ticket; the decision says which one was away."""

    def __init__(self, works: Sequence[Work], log: DecisionLog) -> None:
        self._works = works
        self._log = log

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, ServiceUnavailable):
            return False
        self._log.event("service_unavailable", service=error.service)
        for work in self._works:
            if error.service not in work.degraded_by:
                work.degraded_by.append(error.service)
        return True
