"""Packages that share others are imported by one thread at a time."""
from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engine.adapters import google_client, pinecone_index
from engine.adapters.first_import import ALONE


@pytest.mark.parametrize("load", [google_client.load, pinecone_index._package.__wrapped__])
def test_a_package_waits_until_another_one_is_imported(load: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_client, "_loaded", None)
    done = threading.Event()
    with ALONE:
        waiting = threading.Thread(target=lambda: (load(), done.set()))
        waiting.start()
        assert not done.wait(0.5), "it was imported while another import was under way"
    assert done.wait(60)
    waiting.join()


def test_a_package_that_is_there_waits_for_nobody() -> None:
    pinecone_index._package()
    google_client.load()
    with ALONE:
        ready = [threading.Thread(target=load) for load in (pinecone_index._package, google_client.load)]
        for thread in ready:
            thread.start()
        for thread in ready:
            thread.join(60)
        assert not any(thread.is_alive() for thread in ready)
