"""A circuit breaker: a service that keeps failing is left alone for a while, then tried by one call."""
from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.errors import ServiceUnavailable


class Circuit(StrEnum):
    """closed: calls go through; open: calls are refused at once; half_open: one call is trying the service."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What is known of a service since the start. `retry_in` is the number of seconds until the next probe."""

    service: str
    circuit: Circuit
    calls: int
    failures: int
    refused: int
    retries: int
    last_error: str
    last_error_at: datetime | None
    retry_in: float


class Breaker:
    """Opens after `failures` failed calls in a row, for `pause` seconds (doubled by each failed probe, at most `longest`).

    Every call of `before` that returns must be followed by one of `succeeded` and `failed`. Only the counters are
    locked, never the call. `chance` spreads the pauses by a fifth, so that instances do not probe together.
    """

    def __init__(
        self, service: str, *, stopwatch: Callable[[], float], clock: Callable[[], datetime], chance: random.Random,
        failures: int = 3, pause: float = 1.0, longest: float = 30.0,
    ) -> None:
        self.service = service
        self._stopwatch = stopwatch
        self._clock = clock
        self._chance = chance
        self._allowed = failures
        self._first_pause = pause
        self._longest = longest
        self._lock = threading.Lock()
        self._pause = pause
        self._row = 0
        self._open_until: float | None = None
        self._probing = False
        self._calls = self._failures = self._refused = self._retries = 0
        self._last_error = ""
        self._last_error_at: datetime | None = None

    def before(self) -> None:
        """Ask to make a call. Raises ServiceUnavailable while the circuit is open or somebody else is probing."""
        with self._lock:
            if self._open_until is not None:
                if self._probing or self._stopwatch() < self._open_until:
                    self._refused += 1
                    raise ServiceUnavailable(self.service, f"left alone after {self._last_error or 'failures'}")
                self._probing = True
            self._calls += 1

    def succeeded(self) -> None:
        """The call was answered: the circuit closes."""
        with self._lock:
            self._row = 0
            self._open_until = None
            self._probing = False
            self._pause = self._first_pause

    def failed(self, error: Exception, *, decisive: bool = False) -> None:
        """The call failed; enough of them in a row, a failed probe, or one `decisive` failure open the circuit."""
        with self._lock:
            self._failures += 1
            self._row += 1
            self._last_error = (str(error).splitlines() or [""])[0][:300] or type(error).__name__
            self._last_error_at = self._clock()
            if self._probing:
                self._pause = min(self._longest, 2 * self._pause)
            if decisive or self._probing or self._row >= self._allowed:
                self._open_until = self._stopwatch() + self._pause * self._chance.uniform(0.8, 1.2)
                self._probing = False

    def retried(self) -> None:
        """Count a second or later attempt of one call."""
        with self._lock:
            self._retries += 1

    def probe_now(self) -> None:
        """End the pause: the next call tries the service. For an operator who has just repaired it."""
        with self._lock:
            if self._open_until is not None:
                self._open_until = self._stopwatch()

    @property
    def closed(self) -> bool:
        """False while the service is left alone or only being tried."""
        return self._open_until is None

    @property
    def asks_allowed(self) -> bool:
        """True when a call made now would go through; asking does not count as one."""
        return self._open_until is None or (not self._probing and self._stopwatch() >= self._open_until)

    def state(self) -> ServiceState:
        """A consistent snapshot."""
        with self._lock:
            left = 0.0 if self._open_until is None else max(0.0, self._open_until - self._stopwatch())
            circuit = Circuit.CLOSED if self._open_until is None else (Circuit.HALF_OPEN if self._probing or not left else Circuit.OPEN)
            return ServiceState(
                service=self.service, circuit=circuit, calls=self._calls, failures=self._failures, refused=self._refused,
                retries=self._retries, last_error=self._last_error, last_error_at=self._last_error_at, retry_in=round(left, 3),
            )
