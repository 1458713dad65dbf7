"""Limits for users and tokens in a span of time; when the counter's server is away, everything passes and that is counted."""
from __future__ import annotations

from typing import Protocol

from engine.errors import ServiceUnavailable, TooManyRequests
from engine.ports import Clock, DecisionLog

WINDOW = 60
# Files of thousands of tickets are a day's work, not a minute's: their tickets are counted by the hour.
WINDOWS = {"import": 3600}


class Counter(Protocol):
    """Counts under a name that is forgotten after some seconds. Raises ServiceUnavailable."""

    def add(self, name: str, *, amount: int, seconds: int) -> int: ...


class RateLimiter:
    """A fixed window of a minute (an hour for imports) for each kind and holder, shared by all instances. `limits` by kind."""

    def __init__(self, counter: Counter, *, limits: dict[str, int], clock: Clock, log: DecisionLog) -> None:
        self._counter = counter
        self._limits = limits
        self._clock = clock
        self._log = log

    def take(self, kind: str, holder: str, *, amount: int = 1) -> None:
        """Use up some of the holder's limit, or nothing of it when that much is not left. Raises TooManyRequests."""
        now, limit, length = self._clock().timestamp(), self._limits[kind], WINDOWS.get(kind, WINDOW)
        window = int(now // length)
        name = f"{kind}:{holder}:{window}"
        try:
            used = self._counter.add(name, amount=amount, seconds=2 * length)
            if used > limit and amount > 1:
                # A smaller file may still fit.
                self._counter.add(name, amount=-amount, seconds=2 * length)
        except ServiceUnavailable as error:
            self._log.event("rate_limit_unchecked", service=error.service, kind=kind)
            return
        if used > limit:
            raise TooManyRequests(kind, limit=limit, wait=(window + 1) * length - now, seconds=length, wanted=amount, left=limit - used + amount)
