"""What the running processes report about the services that they call: each one's breakers, and all of them as one state."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from engine.breaker import Circuit, ServiceState

# From the best to the worst: one process that leaves a service alone is what an operator wants to know of.
_ORDER = (Circuit.CLOSED, Circuit.HALF_OPEN, Circuit.OPEN)
_ADDED = ("calls", "failures", "refused", "retries")


class Instance(Protocol):
    """A process's last report; `services` is what `as_rows` made there."""

    name: str
    seen_at: datetime
    services: Mapping[str, Mapping[str, Any]]
    worker: bool
    needs_worker: bool


def without_worker(instances: Sequence[Instance]) -> int:
    """How many of these leave work to a worker while none of them is one."""
    return 0 if any(instance.worker for instance in instances) else sum(instance.needs_worker for instance in instances)


def as_rows(states: Mapping[str, ServiceState]) -> dict[str, dict[str, Any]]:
    """States in the form of JSON, by service."""
    return {
        name: {
            "circuit": state.circuit.value, **{key: getattr(state, key) for key in _ADDED}, "retry_in": state.retry_in,
            "last_error": state.last_error, "last_error_at": state.last_error_at.isoformat() if state.last_error_at else None,
        }
        for name, state in states.items()
    }


def together(instances: Sequence[Instance]) -> dict[str, ServiceState]:
    """One state for each service: the worst circuit, the newest error, counts added up, the longest wait for a probe."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for instance in instances:
        for name, row in instance.services.items():
            found.setdefault(name, []).append(row)
    return {name: _one(name, rows) for name, rows in found.items()}


def _one(name: str, rows: Sequence[Mapping[str, Any]]) -> ServiceState:
    times = [datetime.fromisoformat(row["last_error_at"]) if row["last_error_at"] else None for row in rows]
    newest = max((time for time in times if time is not None), default=None)
    return ServiceState(
        service=name,
        circuit=max((Circuit(row["circuit"]) for row in rows), key=_ORDER.index),
        last_error="" if newest is None else rows[times.index(newest)]["last_error"],
        last_error_at=newest,
        retry_in=max(float(row["retry_in"]) for row in rows),
        calls=sum(row["calls"] for row in rows), failures=sum(row["failures"] for row in rows),
        refused=sum(row["refused"] for row in rows), retries=sum(row["retries"] for row in rows),
    )
