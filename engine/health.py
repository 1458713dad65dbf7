"""Is every service there? Asked by the health command, the readiness route and the system page."""
from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from engine.breaker import Circuit, ServiceState
from engine.errors import ConsoleError, NotFound, ServiceUnavailable

# Seconds after which a probe counts as not answered, whatever the service's client would still wait for.
LONGEST = 5.0
# The mode of a service that the console can do without and that nobody has set up.
NOT_CONFIGURED = "not configured"


@dataclass(frozen=True, slots=True)
class Check:
    """One service: `probe` returns its version, or raises; None where the service is not configured.

    `needed` services must answer before tickets can be routed. `consequence` says what is different while it is away;
    `of_tickets` whether that is something about tickets.
    """

    service: str
    mode: str
    probe: Callable[[], str] | None
    needed: bool = True
    consequence: str = ""
    of_tickets: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found. `latency_ms` is the time of one probe; `circuit`, `last_error` and its time come from tickets.

    `last_error_at` is aware; `consequence` is empty while the service answers. One that is not configured is `ok`, was not
    asked, and has its consequence.
    """

    service: str
    mode: str
    ok: bool
    needed: bool
    detail: str
    latency_ms: float
    circuit: str = Circuit.CLOSED.value
    last_error: str = ""
    last_error_at: datetime | None = None
    consequence: str = ""

    @property
    def configured(self) -> bool:
        """False where there is no such service."""
        return self.mode != NOT_CONFIGURED


class Health:
    """Runs the checks. `states` gives what the services' breakers know, by name.

    A probe without an answer after `longest` seconds is reported as such and goes on alone; until it ends, nobody else
    is sent after it, so that a service that says nothing holds one thread, not one for each look at the page.
    """

    def __init__(
        self, checks: Sequence[Check], *, stopwatch: Callable[[], float],
        states: Callable[[], Mapping[str, ServiceState]] = dict, longest: float = LONGEST,
    ) -> None:
        self._checks = tuple(checks)
        self._stopwatch = stopwatch
        self._states = states
        self._longest = longest
        self._lock = threading.Lock()
        self._asked: dict[str, Future[str]] = {}

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services that can be asked."""
        return tuple(check.service for check in self._checks if check.probe is not None)

    def report(self, *, needed_only: bool = False) -> list[Report]:
        """One report per service, in a fixed order; never raises for a service that is away.

        With `needed_only` remote services that tickets can do without are not asked: for probes that come often.
        """
        return [self._one(check) for check in self._checks if check.needed or not needed_only]

    def left_alone(self) -> list[tuple[str, str]]:
        """The services that tickets go without at this moment, each with its consequence; asks nobody."""
        checks = {check.service: check for check in self._checks if check.of_tickets}
        away = [name for name, state in self._states().items() if state.circuit is not Circuit.CLOSED]
        return [(name, checks[name].consequence) for name in away if name in checks]

    def test(self, service: str) -> Report:
        """Ask one service now. Raises NotFound."""
        for check in self._checks:
            if check.service == service:
                return self._one(check)
        raise NotFound(f"service {service} is not one of {', '.join(check.service for check in self._checks)}.")

    def ready(self) -> bool:
        """True when every needed service answers."""
        return all(report.ok for report in self.report(needed_only=True))

    def _one(self, check: Check) -> Report:
        if check.probe is None:
            return Report(
                service=check.service, mode=check.mode, ok=True, needed=check.needed, detail="not asked", latency_ms=0.0, consequence=check.consequence
            )
        started = self._stopwatch()
        try:
            ok, detail = True, self._answer(check).result(self._longest)
        except TimeoutError:
            ok, detail = False, f"no answer within {self._longest:g} s"
        except ConsoleError as error:
            ok, detail = False, str(error)
        latency = 1000 * (self._stopwatch() - started)
        state = self._states().get(check.service)
        answering = ok and (state is None or state.circuit is Circuit.CLOSED)
        return Report(
            service=check.service, mode=check.mode, ok=ok, needed=check.needed, detail=detail, latency_ms=round(latency, 2),
            circuit=state.circuit.value if state else Circuit.CLOSED.value, last_error=state.last_error if state else "",
            last_error_at=state.last_error_at if state else None, consequence="" if answering else check.consequence,
        )

    def _answer(self, check: Check) -> Future[str]:
        with self._lock:
            asked = self._asked.get(check.service)
            if asked is None or asked.done():
                asked = self._asked[check.service] = Future()
                try:
                    threading.Thread(target=_ask, args=(check, asked), name=f"{check.service}-probe", daemon=True).start()
                except RuntimeError:
                    # The machine gives no more threads now. Who asks next begins anew: nobody will ever answer this one.
                    asked.set_exception(ServiceUnavailable(check.service, "no thread that asks it could be started"))
            return asked


def _ask(check: Check, answer: Future[str]) -> None:
    try:
        answer.set_result(check.probe())
    except BaseException as error:  # noqa: BLE001 - raised again where the answer is waited for
        answer.set_exception(error)
