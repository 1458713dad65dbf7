"""What follows a stored ticket is done in order, and also where the router is closed in that moment."""
from __future__ import annotations

import threading

import pytest

from engine.afterwards import Afterwards


def test_what_is_handed_over_after_the_end_is_done_behind_what_was_handed_over_before() -> None:
    done, held = [], threading.Event()
    afterwards = Afterwards()
    afterwards.submit(held.wait)
    afterwards.submit(done.append, "first")
    afterwards.shutdown(wait=False)
    late = threading.Thread(target=lambda: afterwards.submit(done.append, "second"))
    late.start()
    held.set()
    late.join()
    assert done == ["first", "second"]


def test_an_error_is_the_futures_before_and_after_the_end() -> None:
    afterwards = Afterwards()
    before = afterwards.submit(int, "x")
    afterwards.shutdown()
    for failed in (before, afterwards.submit(int, "x")):
        with pytest.raises(ValueError, match="invalid literal"):
            failed.result()
    assert afterwards.submit(int, "7").result() == 7


def test_a_machine_without_threads_is_told_before_anything_depends_on_one() -> None:
    threading.stack_size(1 << 47)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            Afterwards()
    finally:
        threading.stack_size(0)
