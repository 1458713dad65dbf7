"""What prepares later answers beside routing: fits, vectors that are missing, the change to another embedder, the remote index.

All of it takes a processor or another server for minutes. One process at a time fits and works the outbox off; vectors may be made by
several, and are stored once. A console that leaves it to workers (BACKGROUND_WORK=worker) only looks when they are done.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.domain import Policy
from engine.ports import DecisionLog, Embedder, ExemplarStore, ModelStore
from engine.reembed import Reembedder, Successor
from engine.refit import Refitter
from engine.reindex import Reindexer
from engine.training import Catalogue, Trainer
from engine.upkeep import Task, Upkeep

REFIT_EVERY = 30.0


class Tables(Protocol):
    """What preparing needs of the database; `db.storage.Storage` is one."""

    models: ModelStore

    def exemplars(self, embedder: Embedder) -> ExemplarStore: ...

    def catalogue(self, embedder: Embedder) -> Catalogue: ...


class Loop(Protocol):
    """Works again and again on a thread of its own."""

    def start(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """`reembedder` knows how far the wanted embedder's vectors are; `loops` are started by who works, and closed in reverse order."""

    reembedder: Reembedder
    loops: tuple[Loop, ...]


def prepare(
    tables: Tables, *, trainer: Trainer, current: Embedder, wanted: Embedder, complete: Callable[[], bool], policy: Callable[[], Policy],
    reindexer: Reindexer | None, renew: Callable[[], None] | None, log: DecisionLog, here: bool,
) -> Preparation:
    """Join the loops: all of them where the work is done `here`, else only what follows a change of embedder.

    `trainer` learns with the `current` embedder. Once the `wanted` one's vectors and model are `complete`, `renew` is called.
    """
    def switch() -> None:
        """Every exemplar has its vector of the wanted embedder: learn with it, then use it."""
        if tables.models.live_number(embedder=wanted.name) is None:
            Trainer(
                embedder=wanted, exemplars=tables.exemplars(wanted), models=tables.models, catalogue=tables.catalogue(wanted), policy=policy
            ).train()
        if renew is not None:
            renew()

    switching = wanted is not current
    reembedder = Reembedder(embedder=wanted, exemplars=tables.exemplars(wanted), log=log, ready=switch if switching else None)
    if not here:
        following = switching and renew is not None
        return Preparation(
            reembedder=reembedder, loops=(Successor(complete=complete, ready=renew, log=log),) if following else ()
        )
    # Meanwhile the labels' vectors of the embedder in use are still wanted.
    filler = Reembedder(embedder=current, exemplars=tables.exemplars(current), log=log) if switching else None
    refitter = Refitter(
        train=trainer.train, exemplars=tables.exemplars(current), models=tables.models, policy=policy, embedder=current.name, log=log
    )
    learning = Upkeep((Task("refit", REFIT_EVERY, refitter.refit_when_due),), log=log, stopwatch=time.monotonic)
    return Preparation(
        reembedder=reembedder, loops=tuple(loop for loop in (reembedder, filler, reindexer, learning) if loop is not None)
    )
