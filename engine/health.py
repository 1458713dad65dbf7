"""Is every service there? Asked by the health command, the readiness route and the system page."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.errors import ConsoleError


@dataclass(frozen=True, slots=True)
class Check:
    """One service: `probe` returns its version, or raises. `needed` services must answer before tickets can be routed."""

    service: str
    mode: str
    probe: Callable[[], str]
    needed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found. `latency_ms` is the time of one probe."""

    service: str
    mode: str
    ok: bool
    needed: bool
    detail: str
    latency_ms: float


class Health:
    """Runs the checks."""

    def __init__(self, checks: Sequence[Check], *, stopwatch: Callable[[], float]) -> None:
        self._checks = tuple(checks)
        self._stopwatch = stopwatch

    def report(self) -> list[Report]:
        """One report per service, in a fixed order; never raises for a service that is away."""
        return [self._one(check) for check in self._checks]

    def ready(self) -> bool:
        """True when every needed service answers."""
        return all(report.ok for report in self.report() if report.needed)

    def _one(self, check: Check) -> Report:
        started = self._stopwatch()
        try:
            ok, detail = True, check.probe()
        except ConsoleError as error:
            ok, detail = False, str(error)
        latency = 1000 * (self._stopwatch() - started)
        return Report(service=check.service, mode=check.mode, ok=ok, needed=check.needed, detail=detail, latency_ms=round(latency, 2))
