"""How an outside service is called: within the ticket's deadline, few calls at once, retried with jitter, behind a breaker."""
from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenacity import RetryCallState, Retrying

from engine.breaker import Breaker, ServiceState
from engine.errors import DeadlineExceeded, ServiceUnavailable

T = TypeVar("T")

# A short queue for a place smooths a burst; a long one would only move the waiting.
_WAIT_FOR_PLACE = 1.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment, on the stopwatch's scale in seconds, at which a ticket's time is used up; handed from stage to stage."""

    at: float
    stopwatch: Callable[[], float]

    @classmethod
    def after(cls, seconds: float, *, stopwatch: Callable[[], float]) -> Deadline:
        """`seconds` from now."""
        return cls(stopwatch() + seconds, stopwatch)

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.stopwatch())

    def earlier(self, seconds: float) -> Deadline:
        """The same deadline moved forward, to keep time for what comes after."""
        return Deadline(self.at - seconds, self.stopwatch)


_of_the_ticket: ContextVar[Deadline | None] = ContextVar("of_the_ticket", default=None)


class within:  # noqa: N801 - used like a function
    """Every call of a service in this block ends with this deadline at the latest.

    Other threads are no part of the block unless they run in a copy of its context: what is done after a ticket has all
    the time of the service's own limits.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        self._token: Token[Deadline | None] = _of_the_ticket.set(self._deadline)

    def __exit__(self, *_: object) -> None:
        _of_the_ticket.reset(self._token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one call of a service may use.

    attempts   calls in all, at least 1; only errors that say they are retryable are tried again
    first_wait, longest_wait   seconds before the second attempt (up to that much, at random) and before any attempt
    seconds    longest time of the whole call, attempts and waits included, where the ticket's deadline is later
    at_once    calls under way at the same time, each on a thread of its own; None runs the call on the caller's thread,
               for clients whose own timeout can be trusted
    silence    a call that fails after this many seconds or more opens the circuit at once, for the next ones would wait as
               long; None counts it like any failure
    """

    attempts: int = 1
    first_wait: float = 0.1
    longest_wait: float = 2.0
    seconds: float = 5.0
    at_once: int | None = None
    silence: float | None = None


class _Outcome(Generic[T]):
    """What a call on another thread came to."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: T | None = None
        self.error: BaseException | None = None


class Service:
    """The one door to an outside service. Its work gets the seconds it may take and raises ServiceUnavailable.

    With `at_once` the caller waits no longer than the deadline even where the client would: the thread is left behind
    and keeps its place until it ends, so that a hanging service can never hold more than `at_once` threads.
    """

    def __init__(
        self, name: str, *, breaker: Breaker, limits: Limits, stopwatch: Callable[[], float],
        sleep: Callable[[float], None], chance: random.Random,
    ) -> None:
        self.name = name
        self.breaker = breaker
        self._limits = limits
        self._stopwatch = stopwatch
        self._sleep = sleep
        self._chance = chance
        self._places = threading.BoundedSemaphore(limits.at_once) if limits.at_once else None

    def call(self, work: Callable[[float], T], *, deadline: Deadline | None = None, more: float = 0.0) -> T:
        """The work's result. Raises ServiceUnavailable: refused by the breaker, all places taken, failed, or too slow.

        It ends with the service's own limit, with `deadline`, or with that of the block it is made in, whichever comes first.
        `more` is what this call may take beyond the limits, in seconds, because it carries more than one ticket.
        """
        limit = Deadline.after(self._limits.seconds + more, stopwatch=self._stopwatch)
        for other in (deadline, _of_the_ticket.get()):
            # They may come from another stopwatch.
            if other is not None and other.left() < limit.left():
                limit = other
        if limit.left() <= 0:
            raise DeadlineExceeded(self.name, "no time was left for it")
        self.breaker.before()
        started = self._stopwatch()
        try:
            result = self._tried(work, limit)
        except _NoPlace as error:
            # Says nothing about the service itself: the calls under way will tell.
            self.breaker.failed(error) if not self.breaker.closed else None
            raise
        except ServiceUnavailable as error:
            silent = self._limits.silence is not None and self._stopwatch() - started >= self._limits.silence
            self.breaker.failed(error, decisive=silent)
            raise
        except BaseException:
            self.breaker.succeeded()
            raise
        self.breaker.succeeded()
        return result

    def state(self) -> ServiceState:
        """The breaker's snapshot."""
        return self.breaker.state()

    def _tried(self, work: Callable[[float], T], limit: Deadline) -> T:
        if self._limits.attempts == 1:
            return self._once(work, limit)

        def wait(state: RetryCallState) -> float:
            longest = min(self._limits.longest_wait, self._limits.first_wait * 2 ** (state.attempt_number - 1))
            return self._chance.uniform(0, longest)

        def stop(state: RetryCallState) -> bool:
            return state.attempt_number >= self._limits.attempts or limit.left() <= state.upcoming_sleep

        def again(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            return isinstance(error, ServiceUnavailable) and error.retryable

        retrying = Retrying(
            wait=wait, stop=stop, retry=again, sleep=self._sleep, reraise=True, before_sleep=lambda _: self.breaker.retried()
        )
        return retrying(self._once, work, limit)

    def _once(self, work: Callable[[float], T], limit: Deadline) -> T:
        seconds = limit.left()
        if seconds <= 0:
            raise DeadlineExceeded(self.name, "no time was left for it")
        if self._places is None:
            return work(seconds)
        if not self._places.acquire(timeout=min(seconds, _WAIT_FOR_PLACE)):
            raise _NoPlace(self.name, f"{self._limits.at_once} calls are under way already")
        seconds = limit.left()
        outcome: _Outcome[T] = _Outcome()

        def run() -> None:
            try:
                outcome.value = work(seconds)
            except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
                outcome.error = error
            finally:
                self._places.release()
                outcome.done.set()

        try:
            threading.Thread(target=run, name=f"{self.name}-call", daemon=True).start()
        except RuntimeError as error:
            # The machine gives no more threads now; the place is there for when it does.
            self._places.release()
            raise _NoPlace(self.name, "no thread for the call could be started") from error
        if not outcome.done.wait(seconds):
            raise DeadlineExceeded(self.name, f"no answer within {seconds:.1f} s")
        if outcome.error is not None:
            raise outcome.error
        return outcome.value


class _NoPlace(ServiceUnavailable):
    """Every place of the bulkhead is taken, or there is no thread for one."""
