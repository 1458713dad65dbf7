"""How long this machine made everybody wait, measured beside what a test measures."""
from __future__ import annotations

import threading
import time
from typing import Self

# A sleep that is this much too long, in seconds, is what a busy but fair machine does; more is a stall.
ORDINARY = 0.02
_TICK = 0.01


class Stalls:
    """Sums the stalls of its block in `seconds`: what a thread that only sleeps loses beyond the ordinary."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.taken = time.monotonic() - self._started
        self._over.set()
        self._thread.join()

    def within(self, seconds: float) -> bool:
        """True when the block took at most this long, the machine's own stalls left out."""
        return self.taken <= seconds + self.seconds

    def _watch(self) -> None:
        while not self._over.is_set():
            before = time.monotonic()
            time.sleep(_TICK)
            self.seconds += max(0.0, time.monotonic() - before - _TICK - ORDINARY)
