"""Work that goes on in the background whatever happens to it, on a thread of its own."""
from __future__ import annotations

import threading
from collections.abc import Callable

from engine.errors import ServiceUnavailable
from engine.ports import DecisionLog


class Outages:
    """Tells of each outage of a task once: a line every few seconds helps nobody."""

    def __init__(self, log: DecisionLog) -> None:
        self._log = log
        self._failing: set[str] = set()

    def survive(self, task: str, work: Callable[[], object]) -> bool:
        """Do the work; True when it succeeded. No Exception gets out: what failed is tried again at its next time."""
        try:
            work()
        except ServiceUnavailable as error:
            self._failed(task, service=error.service, reason=error.reason)
        except Exception as error:  # noqa: BLE001 - a thread that ends silently is worse than anything that it may meet
            self._failed(task, error=type(error).__name__)
        else:
            self._failing.discard(task)
            return True
        return False

    def _failed(self, task: str, **fields: object) -> None:
        if task not in self._failing:
            self._failing.add(task)
            self._log.event("upkeep_failed", task=task, **fields)


class Background:
    """A thread that does its `work` again and again until `close`, and goes on after whatever that raises.

    `interval` seconds pass in between, `after_failure` (the same by default) when it failed; with `at_once` the first time
    comes with `start`.
    """

    def __init__(
        self, name: str, work: Callable[[], object], *, log: DecisionLog, interval: float, after_failure: float | None = None,
        at_once: bool = False,
    ) -> None:
        self._name = name
        self._work = work
        self._outages = Outages(log)
        self._interval = interval
        self._after_failure = interval if after_failure is None else after_failure
        self._at_once = at_once
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._go, name=name, daemon=True)

    @property
    def stopped(self) -> bool:
        """True once `close` was called: long work looks at it now and then."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin, until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Stop after what is under way; may be called by the work itself."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)

    def _go(self) -> None:
        wait = 0.0 if self._at_once else self._interval
        while not self._stopped.wait(wait):
            wait = self._interval if self._outages.survive(self._name, self._work) else self._after_failure
