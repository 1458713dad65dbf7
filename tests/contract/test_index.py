"""One battery for the exemplar index: pgvector, and Pinecone over real HTTP; and the outbox that keeps the two equal."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from sqlalchemy import Engine, text

from db.exemplars import Exemplars
from db.outbox import Outbox
from engine.adapters.pinecone_index import PineconeIndex
from engine.domain import Exemplar
from engine.errors import ServiceUnavailable
from engine.ports import ExemplarIndex
from engine.reindex import CheckedIndex, Reindexer
from tests.servers.faulty import Fault
from tests.servers.pinecone import PineconeServer

NAME, DIMENSIONS = "test/384", 384


class Quiet:
    """A log that nobody reads."""

    def decision(self, *_: object, **__: object) -> None: ...

    def event(self, *_: object, **__: object) -> None: ...


@dataclass(slots=True)
class Set:
    """An index, the exemplars behind it, and what brings a remote one up to date."""

    index: ExemplarIndex
    exemplars: Exemplars
    catch_up: object
    vectors: np.ndarray
    ids: list[int]


def unit(rows: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, DIMENSIONS)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def server() -> Iterator[PineconeServer]:
    with PineconeServer() as started:
        yield started


def remote(server: PineconeServer, *, embedder: str = NAME, dimensions: int = DIMENSIONS) -> PineconeIndex:
    return PineconeIndex(
        api_key="key", index="tickets", environment="us-east-1", dimensions=dimensions, embedder=embedder, host=server.url, timeout=1.0
    )


@pytest.fixture
def reindexer(database: Engine, server: PineconeServer) -> Reindexer:
    outbox = Outbox(database, embedder=NAME)
    outbox.open("test")
    return Reindexer(notes=outbox, index=remote(server), log=Quiet())


@pytest.fixture(params=["pgvector", "pinecone"])
def made(request: pytest.FixtureRequest, database: Engine) -> Set:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    index: ExemplarIndex = exemplars
    catch_up = lambda: None  # noqa: E731
    if request.param == "pinecone":
        worker = request.getfixturevalue("reindexer")
        catch_up = worker.run
        index = CheckedIndex(remote(request.getfixturevalue("server")), active=exemplars.active)
    vectors = unit(30)
    departments = ["Billing", "Delivery", "Sales"]
    ids = exemplars.add([Exemplar(text=f"text {n}", department=departments[n % 3], topic=f"t{n}") for n in range(30)], vectors)
    catch_up()
    return Set(index, exemplars, catch_up, vectors, ids)


def test_the_nearest_come_first_with_cosine_text_and_labels(made: Set) -> None:
    rows = made.index.nearest(made.vectors[:3], 5)
    cosines = made.vectors[:3] @ made.vectors.T
    for row, found in enumerate(rows):
        assert [n.exemplar_id for n in found] == [made.ids[i] for i in np.argsort(-cosines[row], kind="stable")[:5]]
        assert found[0].similarity == pytest.approx(1.0, abs=1e-4)
        assert (found[0].text, found[0].topic) == (f"text {row}", f"t{row}")
        assert [n.similarity for n in found] == sorted((n.similarity for n in found), reverse=True)


def test_a_removed_exemplar_is_nobodys_neighbour_from_that_moment(made: Set) -> None:
    made.exemplars.remove([made.ids[0]])
    assert made.ids[0] not in [n.exemplar_id for n in made.index.nearest(made.vectors[:1], 10)[0]]
    made.catch_up()
    assert made.ids[0] not in [n.exemplar_id for n in made.index.nearest(made.vectors[:1], 10)[0]]


def test_no_question_gets_no_answer(made: Set) -> None:
    assert made.index.nearest(np.empty((0, DIMENSIONS), dtype=np.float32), 5) == []


def test_vectors_of_another_embedder_never_mix(made: Set, database: Engine) -> None:
    other = Exemplars(database, embedder="other/384", dimensions=DIMENSIONS)
    other.add([Exemplar(text="other", department="Billing")], made.vectors[:1])
    made.catch_up()
    assert "other" not in [n.text for n in made.index.nearest(made.vectors[:1], 10)[0]]


def test_the_remote_index_ends_equal_to_postgres_after_any_change(database: Engine, server: PineconeServer, reindexer: Reindexer) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    ids = exemplars.add([Exemplar(text=f"text {n}", department="Billing") for n in range(250)], unit(250))
    assert not reindexer.compare().equal
    exemplars.remove(ids[:7])
    reindexer.run()
    found = reindexer.compare()
    assert found.equal
    assert found.expected == 243
    with database.begin() as connection:
        connection.execute(text("update exemplars set department = 'Sales' where id = :id"), {"id": ids[100]})
        connection.execute(text("delete from exemplar_vectors where exemplar_id = :id"), {"id": ids[101]})
    found = reindexer.compare()
    assert (found.different, found.surplus, found.waiting) == (1, 1, 2)
    reindexer.run()
    assert reindexer.compare().equal


@pytest.mark.parametrize("fault", [Fault("status", 500), Fault("status", 429), Fault("cut"), Fault("garbage"), Fault("half")])
def test_a_failure_in_the_middle_loses_no_change(database: Engine, server: PineconeServer, reindexer: Reindexer, fault: Fault) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    ids = exemplars.add([Exemplar(text=f"text {n}", department="Billing") for n in range(220)], unit(220))
    reindexer.run()
    exemplars.remove(ids[:110])
    server.faults.extend([Fault(), fault])
    with pytest.raises(ServiceUnavailable):
        reindexer.run()
    exemplars.add([Exemplar(text="late", department="Sales")], unit(1, seed=9))
    reindexer.run()
    assert reindexer.compare().equal


def test_what_was_sent_and_not_noted_is_sent_again_without_harm(database: Engine, server: PineconeServer) -> None:
    outbox = Outbox(database, embedder=NAME)
    outbox.open("test")
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    exemplars.add([Exemplar(text=f"text {n}", department="Billing") for n in range(5)], unit(5))
    index = remote(server)

    def killed(keep: list, remove: list) -> None:  # noqa: ANN001
        index.upsert([(row.exemplar_id, row.vector, row.metadata) for row in keep])
        raise ServiceUnavailable("index", "the process died here")

    with pytest.raises(ServiceUnavailable):
        outbox.work(killed)
    assert outbox.waiting() == 5
    worker = Reindexer(notes=outbox, index=index, log=Quiet())
    worker.run()
    assert worker.compare().equal


def test_an_index_of_another_dimension_is_left_alone_and_one_beside_it_is_made(server: PineconeServer) -> None:
    assert remote(server, dimensions=8, embedder="small").count() == 0
    assert remote(server).count() == 0
    assert {name: index["dimension"] for name, index in server.indexes.items()} == {"tickets": 8, "tickets-384": 384}


def test_without_a_remote_index_nothing_is_noted(database: Engine) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    exemplars.add([Exemplar(text="text", department="Billing")], unit(1))
    assert Outbox(database, embedder=NAME).waiting() == 0


def test_no_text_of_a_ticket_is_sent(database: Engine, server: PineconeServer, reindexer: Reindexer) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    exemplars.add([Exemplar(text="my very own words", department="Billing")], unit(1))
    reindexer.run()
    assert "very own words" not in repr([seen.body for seen in server.seen])
