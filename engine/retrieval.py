"""The stages that ask outside services about a ticket: the nearest exemplars, and the language model."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from engine.domain import Neighbour
from engine.ports import DecisionLog, ExemplarIndex, LanguageModel
from engine.resilience import Deadline
from engine.state import RoutingState
from engine.verdict import Verdict
from engine.work import Timer, Work, degraded

# Kept back from the language model for storing the decision, in seconds.
STORING = 0.5
# Of a batch; the other places stay free for tickets that somebody waits for.
ASKED_AT_ONCE = 2


class Retrieval:
    """Finds neighbours in `index`, or in `copy` when it does not answer, and asks `language_model` where there is one."""

    def __init__(
        self, *, index: ExemplarIndex, copy: ExemplarIndex | None, language_model: LanguageModel | None,
        stopwatch: Callable[[], float], log: DecisionLog,
    ) -> None:
        self._index = index
        self._copy = copy
        self._language_model = language_model
        self._stopwatch = stopwatch
        self._log = log

    def look(self, works: Sequence[Work], k: int) -> None:
        """Give every embedded ticket its at most k nearest exemplars."""
        embedded = [work for work in works if work.vector is not None]
        if not embedded:
            return
        vectors = np.stack([work.vector for work in embedded])
        found = self._nearest(self._index, vectors, k, embedded)
        if found is None and self._copy is not None:
            found = self._nearest(self._copy, vectors, k, embedded)
        for work, nearest in zip(embedded, found or [()] * len(embedded), strict=True):
            work.neighbours = tuple(nearest)

    @property
    def asks_language_model(self) -> bool:
        """Whether there is one."""
        return self._language_model is not None

    def language_model(self, works: Sequence[Work], state: RoutingState, deadline: Deadline | None) -> None:
        """Ask about each of these tickets, at least one, where there is a model.

        Without a deadline each may take the policy's time: nobody waits for a batch.
        """
        if len(works) == 1:
            self._ask(works[0], state, deadline)
            return
        with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="batch") as pool:
            list(pool.map(lambda work: self._ask(work, state, deadline), works))

    def _nearest(self, index: ExemplarIndex, vectors: np.ndarray, k: int, works: Sequence[Work]) -> list[list[Neighbour]] | None:
        with degraded(works, self._log):
            return index.nearest(vectors, k)
        return None

    def _ask(self, work: Work, state: RoutingState, deadline: Deadline | None) -> None:
        limit = deadline or Deadline.after(state.policy.deadline, stopwatch=self._stopwatch)
        with Timer([work], "rag_llm", self._stopwatch), degraded([work], self._log):
            answer = self._language_model.decide(
                work.ticket, departments=state.departments, neighbours=work.neighbours, timeout=limit.earlier(STORING).left()
            )
            if answer is not None and answer.department in state.live:
                work.verdict = Verdict.language_model(answer, work, state)
