"""OpenTelemetry traces: one per ticket with a span per stage, sent as OTLP over HTTP in JSON (`OTEL_ENDPOINT/v1/traces`).

The stages' durations are known when the decision is stored; spans are laid one after the other in the stages' order.
Optional, off a ticket's path, and without a library: the JSON form of OTLP 1.x is a POST.
"""
from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from engine.adapters.http_post import post_json
from engine.domain import Decision, Ticket
from engine.errors import ServiceUnavailable

EVERY = 5.0
# Traces kept while the collector is away; newer ones are dropped and counted.
MOST = 2_000
INTERNAL = 1


class Tracing:
    """A sink for decisions; a thread of its own sends the spans. `failed` hears why the collector took none, once until it does."""

    def __init__(self, endpoint: str, *, failed: Callable[[str], None] = lambda _: None) -> None:
        self._url = endpoint.rstrip("/") + "/v1/traces"
        self._failed = failed
        self._failing = False
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, str, Decision, float | None]] = []
        self.dropped = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracing", daemon=True)
        self._thread.start()

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None:
        """Keep a stored decision for the next sending."""
        with self._lock:
            if len(self._waiting) >= MOST:
                self.dropped += 1
            else:
                self._waiting.append((time.time_ns(), ticket.channel.value, decision, store_ms))

    def event(self, name: str, **fields: object) -> None:
        """Events are in the log."""

    def flush(self) -> bool:
        """Send what waits; False when the collector did not take it, which then keeps it."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        if not taken:
            return True
        spans = [span for one in taken for span in _spans(*one)]
        resource = {"attributes": [_attribute("service.name", "routing-console")]}
        try:
            post_json(self._url, {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "routing"}, "spans": spans}]}]})
        except ServiceUnavailable as error:
            with self._lock:
                kept = taken + self._waiting
                self._waiting = kept[:MOST]
                self.dropped += len(kept) - len(self._waiting)
            if not self._failing:
                self._failed(error.reason)
            self._failing = True
            return False
        self._failing = False
        return True

    def close(self) -> None:
        """Send the rest and stop."""
        self._stopped.set()
        self._thread.join(timeout=10)
        self.flush()

    def _work(self) -> None:
        while not self._stopped.wait(EVERY):
            self.flush()


def _spans(end: int, channel: str, decision: Decision, store_ms: float | None) -> list[dict[str, Any]]:
    stages = [(name, ms) for name, ms in decision.timings.items() if name != "total"]
    if store_ms is not None:
        stages.append(("store", store_ms))
    trace, root = secrets.token_hex(16), secrets.token_hex(8)
    at = begin = end - int(1e6 * sum(ms for _, ms in stages))
    children = []
    for name, ms in stages:
        after = at + int(1e6 * ms)
        children.append(_span(trace, secrets.token_hex(8), name, at, after, parent=root))
        at = after
    attributes = {
        "ticket.id": decision.ticket_id, "ticket.channel": channel, "routing.department": decision.department,
        "routing.method": decision.method.value, "routing.automation": decision.automation.value, "routing.confidence": decision.confidence,
        "routing.degraded_by": ",".join(decision.degraded_by),
    }
    return [_span(trace, root, "route", begin, end, attributes=attributes), *children]


def _span(trace: str, span: str, name: str, begin: int, end: int, *, parent: str = "", attributes: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "traceId": trace, "spanId": span, "parentSpanId": parent, "name": name, "kind": INTERNAL, "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(end), "attributes": [_attribute(key, value) for key, value in (attributes or {}).items()],
    }


def _attribute(key: str, value: object) -> dict[str, Any]:
    return {"key": key, "value": {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}}
