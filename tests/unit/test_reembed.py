"""Vectors for a wanted embedder: made in parts, counted, and taken over once, when all are there."""
from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from engine.domain import Exemplar
from engine.errors import ServiceUnavailable
from engine.reembed import BATCH, Progress, Reembedder, Successor
from tests.heard import Heard


class Words:
    """An embedder; `before` is called with each batch."""

    name, dimensions = "m", 3

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.before: Callable[[], object] = lambda: None

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.before()
        self.batches.append(len(texts))
        return np.ones((len(texts), 3), dtype=np.float32)


class Shelf:
    """Exemplars, and which of them have a vector."""

    def __init__(self, number: int) -> None:
        self.without = [Exemplar(id=id_, text=f"text {id_}", department="Sales") for id_ in range(1, number + 1)]
        self.made: list[int] = []

    def missing(self, *, limit: int) -> list[Exemplar]:
        return self.without[:limit]

    def embedded(self) -> int:
        return len(self.made)

    def add_vectors(self, ids: Sequence[int], vectors: np.ndarray) -> None:
        assert len(ids) == len(vectors)
        self.made += ids
        self.without = [one for one in self.without if one.id not in ids]


def test_what_is_missing_is_made_in_parts_and_counted() -> None:
    words, shelf = Words(), Shelf(2 * BATCH + 3)
    worker = Reembedder(embedder=words, exemplars=shelf, log=Heard())
    assert worker.progress() == Progress("m", 0, 2 * BATCH + 3)
    words.before = lambda: len(words.batches) == 1 and worker.close()
    assert worker.run() == 2 * BATCH, "what is under way when it is closed is finished, nothing else is begun"
    assert worker.progress() == Progress("m", 2 * BATCH, 2 * BATCH + 3)
    assert Reembedder(embedder=words, exemplars=shelf, log=Heard()).run() == 3
    assert words.batches == [BATCH, BATCH, 3] and len(set(shelf.made)) == 2 * BATCH + 3


def worked(make: Callable[[Callable[[], None]], Reembedder | Successor], *, failures: int) -> int:
    """How often `ready` was called by a worker that had time for more; it fails so often to begin with."""
    calls, done = [], threading.Event()

    def ready() -> None:
        calls.append(1)
        if len(calls) <= failures:
            raise ServiceUnavailable("database", "away")
        done.set()

    worker = make(ready)
    worker.start()
    assert done.wait(20)
    worker._background._thread.join(0.3)
    worker.close()
    return len(calls)


def test_the_new_embedder_takes_over_once_and_after_a_failure_again() -> None:
    shelf = Shelf(3)
    for failures in (0, 2):
        assert worked(
            lambda ready: Reembedder(embedder=Words(), exemplars=shelf, log=Heard(), ready=ready, look_every=0.01), failures=failures
        ) == failures + 1
    assert shelf.without == []


def test_a_worker_that_is_closed_in_the_middle_takes_nothing_over() -> None:
    words, shelf, calls = Words(), Shelf(BATCH + 1), []
    worker = Reembedder(embedder=words, exemplars=shelf, log=Heard(), ready=lambda: calls.append(1), look_every=0.01)
    words.before = worker.close
    worker.start()
    worker._background._thread.join(20)
    assert (calls, len(shelf.without)) == ([], 1)


def test_who_waits_for_another_process_takes_over_once_it_is_complete_and_after_a_failure_again() -> None:
    for failures in (0, 2):
        looks = iter([False, False])
        assert worked(
            lambda ready: Successor(complete=lambda: next(looks, True), ready=ready, log=Heard(), look_every=0.01), failures=failures
        ) == failures + 1
        assert next(looks, None) is None, "not before"
