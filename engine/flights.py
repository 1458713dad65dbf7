"""Identical tickets that are routed at the same moment, here or in another process: one is decided, the others wait for it."""
from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from engine.errors import ServiceUnavailable
from engine.ports import CachedRoute, Claims
from engine.resilience import Deadline

# Longest wait for an identical ticket's answer, and how long a process that was killed keeps others waiting; in seconds.
LONGEST = 3.0
# Between two looks at another process's flight, in seconds; the first is as short as a quick decision.
FIRST_LOOK, LONGEST_LOOK = 0.02, 0.1


@dataclass(frozen=True, slots=True)
class Boarding:
    """What a ticket finds: an answer in `route`, or none. `leads`: others may wait for this ticket, so it must `leave`."""

    route: CachedRoute | None = None
    leads: bool = False
    fingerprint: str = ""
    epoch: str = ""
    holder: str = ""


class Flights:
    """Who decides what right now. The claim is made by the question to the cache that every ticket asks anyway."""

    def __init__(self, cache: Claims, *, pause: Callable[[float], object] | None = None) -> None:
        """`pause` waits for some seconds between two looks."""
        self._cache = cache
        self._pause = pause or threading.Event().wait
        self._lock = threading.Lock()
        self._flying: dict[tuple[str, str], threading.Event] = {}
        self._holder = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    def board(self, fingerprint: str, epoch: str, *, deadline: Deadline) -> Boarding:
        """Look for an answer; where somebody else is making it, wait for it for `LONGEST` or half of the time left.

        Without an answer then, the ticket is decided on its own. Raises ServiceUnavailable without the cache, at once.
        """
        holder = f"{self._holder}-{next(self._numbers)}"
        claim = self._cache.claim(fingerprint, epoch, holder=holder, seconds=LONGEST)
        if claim.route is not None:
            return Boarding(claim.route)
        if not claim.taken:
            with self._lock:
                # An entry of an earlier policy leaves no room for a claim, so this process may be deciding all the same.
                leads = (fingerprint, epoch) not in self._flying
                if leads:
                    self._flying[fingerprint, epoch] = threading.Event()
            if leads:
                return Boarding(None, True, fingerprint, epoch, holder)
        return Boarding(self._awaited(fingerprint, epoch, deadline))

    def leave(self, boarding: Boarding, *, kept: bool) -> None:
        """Let those who wait go on; `kept` says that the answer is in the cache, in the claim's place."""
        if not boarding.leads:
            return
        if not kept:
            # It would end by itself a little later.
            with suppress(ServiceUnavailable):
                self._cache.release(boarding.fingerprint, boarding.epoch, holder=boarding.holder)
        with self._lock:
            landed = self._flying.pop((boarding.fingerprint, boarding.epoch), None)
        if landed is not None:
            landed.set()

    def _awaited(self, fingerprint: str, epoch: str, deadline: Deadline) -> CachedRoute | None:
        limit = Deadline.after(min(LONGEST, deadline.left() / 2), stopwatch=deadline.stopwatch)
        with self._lock:
            landed = self._flying.get((fingerprint, epoch))
        if landed is not None:
            landed.wait(limit.left())
        wait = FIRST_LOOK
        while True:
            claim = self._cache.claim(fingerprint, epoch)
            if claim.route is not None or not claim.taken or limit.left() <= 0:
                return claim.route
            self._pause(min(wait, limit.left()))
            wait = min(LONGEST_LOOK, 1.5 * wait)
