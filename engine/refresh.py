"""Keeps the routing state current: watches the shared counters and swaps in a new immutable state when one has moved."""
from __future__ import annotations

import threading
from collections.abc import Callable

from engine.background import Background
from engine.ports import DecisionLog
from engine.state import RoutingState


class Refresher:
    """Holds the current state. `load` builds it from the stores, `stamp` is a cheap value that changes when it must be."""

    def __init__(
        self, *, load: Callable[[], RoutingState], stamp: Callable[[], object], log: DecisionLog, interval: float = 2.0
    ) -> None:
        self._load = load
        self._stamp = stamp
        self._log = log
        self._loading = threading.Lock()
        self._seen = stamp()
        self._state = load()
        self._background = Background("refresh", self._look, log=log, interval=interval)

    def start(self) -> None:
        """Look for changes every `interval` seconds until `close`."""
        self._background.start()

    def current(self) -> RoutingState:
        """The newest state that was loaded; never waits."""
        return self._state

    def refresh(self) -> bool:
        """Load a new state now if something has changed; True when it did. Raises ServiceUnavailable."""
        with self._loading:
            seen = self._stamp()
            if seen == self._seen:
                return False
            self._state, self._seen = self._load(), seen
            return True

    def close(self) -> None:
        """Stop watching."""
        self._background.close()

    def _look(self) -> None:
        # While this fails, the last state stays in force; routing goes on with it.
        if self.refresh():
            self._log.event("state_refreshed", versions=self._state.versions)
