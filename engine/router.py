"""The router: the only place that knows the order of the stages.

A batch of tickets walks through exact cache, embedding, neighbours, semantic cache, learned router, language model and
fallback; each stage takes the tickets that are still open. One ticket is a batch of one.
"""
from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from datetime import datetime

from engine import semantic
from engine.afterwards import Afterwards
from engine.domain import Decision, Method, Spooled, Stage, Ticket, TicketDraft
from engine.errors import ServiceUnavailable
from engine.exact import ExactAnswers
from engine.fingerprint import fingerprint
from engine.lease import Lease, NoLease
from engine.outcome import Outcome, Overrule, Reviewed
from engine.ports import Clock, DecisionCache, DecisionLog, DecisionStore, Embedder, ExemplarIndex, LanguageModel, OutcomeStore, TicketSpool
from engine.resilience import Deadline, within
from engine.retrieval import Retrieval
from engine.sanitize import admit
from engine.standing import Standing
from engine.state import RoutingState, StateSource
from engine.verdict import Verdict, decided, surest
from engine.work import Timer, Work, degraded

# Threads that embed tickets and find their neighbours; as many as tickets can be on their way at once.
FINDERS = 16
NO_LEASE = NoLease()


class ConfidenceRouter:
    """Routes, reviews and replays tickets.

    `clock` gives aware UTC times, `stopwatch` seconds from any fixed point, `chance` the numbers that choose audits and
    reviews. `learn` lets a stored label's exemplar be found. `index_copy` answers when `index` does not. `spool` keeps
    single tickets that the database cannot take; `lease` makes what a single ticket keeps at hand between its statements;
    `forget_all` makes every cached answer unusable.
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
        log: DecisionLog,
        clock: Clock,
        stopwatch: Callable[[], float],
        chance: random.Random,
        language_model: LanguageModel | None = None,
        index_copy: ExemplarIndex | None = None,
        spool: TicketSpool | None = None,
        lease: Callable[[], Lease] = lambda: NO_LEASE,
        forget_all: Callable[[], None] = lambda: None,
        minimum: int = 2,
        maximum: int = 20_000,
    ) -> None:
        self._embedder = embedder
        self._decisions = decisions
        self._outcomes = outcomes
        self._state = state
        self._learn = learn
        self._log = log
        self._clock = clock
        self._stopwatch = stopwatch
        self._chance = chance
        self._afterwards = Afterwards()
        self._exact = ExactAnswers(cache, afterwards=self._afterwards, forget_all=forget_all, stopwatch=stopwatch, log=log)
        self._retrieval = Retrieval(index=index, copy=index_copy, language_model=language_model, stopwatch=stopwatch, log=log)
        self._finders = ThreadPoolExecutor(FINDERS, thread_name_prefix="finder")
        self._spool = spool
        self._lease = lease
        self._limits = {"minimum": minimum, "maximum": maximum}

    def close(self) -> None:
        """Do what is still to be done after earlier decisions and end the threads; nothing can be routed then."""
        self._finders.shutdown()
        self._afterwards.shutdown()

    def settle(self) -> None:
        """Wait until every decision made so far is in the cache and in the log."""
        self._afterwards.submit(bool).result()

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
        lease = self._lease()
        try:
            with within(deadline), self._exact.first(work, state, deadline):
                self._decide([work], state, deadline, lease=lease)
                decision = self._finished(work, state)
                try:
                    self._store([work], [decision], state, lease=lease)
                except ServiceUnavailable as error:
                    lease.release()
                    return self._kept(work, decision, error)
        except BaseException:
            lease.release()
            raise
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
        self._exact.look(works, state)
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

    def review(self, outcome: Outcome, *, at: datetime | None = None, learn: bool = True, based_on: Standing | None = None) -> Reviewed:
        """Store a supervisor's label and learn from it, at `at` or now. Raises NotFound, OutcomeRejected, ServiceUnavailable, and Conflict
        where the ticket does not stand any more as `based_on`; nothing was stored then. What cannot follow at once is done later, which
        the result's `late` says. Without `learn` the ticket does not become an exemplar.
        """
        print_ = fingerprint(self._outcomes.ticket(outcome.ticket_id).text)
        # Before the label is stored, so that no end of this process in between leaves a wrong answer behind. A label that confirms
        # its own ticket's decision may contradict an answer that came from an earlier label or from another ticket of this text.
        self._exact.agree(print_, outcome.department, self._state.current())
        reviewed = self._outcomes.label(outcome, now=at or self._clock(), learn=learn, based_on=based_on)
        late = self._late(lambda: self._learn(reviewed)) if learn else ""
        # And after it, for what was decided in between without the cache.
        late = self._late(lambda: self._exact.agree(print_, outcome.department, self._state.current())) or late
        self._log.event("ticket_reviewed", ticket_id=outcome.ticket_id, correct=reviewed.correct, department=reviewed.predicted)
        return replace(reviewed, late=late)

    def overrule(self, overrule: Overrule, *, based_on: Standing | None = None) -> str | None:
        """Store an agent's own choice; a cached answer that it contradicts is not given again. The department of a supervisor's label
        is returned where there is one: that stands. Raises as `review`; nothing was stored then.
        """
        print_ = fingerprint(self._outcomes.ticket(overrule.ticket_id).text)
        self._exact.agree(print_, overrule.department, self._state.current())
        chosen = self._outcomes.overrule(overrule, now=self._clock(), based_on=based_on)
        self._late(lambda: self._exact.agree(print_, overrule.department, self._state.current()))
        confirmed = overrule.department == chosen.decided
        self._log.event("ticket_confirmed" if confirmed else "ticket_overruled", ticket_id=overrule.ticket_id, department=overrule.department)
        return chosen.labelled

    def _late(self, follow: Callable[[], None]) -> str:
        """Do what follows from something that is stored; the service that keeps it from being done now, if one does."""
        try:
            follow()
        except ServiceUnavailable as error:
            self._log.event("service_unavailable", service=error.service)
            return error.service
        return ""

    # The stages

    def _decide(
        self, works: list[Work], state: RoutingState, deadline: Deadline | None = None, *, lease: Lease = NO_LEASE
    ) -> None:
        stages = state.policy.stages
        pending = [work for work in works if work.verdict is None]
        # An audited hit walks through the other stages as well, and keeps its answer.
        audited = [w for w in works if w.verdict is not None and self._chance.random() < state.policy.audit_rate]
        if not pending and not audited:
            return
        self._understand(pending + audited, state, lease)
        if Stage.SEMANTIC in stages:
            self._semantic(pending, state)
        if Stage.LEARNED in stages:
            self._learned(pending, state)
        hits = [w for w in pending if w.verdict is not None and w.verdict.method is Method.CACHED]
        audited += [w for w in hits if self._chance.random() < state.policy.audit_rate]
        for work in audited:
            work.audited = True
            best = work.prediction.best if work.prediction else None
            work.audit_department = best.department if best else None
        undecided = [work for work in pending if work.verdict is None]
        if undecided and Stage.RAG_LLM in stages and self._retrieval.asks_language_model:
            # It may take seconds, for which no connection is held.
            lease.release()
            self._retrieval.language_model(undecided, state, deadline)
        for work in undecided:
            if work.verdict is None:
                work.verdict = Verdict.fallback(work, state)

    def _understand(self, works: list[Work], state: RoutingState, lease: Lease) -> None:
        """Vectors, neighbours and the learned router's view. A second thread embeds and asks the index; this one reads the words
        meanwhile, and classifies as soon as there are vectors. Timings are what each adds.
        """
        texts = [work.ticket.text for work in works]
        model = state.model
        started, embedded = threading.Event(), threading.Event()
        # The ticket's deadline goes along.
        finding = self._finders.submit(copy_context().run, self._find, works, state, started, embedded, lease)
        try:
            # The embedder leaves the interpreter alone, but only once it has begun.
            started.wait()
            words = model.read(texts) if model else None
            lease.take()
            embedded.wait()
            with Timer(works, "classify", self._stopwatch):
                if model:
                    vectors = [work.vector for work in works]
                    predictions = model.predict(texts, vectors, live=state.live, words=words)
                    for work, prediction in zip(works, predictions, strict=True):
                        work.prediction = prediction
        except BaseException:
            # Only the end of the other thread makes sure that it takes no connection afterwards.
            wait([finding])
            raise
        with Timer(works, "neighbours", self._stopwatch):
            finding.result()

    def _find(
        self, works: list[Work], state: RoutingState, started: threading.Event, embedded: threading.Event, lease: Lease
    ) -> None:
        started.set()
        try:
            self._embed(works)
        finally:
            embedded.set()
        with lease:
            self._retrieval.look(works, state.policy.neighbours + 2)

    def _embed(self, works: list[Work]) -> None:
        with Timer(works, "embed", self._stopwatch), degraded(works, self._log):
            for work, vector in zip(works, self._embedder.embed([w.ticket.text for w in works]), strict=True):
                work.vector = vector

    def _semantic(self, works: list[Work], state: RoutingState) -> None:
        with Timer(works, "semantic", self._stopwatch):
            for work in works:
                scores = work.prediction.scores if work.prediction else None
                found = semantic.vote(work.neighbours, state.policy.neighbours, state.live, scores=scores)
                if semantic.answers(found, work.ticket.text, work.neighbours, state.policy):
                    work.verdict = Verdict.neighbours(found, work, state)

    def _learned(self, works: list[Work], state: RoutingState) -> None:
        for work in works:
            if work.prediction is not None:
                work.verdict = surest(work, state)

    # What follows a decision

    def _finished(self, work: Work, state: RoutingState, at: datetime | None = None) -> Decision:
        return decided(work, state, now=at or self._clock(), chance=self._chance)

    def _store(self, works: list[Work], decisions: list[Decision], state: RoutingState, *, lease: Lease = NO_LEASE) -> None:
        # The time of the commit itself can only be known after it: it is in the log line, not in the row.
        with Timer(works, "store", self._stopwatch), lease:
            self._decisions.add([w.ticket for w in works], decisions, [w.fingerprint for w in works])
        # Nobody waits for the cache and the log.
        self._afterwards.submit(self._told, works, decisions, state, lease)

    def _told(self, works: list[Work], decisions: list[Decision], state: RoutingState, lease: Lease) -> None:
        lease.release()
        self._exact.keep(works, decisions, state)
        for work, decision in zip(works, decisions, strict=True):
            self._log.decision(work.ticket, decision, store_ms=work.timings.get("store"))

    def _kept(self, work: Work, decision: Decision, error: ServiceUnavailable) -> Spooled:
        if self._spool is None:
            raise error
        self._log.event("service_unavailable", service=error.service)
        self._spool.keep(work.ticket)
        self._log.event("ticket_spooled", ticket_id=work.ticket.id)
        # Not what the error says: it names addresses, and the answer goes to whoever hands in tickets.
        return Spooled(ticket_id=work.ticket.id, kept_at=self._clock(), reason=f"the {error.service} does not answer", likely=decision)
