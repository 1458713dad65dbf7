"""One port for everything that wants to hear of decisions and events: log, metrics, counts, exporters."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from engine.domain import Decision, Ticket


class Sink(Protocol):
    """Hears of every decision and event; must be quick and must not wait for anything."""

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None: ...

    def event(self, name: str, **fields: object) -> None: ...


class Telemetry:
    """Tells all sinks. A sink that fails is counted in `failures` and skipped: no ticket is lost to telemetry."""

    def __init__(self, sinks: Sequence[Sink], *, closing: Sequence[Callable[[], None]] = ()) -> None:
        self._sinks = list(sinks)
        self._closing = list(closing)
        self.failures = 0

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None:
        """A decision was stored; storing took `store_ms` milliseconds, None where nobody measured."""
        for sink in self._sinks:
            try:
                sink.decision(ticket, decision, store_ms=store_ms)
            except Exception:  # noqa: BLE001 - whatever is wrong with a sink, the ticket is stored already
                self.failures += 1

    def event(self, name: str, **fields: object) -> None:
        """Something else happened that an operator should be able to look up later."""
        for sink in self._sinks:
            try:
                sink.event(name, **fields)
            except Exception:  # noqa: BLE001
                self.failures += 1

    def close(self) -> None:
        """Flush and close what has something to close, the last one first."""
        for close in reversed(self._closing):
            try:
                close()
            except Exception:  # noqa: BLE001
                self.failures += 1
