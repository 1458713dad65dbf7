"""Counts what was called and what failed, per minute and service, until it can be written to the database."""
from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from engine.breaker import ServiceState
from engine.ports import Clock


class ServiceStore(Protocol):
    """Where the counts of all instances come together. Raises ServiceUnavailable."""

    def add(self, counts: Mapping[tuple[datetime, str], tuple[int, int]]) -> None: ...


class ServiceCounts:
    """Gathers counts by minute; `flush` hands them on, and keeps them when that fails.

    A call that is refused because the breaker is open counts as a failed one for the services in `refusals_of`: a ticket went
    without them, and while they are away almost every call is of that kind.
    """

    def __init__(self, *, clock: Clock, refusals_of: Collection[str] = ()) -> None:
        self._clock = clock
        self._refusals_of = frozenset(refusals_of)
        self._lock = threading.Lock()
        self._counts: dict[tuple[datetime, str], tuple[int, int]] = {}
        self._seen: dict[str, tuple[int, int]] = {}

    def take(self, states: Mapping[str, ServiceState]) -> None:
        """Count what the services' breakers have counted since the last time."""
        for name, state in states.items():
            calls, errors = self._seen.get(name, (0, 0))
            refused = state.refused if name in self._refusals_of else 0
            self._seen[name] = now = (state.calls + refused, state.failures + refused)
            if now[0] > calls or now[1] > errors:
                self.add(name, calls=now[0] - calls, errors=now[1] - errors)

    def add(self, service: str, *, calls: int, errors: int) -> None:
        """Count calls and errors of now."""
        minute = self._clock().replace(second=0, microsecond=0)
        with self._lock:
            self._count((minute, service), calls, errors)

    def flush(self, store: ServiceStore) -> None:
        """Hand everything on. Raises ServiceUnavailable, and then loses nothing."""
        with self._lock:
            taken, self._counts = self._counts, {}
        try:
            store.add(taken)
        except BaseException:
            with self._lock:
                for key, (calls, errors) in taken.items():
                    self._count(key, calls, errors)
            raise

    def _count(self, key: tuple[datetime, str], calls: int, errors: int) -> None:
        before = self._counts.get(key, (0, 0))
        self._counts[key] = (before[0] + calls, before[1] + errors)
