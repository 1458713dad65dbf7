"""Gives every exemplar its vector of the wanted embedder, in the background; resumes where it was broken off."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.background import Background
from engine.ports import DecisionLog, Embedder, VectorStore

BATCH = 64
_LOOK_EVERY = 30.0
_AFTER_FAILURE = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Vectors made of those wanted, for this embedder."""

    embedder: str
    done: int
    total: int


class Reembedder:
    """Vectors carry their embedder's name, so the old ones stay in use until all new ones are there and `ready` is called.

    `exemplars` belongs to the wanted embedder. `ready` runs on the background thread when nothing is missing, again
    after a failure until it has succeeded once.
    """

    def __init__(
        self, *, embedder: Embedder, exemplars: VectorStore, log: DecisionLog, ready: Callable[[], None] | None = None,
        look_every: float = _LOOK_EVERY,
    ) -> None:
        self._embedder = embedder
        self._exemplars = exemplars
        self._log = log
        self._ready = ready
        self._background = Background(
            "reembed", self._look, log=log, interval=look_every, after_failure=min(_AFTER_FAILURE, look_every), at_once=True
        )

    def start(self) -> None:
        """Work and look for new exemplars until `close`."""
        self._background.start()

    def close(self) -> None:
        """Stop after the batch that is under way."""
        self._background.close()

    def run(self) -> int:
        """Make what is missing; the number of vectors made. Raises ServiceUnavailable, what was made stays."""
        made = 0
        while not self._background.stopped:
            part = self._exemplars.missing(limit=BATCH)
            if not part:
                break
            self._exemplars.add_vectors([e.id for e in part], self._embedder.embed([e.text for e in part]))
            made += len(part)
        return made

    def progress(self) -> Progress:
        """How far it is. Raises ServiceUnavailable."""
        done = self._exemplars.embedded()
        return Progress(self._embedder.name, done, done + len(self._exemplars.missing(limit=100_000)))

    def _look(self) -> None:
        made = self.run()
        if made:
            self._log.event("exemplars_embedded", exemplars=made, embedder=self._embedder.name)
        if self._ready is not None and not self._background.stopped:
            self._ready()
            self._ready = None


class Successor:
    """Looks until other processes have made the wanted embedder's vectors and learned from them: `complete` says so, then `ready` is called.

    After a failure it is called again until it has succeeded once.
    """

    def __init__(self, *, complete: Callable[[], bool], ready: Callable[[], None], log: DecisionLog, look_every: float = 10.0) -> None:
        self._complete = complete
        self._ready = ready
        self._background = Background("changeover", self._look, log=log, interval=look_every)

    def start(self) -> None:
        """Look until it is so, or `close`."""
        self._background.start()

    def close(self) -> None:
        """Stop looking."""
        self._background.close()

    def _look(self) -> None:
        if self._complete():
            self._ready()
            self._background.close()
