"""The router: the only place that knows the order of the stages.

A batch of tickets walks through exact cache, embedding, neighbours, semantic cache, learned router, language model and
fallback; each stage takes the tickets that are still open. One ticket is a batch of one.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime

from engine import semantic
from engine.domain import Decision, Method, Outcome, Overrule, Spooled, Stage, Ticket, TicketDraft
from engine.errors import ServiceUnavailable
from engine.fingerprint import fingerprint
from engine.flights import Flights
from engine.ports import (
    Clock, DecisionCache, DecisionStore, Embedder, ExemplarIndex, LanguageModel, OutcomeStore, Reviewed, TicketSpool,
)
from engine.ports import DecisionLog as Log
from engine.resilience import Deadline
from engine.retrieval import Retrieval
from engine.sanitize import admit
from engine.state import RoutingState, StateSource
from engine.verdict import Verdict, decided, remembered
from engine.work import Timer, Work, degraded

# Longest wait for an identical ticket's answer, in seconds.
_FLIGHT = 3.0


class ConfidenceRouter:
    """Routes, reviews and replays tickets.

    `clock` gives aware UTC times, `stopwatch` seconds from any fixed point, `chance` the numbers that choose audits and
    reviews. `learn` takes a reviewed ticket as a new exemplar. `index_copy` answers when `index` does not. `spool` keeps
    single tickets that the database cannot take; `forget_all` makes every cached answer unusable.
    """

    def __init__(
        self,
        *,
        embedder: Embedder,
        index: ExemplarIndex,
        cache: DecisionCache,
        decisions: DecisionStore,
        outcomes: OutcomeStore,
        state: StateSource,
        learn: Callable[[Reviewed], None],
        log: Log,
        clock: Clock,
        stopwatch: Callable[[], float],
        chance: random.Random,
        language_model: LanguageModel | None = None,
        index_copy: ExemplarIndex | None = None,
        spool: TicketSpool | None = None,
        forget_all: Callable[[], None] = lambda: None,
        minimum: int = 2,
        maximum: int = 20_000,
    ) -> None:
        self._embedder = embedder
        self._cache = cache
        self._decisions = decisions
        self._outcomes = outcomes
        self._state = state
        self._learn = learn
        self._log = log
        self._clock = clock
        self._stopwatch = stopwatch
        self._chance = chance
        self._retrieval = Retrieval(index=index, copy=index_copy, language_model=language_model, stopwatch=stopwatch, log=log)
        self._spool = spool
        self._forget_all = forget_all
        self._flights = Flights()
        self._limits = {"minimum": minimum, "maximum": maximum}

    def close(self) -> None:
        """End the threads; nothing can be routed afterwards."""
        self._retrieval.close()

    def admit(self, draft: TicketDraft) -> Ticket:
        """Clean and check a draft; nothing is stored. Raises TicketRejected."""
        return admit(draft, now=self._clock(), **self._limits)

    def route(self, draft: TicketDraft) -> Decision | Spooled:
        """Accept a draft, decide and store, within the policy's deadline.

        Without the database the ticket is kept in the spool and `Spooled` is returned. Raises TicketRejected, Conflict,
        NotAccepted (kept nowhere) and, without a spool, ServiceUnavailable; nothing was stored then.
        """
        started = self._stopwatch()
        ticket = self.admit(draft)
        state = self._state.current()
        work = Work(ticket, fingerprint(ticket.text))
        work.timings["sanitize"] = 1000 * (self._stopwatch() - started)
        deadline = Deadline(started + state.policy.deadline, self._stopwatch)
        flight = f"{work.fingerprint}:{state.epoch}"
        leads = self._decide_one(work, state, deadline, flight)
        try:
            decision = self._finished(work, state)
            try:
                self._store([work], [decision], state)
            except ServiceUnavailable as error:
                return self._kept(work, decision, error)
        finally:
            if leads:
                self._flights.leave(flight)
        return decision

    def route_tickets(self, tickets: Sequence[Ticket], *, at: datetime | None = None) -> list[Decision]:
        """Decide accepted tickets and store them all in one transaction, in the given order.

        `at` dates the decisions (aware UTC), the clock does without it: only for tickets that are told as a past story.
        Raises Conflict for an id that exists already and ServiceUnavailable without the database; nothing is stored then.
        """
        state = self._state.current()
        works = [Work(ticket, fingerprint(ticket.text)) for ticket in tickets]
        for work in works:
            work.timings["sanitize"] = 0.0
        self._exact(works, state)
        self._decide(works, state)
        decisions = [self._finished(work, state, at) for work in works]
        self._store(works, decisions, state)
        return decisions

    def replay(self, ticket: Ticket, state: RoutingState | None = None) -> Decision:
        """What would be decided now, or under another state; asks no exact cache and stores nothing."""
        state = state or self._state.current()
        work = Work(ticket, fingerprint(ticket.text))
        self._decide([work], state)
        return self._finished(work, state)

    def review(self, outcome: Outcome, *, at: datetime | None = None, learn: bool = True) -> Reviewed:
        """Store a supervisor's label and learn from it, at `at` or now. Raises NotFound, OutcomeRejected, ServiceUnavailable.

        Without `learn` the ticket does not become an exemplar.
        """
        reviewed = self._outcomes.label(outcome, now=at or self._clock())
        if not reviewed.correct:
            self._forget(reviewed.fingerprint)
        if learn:
            self._learn(reviewed)
        self._log.event("ticket_reviewed", ticket_id=outcome.ticket_id, correct=reviewed.correct, department=reviewed.predicted)
        return reviewed

    def overrule(self, overrule: Overrule) -> None:
        """Store an agent's own choice; the cached answer is not given again. Raises NotFound, OutcomeRejected."""
        self._outcomes.overrule(overrule, now=self._clock())
        ticket, _ = self._decisions.find(overrule.ticket_id)
        self._forget(fingerprint(ticket.text))
        self._log.event("ticket_overruled", ticket_id=overrule.ticket_id, department=overrule.department)

    # The stages

    def _decide_one(self, work: Work, state: RoutingState, deadline: Deadline, flight: str) -> bool:
        """Decide; True when others may wait for this ticket's answer, so that `flight` must be left after storing."""
        self._exact([work], state)
        leads = False
        if work.verdict is None:
            leads = self._flights.enter(flight, seconds=min(_FLIGHT, deadline.left() / 2))
            if not leads:
                self._exact([work], state)
        try:
            self._decide([work], state, deadline)
        except BaseException:
            if leads:
                self._flights.leave(flight)
            raise
        return leads

    def _decide(self, works: list[Work], state: RoutingState, deadline: Deadline | None = None) -> None:
        stages = state.policy.stages
        pending = [work for work in works if work.verdict is None]
        # An audited hit walks through the other stages as well, and keeps its answer.
        audited = [w for w in works if w.verdict is not None and self._chance.random() < state.policy.audit_rate]
        if not pending and not audited:
            return
        self._embed(pending + audited)
        # Postgres looks for neighbours while this process classifies.
        looking = self._retrieval.look(pending + audited, state.policy.neighbours + 2)
        self._classify(pending + audited, state)
        with Timer(pending + audited, "neighbours", self._stopwatch):
            looking.result()
        if Stage.SEMANTIC in stages:
            self._semantic(pending, state)
        audited += [w for w in pending if w.verdict is not None and self._chance.random() < state.policy.audit_rate]
        for work in audited:
            best = work.prediction.best if work.prediction else None
            work.audit_department = best.department if best else None
        if Stage.LEARNED in stages:
            self._learned(pending, state)
        if Stage.RAG_LLM in stages:
            self._retrieval.language_model([work for work in pending if work.verdict is None], state, deadline)
        for work in pending:
            if work.verdict is None:
                work.verdict = Verdict.fallback(work, state)

    def _exact(self, works: list[Work], state: RoutingState) -> None:
        if Stage.EXACT not in state.policy.stages:
            return
        with Timer(works, "exact", self._stopwatch), degraded(works, self._log):
            for work, route in zip(works, self._cache.get([w.fingerprint for w in works], state.epoch), strict=True):
                if route is not None and route.department in state.live:
                    work.verdict = Verdict.repeat(route)

    def _embed(self, works: list[Work]) -> None:
        with Timer(works, "embed", self._stopwatch), degraded(works, self._log):
            for work, vector in zip(works, self._embedder.embed([w.ticket.text for w in works]), strict=True):
                work.vector = vector

    def _semantic(self, works: list[Work], state: RoutingState) -> None:
        with Timer(works, "semantic", self._stopwatch):
            for work in works:
                found = semantic.vote(work.neighbours, state.policy.neighbours, state.live)
                if semantic.answers(found, work.ticket.text, work.neighbours, state.policy):
                    work.verdict = Verdict.neighbours(found, work, state)

    def _classify(self, works: list[Work], state: RoutingState) -> None:
        if state.model is None or not works:
            return
        with Timer(works, "classify", self._stopwatch):
            predictions = state.model.predict([w.ticket.text for w in works], [w.vector for w in works], live=state.live)
            for work, prediction in zip(works, predictions, strict=True):
                work.prediction = prediction

    def _learned(self, works: list[Work], state: RoutingState) -> None:
        for work in works:
            if work.verdict is None and work.prediction is not None:
                work.verdict = Verdict.learned(work, state)

    # What follows a decision

    def _finished(self, work: Work, state: RoutingState, at: datetime | None = None) -> Decision:
        return decided(work, state, now=at or self._clock(), chance=self._chance)

    def _store(self, works: list[Work], decisions: list[Decision], state: RoutingState) -> None:
        # The time of the commit itself can only be known after it: it is in the log line, not in the row.
        with Timer(works, "store", self._stopwatch):
            self._decisions.add([w.ticket for w in works], decisions, [w.fingerprint for w in works])
        self._remember(works, decisions, state)
        for work, decision in zip(works, decisions, strict=True):
            self._log.decision(work.ticket, decision, store_ms=work.timings.get("store"))

    def _kept(self, work: Work, decision: Decision, error: ServiceUnavailable) -> Spooled:
        if self._spool is None:
            raise error
        self._log.event("service_unavailable", service=error.service)
        self._spool.keep(work.ticket)
        self._log.event("ticket_spooled", ticket_id=work.ticket.id)
        return Spooled(ticket_id=work.ticket.id, kept_at=self._clock(), reason=str(error), likely=decision)

    def _remember(self, works: list[Work], decisions: list[Decision], state: RoutingState) -> None:
        routes = {work.fingerprint: remembered(d) for work, d in zip(works, decisions, strict=True) if _worth_keeping(work, d)}
        if routes and Stage.EXACT in state.policy.stages:
            with degraded([], self._log):
                self._cache.put(routes, state.epoch)

    def _forget(self, print_: str) -> None:
        try:
            self._cache.remove(print_)
        except ServiceUnavailable as error:
            self._log.event("service_unavailable", service=error.service)
            # The entry would be there when the cache is back, and nobody would know: leave the whole epoch behind.
            self._forget_all()


def _worth_keeping(work: Work, decision: Decision) -> bool:
    return decision.method is not Method.FALLBACK and not decision.degraded_by and not work.verdict.exact
