"""A remote index that is slow, far away or of the wrong kind: files and tickets go on, and the page says what is wrong."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from engine import imports
from engine.breaker import Circuit
from engine.domain import Decision
from tests.faults.conftest import World
from tests.faults.test_matrix import heal, route, table, word
from tests.servers.faulty import Fault


@pytest.fixture(autouse=True)
def healed(world: World) -> Iterator[None]:
    yield
    world.pinecone.pause = 0.0
    for index in world.pinecone.indexes.values():
        index["metric"] = "cosine"
    heal(world)


def test_an_imported_file_uses_an_index_that_takes_thirty_milliseconds_for_an_answer(world: World) -> None:
    route(world)
    world.gemini.stop_listening()
    world.pinecone.pause = 0.03
    before = world.engine.services.states()["index"]
    content = table(*(word(10_000 + number) for number in range(3 * imports.BATCH)))
    file = imports.read(content, name="tickets.csv", router=world.engine.router)
    found = imports.run(file, router=world.engine.router, store=world.engine.decisions).decisions
    assert len(found) == 3 * imports.BATCH
    assert not [decision for decision in found if "index" in decision.degraded_by]
    after = world.engine.services.states()["index"]
    assert (after.failures, after.circuit) == (before.failures, Circuit.CLOSED)


def test_with_an_index_of_another_metric_the_copy_answers_and_the_system_page_names_it(world: World) -> None:
    for index in world.pinecone.indexes.values():
        index["metric"] = "dotproduct"
    world.engine.remote_index._ready = None
    decision = route(world)
    assert isinstance(decision, Decision)
    assert "index" in decision.degraded_by
    assert decision.evidence
    report = world.engine.health.test("index")
    assert not report.ok
    assert "PINECONE_INDEX" in report.detail
    assert "dotproduct" in report.last_error


def test_a_short_deadline_of_the_policy_reaches_the_index_that_says_nothing(world: World) -> None:
    long = world.engine.policies.live()
    world.engine.policies.add(replace(long, deadline=1.0), author="test", reason="a short deadline")
    world.engine.state.refresh()
    world.pinecone.fault = Fault("hang", seconds=30)
    try:
        decision = route(world)
    finally:
        world.engine.policies.add(long, author="test", reason="as before")
        world.engine.state.refresh()
    assert "index" in decision.degraded_by
    said = world.engine.services.states()["index"].last_error
    assert float(re.search(r"no answer within ([0-9.]+) s", said)[1]) <= 1.0, "its own limit is a second and a half"
