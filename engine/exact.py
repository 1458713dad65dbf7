"""The exact stage: answers of earlier identical tickets, kept after a decision and forgotten after a correction."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager

from engine.domain import Decision, Method, Stage
from engine.errors import ServiceUnavailable
from engine.flights import Boarding, Flights
from engine.ports import DecisionCache, DecisionLog
from engine.resilience import Deadline
from engine.state import RoutingState
from engine.verdict import Verdict, remembered
from engine.work import Timer, Work, degraded


class ExactAnswers:
    """Reads `cache` on the ticket's path; what is to be kept is written afterwards.

    `afterwards` is one thread that does things in the order in which they were handed over, removals too. What is removed
    leaves a mark in the cache for some minutes, so that neither this process nor another one brings it back with an answer
    that it was making at that moment. `forget_all` makes every cached answer unusable.
    """

    def __init__(
        self, cache: DecisionCache, *, afterwards: Executor, forget_all: Callable[[], None], stopwatch: Callable[[], float],
        log: DecisionLog,
    ) -> None:
        self._cache = cache
        self._forget_all = forget_all
        self._stopwatch = stopwatch
        self._log = log
        self._flights = Flights(cache)
        self._afterwards = afterwards

    def look(self, works: Sequence[Work], state: RoutingState) -> None:
        """Give the tickets that were asked before in this epoch their verdict."""
        if Stage.EXACT not in state.policy.stages:
            return
        with Timer(works, "exact", self._stopwatch), degraded(works, self._log):
            for work, route in zip(works, self._cache.get([w.fingerprint for w in works], state.epoch), strict=True):
                if route is not None and route.department in state.live:
                    work.verdict = Verdict.repeat(route)

    @contextmanager
    def first(self, work: Work, state: RoutingState, deadline: Deadline) -> Iterator[None]:
        """A block for deciding and storing one ticket. It has its verdict where the same was asked before; of identical
        tickets that are under way, here or elsewhere, one goes first and the others wait for its answer.
        """
        boarding = Boarding()
        if Stage.EXACT in state.policy.stages:
            with Timer([work], "exact", self._stopwatch), degraded([work], self._log):
                boarding = self._flights.board(work.fingerprint, state.epoch, deadline=deadline)
            if boarding.route is not None and boarding.route.department in state.live:
                work.verdict = Verdict.repeat(boarding.route)
        try:
            yield
        finally:
            if boarding.leads:
                # By the thread that keeps the answer, after it.
                self._afterwards.submit(lambda: self._flights.leave(boarding, kept=work.kept))

    def keep(self, works: Sequence[Work], decisions: Sequence[Decision], state: RoutingState) -> None:
        """Keep the answers for identical tickets; called by the thread that does what comes afterwards."""
        routes = {w.fingerprint: remembered(d) for w, d in zip(works, decisions, strict=True) if _worth_keeping(w, d)}
        if routes and Stage.EXACT in state.policy.stages:
            with degraded([], self._log):
                self._cache.put(routes, state.epoch)
                for work in works:
                    work.kept = work.fingerprint in routes

    def agree(self, print_: str, department: str, state: RoutingState) -> None:
        """Remove an answer that does not name the department, before this returns; for some minutes the text gets no other. One of this
        epoch that names it stays. An unreachable cache leaves the whole epoch behind. Raises ServiceUnavailable when that cannot be done
        either.
        """
        self._afterwards.submit(self._remove, print_, department, state.epoch).result()

    def _remove(self, print_: str, agreed: str, epoch: str) -> None:
        try:
            held = self._cache.get([print_], epoch)[0]
            if held is None or held.department != agreed:
                self._cache.remove(print_)
        except ServiceUnavailable as error:
            self._log.event("service_unavailable", service=error.service)
            # The entry would be there when the cache is back, and nobody would know: leave the whole epoch behind.
            self._forget_all()


def _worth_keeping(work: Work, decision: Decision) -> bool:
    return decision.method is not Method.FALLBACK and not decision.degraded_by and not work.verdict.exact
