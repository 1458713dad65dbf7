"""Identical tickets that are routed at the same moment: the first one is decided, the others wait for its answer."""
from __future__ import annotations

import threading


class Flights:
    """Which keys are being decided by this process right now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[str, threading.Event] = {}

    def enter(self, key: str, *, seconds: float) -> bool:
        """True when nobody else decides this key: the caller does, and must `leave`. Otherwise wait at most `seconds`
        for the one who does, and return False.
        """
        with self._lock:
            landed = self._flying.get(key)
            if landed is None:
                self._flying[key] = threading.Event()
                return True
        landed.wait(seconds)
        return False

    def leave(self, key: str) -> None:
        """The answer is there (or will never be): those who wait may look."""
        with self._lock:
            landed = self._flying.pop(key, None)
        if landed is not None:
            landed.set()
