"""When a fit is due, and that one instance alone does it."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from engine.domain import Policy
from engine.refit import FEWEST_NEW, NEW_SHARE, Refitter, voting
from tests.heard import Heard


class Stores:
    """The models and exemplars of a console: the live model's manifest, and exemplars by number."""

    def __init__(self, *, fitted: int, new: int) -> None:
        self.manifests: dict[int, dict[str, Any]] = {7: {"voting": voting(Policy()), "newest_exemplar": 100, "exemplars": fitted}}
        self.newest = 100 + new
        self.mine = True
        self.fits = 0

    def live_number(self, *, embedder: str) -> int | None:
        return max(self.manifests) if embedder == "m" and self.manifests else None

    def manifest(self, number: int) -> dict[str, Any]:
        return self.manifests[number]

    def count_since(self, number: int) -> int:
        return self.newest - number

    @contextmanager
    def alone(self) -> Iterator[bool]:
        yield self.mine

    def train(self) -> int:
        self.fits += 1
        self.manifests[8] = self.manifests[7] | {"newest_exemplar": self.newest}
        return 8


def refitter(stores: Stores, log: Heard, *, embedder: str = "m") -> Refitter:
    return Refitter(train=stores.train, exemplars=stores, models=stores, policy=Policy, embedder=embedder, log=log)


@pytest.mark.parametrize(
    ("fitted", "new", "due"),
    [
        (0, FEWEST_NEW - 1, False), (100, FEWEST_NEW - 1, False), (100, FEWEST_NEW, True), (10_000, FEWEST_NEW, False),
        (10_000, int(10_000 * NEW_SHARE) - 1, False), (10_000, int(10_000 * NEW_SHARE), True),
    ],
)
def test_a_fit_is_due_after_enough_new_exemplars_and_a_share_of_those_that_were_fitted(fitted: int, new: int, due: bool) -> None:
    stores, log = Stores(fitted=fitted, new=new), Heard()
    assert refitter(stores, log).due() is due
    assert refitter(stores, log).refit_when_due() == (8 if due else None)
    assert (stores.fits, log.events) == ((1, [("model_refitted", {"model": 8})]) if due else (0, []))


def test_nothing_is_due_without_a_model_of_this_embedder() -> None:
    stores = Stores(fitted=100, new=1000)
    assert not refitter(stores, Heard(), embedder="another").due()


def test_a_fit_that_another_instance_does_or_has_just_done_is_not_done_again() -> None:
    stores, log = Stores(fitted=100, new=FEWEST_NEW), Heard()
    stores.mine = False
    assert refitter(stores, log).refit_when_due() is None and stores.fits == 0
    stores.mine, alone = True, stores.alone

    @contextmanager
    def after_another() -> Iterator[bool]:
        with alone() as mine:
            stores.train()
            yield mine

    stores.alone = after_another
    assert refitter(stores, log).refit_when_due() is None
    assert (stores.fits, log.events) == (1, [])
