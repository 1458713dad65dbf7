"""A change is never missed: not one made while the state is loaded, not one whose loading fails, and no older state replaces a newer one."""
from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engine.errors import ServiceUnavailable
from engine.refresh import Refresher
from tests.heard import Heard


class Stores:
    """What is stored, as one number that is also its stamp; `meanwhile` happens while it is loaded."""

    def __init__(self) -> None:
        self.number = 1
        self.meanwhile: Callable[[], None] = lambda: None

    def stamp(self) -> int:
        return self.number

    def load(self) -> int:
        found = self.number
        self.meanwhile()
        return found

    def change(self) -> None:
        self.number += 1
        self.meanwhile = lambda: None


def refresher(stores: Stores) -> Refresher:
    return Refresher(load=stores.load, stamp=stores.stamp, log=Heard())


def test_nothing_is_loaded_while_nothing_has_changed() -> None:
    stores = Stores()
    made = refresher(stores)
    stores.meanwhile = lambda: pytest.fail("loaded")
    assert not made.refresh() and made.current() == 1


@pytest.mark.parametrize("first", [True, False])
def test_a_change_made_while_the_state_is_loaded_is_seen_at_the_next_look(first: bool) -> None:
    stores = Stores()
    if not first:
        made = refresher(stores)
        stores.number += 1
    stores.meanwhile = stores.change
    if first:
        made = refresher(stores)
    else:
        assert made.refresh()
    assert made.current() == stores.number - 1
    assert made.refresh() and made.current() == stores.number
    assert not made.refresh()


def test_a_state_that_could_not_be_loaded_is_loaded_at_the_next_look() -> None:
    stores = Stores()
    made = refresher(stores)
    stores.change()

    def away() -> None:
        raise ServiceUnavailable("database", "away")

    stores.meanwhile = away
    with pytest.raises(ServiceUnavailable):
        made.refresh()
    assert made.current() == 1, "the last state stays in force"
    stores.meanwhile = lambda: None
    assert made.refresh() and made.current() == 2


def test_whoever_loads_an_older_state_more_slowly_does_not_put_it_in_place_of_a_newer_one() -> None:
    stores = Stores()
    made = refresher(stores)
    loading, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        stores.change()
        loading.set()
        assert go_on.wait(20)

    stores.number += 1
    stores.meanwhile = slowly
    slow, quick = threading.Thread(target=made.refresh), threading.Thread(target=made.refresh)
    slow.start()
    assert loading.wait(20)
    quick.start()
    # Where it need not wait for the slow one, it is done after this.
    quick.join(0.2)
    go_on.set()
    slow.join(20)
    quick.join(20)
    assert made.current() == stores.number == 3
