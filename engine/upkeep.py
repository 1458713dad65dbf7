"""What has to be done every few seconds beside routing: roll up, evaluate alerts, tell people, say "I am alive".

What waits for somebody else's server has an `Upkeep` of its own, so that it holds up nothing but itself.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.background import Outages
from engine.ports import DecisionLog


@dataclass(frozen=True, slots=True)
class Task:
    """`run` is called about every `seconds`; with `at_once` the first time comes with the start."""

    name: str
    seconds: float
    run: Callable[[], object]
    at_once: bool = False


class Upkeep:
    """Runs tasks one after the other on a thread of its own; a failing one is logged and tried again.

    `stopwatch` gives seconds from any fixed point.
    """

    def __init__(self, tasks: Sequence[Task], *, log: DecisionLog, stopwatch: Callable[[], float]) -> None:
        self._tasks = tuple(tasks)
        self._outages = Outages(log)
        self._stopwatch = stopwatch
        self._due = {task.name: stopwatch() + (0.0 if task.at_once else task.seconds) for task in self._tasks}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin, until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Finish the task at hand and stop."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=15)

    def run_due(self) -> list[str]:
        """Run what is due; the names of the tasks that ran."""
        ran = []
        for task in self._tasks:
            if self._stopped.is_set() or self._stopwatch() < self._due[task.name]:
                continue
            self._due[task.name] = self._stopwatch() + task.seconds
            ran.append(task.name)
            self._outages.survive(task.name, task.run)
        return ran

    def _work(self) -> None:
        while not self._stopped.wait(0.5):
            self.run_due()
