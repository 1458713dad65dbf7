"""One battery for the exemplar index: pgvector, and Pinecone over real HTTP; and the outbox that keeps the two equal."""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, text

from db.exemplars import Exemplars
from db.models import tickets
from db.outbox import Outbox, close_all
from db.retention import Retention
from engine.adapters.pinecone_index import PineconeIndex
from engine.backends import REMOTE_INDEX
from engine.breaker import Circuit
from engine.domain import Exemplar
from engine.errors import ServiceUnavailable
from engine.guarded import GuardedIndex, Services
from engine.ports import ExemplarIndex
from engine.reindex import CheckedIndex, Reindexer
from tests.servers.faulty import BlackHole, Fault
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


def wait_until(true: Callable[[], object], *, seconds: float = 60) -> None:
    """The limit only ends a run that would never end."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it never became true"
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[PineconeServer]:
    with PineconeServer() as started:
        yield started


def remote(server: PineconeServer, *, embedder: str = NAME, dimensions: int = DIMENSIONS) -> PineconeIndex:
    return PineconeIndex(
        api_key="key", index="tickets", environment="us-east-1", dimensions=dimensions, embedder=embedder, host=server.url, timeout=30.0
    )


@pytest.fixture
def reindexer(database: Engine, server: PineconeServer) -> Reindexer:
    outbox = Outbox(database, embedder=NAME, place="test")
    outbox.open()
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


def test_those_removed_a_moment_ago_leave_as_many_neighbours_as_were_asked_for(made: Set) -> None:
    """The remote index has not heard of it yet."""
    order = np.argsort(-(made.vectors[:1] @ made.vectors.T)[0], kind="stable")
    made.exemplars.remove([made.ids[i] for i in order[:3]])
    (found,) = made.index.nearest(made.vectors[:1], 5)
    assert [n.exemplar_id for n in found] == [made.ids[i] for i in order[3:8]]


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


def test_two_consoles_with_different_indexes_do_not_take_the_outbox_from_each_other_for_ever(database: Engine, server: PineconeServer) -> None:
    Exemplars(database, embedder=NAME, dimensions=DIMENSIONS).add([Exemplar(text=f"text {n}", department="Billing") for n in range(3)], unit(3))
    one, other = (
        Reindexer(notes=Outbox(database, embedder=NAME, place=place), index=remote(server), log=Quiet()) for place in ("one", "other")
    )
    assert (one.run(), other.run()) == (3, 3), "whoever begins with it notes everything for its own"
    assert (one.run(), other.run()) == (0, 0)
    close_all(database)
    assert (one.run(), other.run()) == (3, 0), "what was closed meanwhile is opened by one of them"


def test_what_is_missing_there_and_what_is_too_much_there_do_not_make_up_for_each_other(
    database: Engine, server: PineconeServer, reindexer: Reindexer
) -> None:
    ids, index = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS).add([Exemplar(text="a", department="Billing")] * 5, unit(5)), remote(server)
    reindexer.run()
    index.upsert([(ids[-1] + 1000, unit(1, seed=7)[0], {"department": "Billing", "topic": "", "source": "seed"})])
    found = reindexer.compare()
    assert (found.missing, found.different, found.surplus, found.waiting, found.equal) == (0, 0, 1, 0, False)
    index.delete([ids[0]])
    found = reindexer.compare()
    assert (found.missing, found.different, found.surplus, found.waiting, found.equal) == (1, 0, 1, 0, False)
    index.delete([ids[-1] + 1000])
    Outbox(database, embedder=NAME).note([ids[0]])
    reindexer.run()
    assert reindexer.compare().equal
    Outbox(database, embedder=NAME).note([ids[0]])
    found = reindexer.compare()
    assert (found.missing, found.different, found.surplus, found.waiting, found.equal) == (0, 0, 0, 1, False)
    reindexer.run()
    near = unit(5)[0] + 0.05 * unit(1, seed=8)[0]
    index.upsert([(ids[0], near / np.linalg.norm(near), {"department": "Billing", "topic": "", "source": "seed"})])
    found = reindexer.compare()
    assert (found.missing, found.different, found.surplus, found.waiting, found.equal) == (0, 1, 0, 0, False)


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
    outbox = Outbox(database, embedder=NAME, place="test")
    outbox.open()
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


@pytest.mark.parametrize("taken", [{}, {"tickets": 8}])
def test_an_index_that_cannot_be_used_is_named_in_the_error_and_no_change_is_lost(
    database: Engine, server: PineconeServer, reindexer: Reindexer, taken: dict[str, int]
) -> None:
    """Of another metric under the wanted name, or of another dimension under the name that is used instead."""
    for name, dimension in taken.items():
        server.indexes[name] = server._described(name, dimension)
    if taken:
        server.indexes["tickets-384"] = server._described("tickets-384", 16)
    else:
        server.metric = "euclidean"
        server.indexes["tickets"] = server._described("tickets", DIMENSIONS)
    Exemplars(database, embedder=NAME, dimensions=DIMENSIONS).add([Exemplar(text="text", department="Billing")], unit(1))
    index = remote(server)
    for call in (lambda: index.nearest(unit(1), 1), index.count, index.ping, reindexer.run):
        with pytest.raises(ServiceUnavailable, match="PINECONE_INDEX: the index tickets.* cosine and 384 are needed"):
            call()
    server.metric = "cosine"
    server.indexes.clear()
    reindexer.run()
    assert reindexer.compare().equal


def test_the_thread_that_sends_changes_survives_an_index_that_cannot_be_used(database: Engine, server: PineconeServer) -> None:
    server.metric = "euclidean"
    server.indexes["tickets"] = server._described("tickets", DIMENSIONS)
    outbox = Outbox(database, embedder=NAME, place="test")
    outbox.open()
    said: list[dict[str, object]] = []

    class Listening(Quiet):
        def event(self, *names: object, **fields: object) -> None:
            said.append({"event": names[0], **fields})

    worker = Reindexer(notes=outbox, index=remote(server), log=Listening(), interval=0.02)
    worker.start()
    try:
        wait_until(lambda: said)
        assert said[0]["service"] == "index"
        assert "the metric euclidean" in str(said[0]["reason"])
        server.metric = "cosine"
        server.indexes.clear()
        Exemplars(database, embedder=NAME, dimensions=DIMENSIONS).add([Exemplar(text="text", department="Billing")], unit(1))
        wait_until(lambda: worker.compare().equal)
    finally:
        worker.close()


@pytest.mark.parametrize("stuck", ["connections", "requests"])
def test_an_index_that_says_nothing_at_its_first_use_holds_nobody_up_for_good(server: PineconeServer, stuck: str) -> None:
    """Neither when nothing is said at all, nor when only the making of the index is never answered."""
    hole = BlackHole()
    index = PineconeIndex(
        api_key="key", index="tickets", environment=None, dimensions=DIMENSIONS, embedder=NAME,
        host=hole.url if stuck == "connections" else server.url, timeout=0.2 if stuck == "connections" else 2.0,
    )
    server.faults.extend([Fault(), Fault("hang", seconds=600)])
    ended: list[str] = []

    def ask() -> None:
        with pytest.raises(ServiceUnavailable):
            index.nearest(unit(1), 1)
        ended.append("asked")

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(1 if stuck == "requests" else 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    hole.close()
    assert ended == ["asked"] * len(threads)
    if stuck == "requests":
        assert index.count() == 0, "the next call opens it anew"


def test_a_batch_is_asked_side_by_side_so_that_a_distant_index_is_in_time(
    database: Engine, server: PineconeServer, reindexer: Reindexer
) -> None:
    """128 questions of 30 ms each are answered in order by one call, which a door of 1.5 s for a single ticket lets through."""
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    vectors = unit(128)
    ids = exemplars.add([Exemplar(text=f"text {n}", department="Billing") for n in range(128)], vectors)
    reindexer.run()
    server.pause = 0.03
    services = Services(stopwatch=time.monotonic, clock=lambda: datetime.now(UTC), sleep=time.sleep, chance=random.Random(1))
    index = GuardedIndex(CheckedIndex(remote(server), active=exemplars.active), services.service("index", limits=REMOTE_INDEX))
    for _ in range(4):
        assert [row[0].exemplar_id for row in index.nearest(vectors, 5)] == ids
    state = services.states()["index"]
    assert (state.calls, state.failures, state.circuit) == (4, 0, Circuit.CLOSED)


def test_the_first_failure_in_a_batch_ends_it(server: PineconeServer) -> None:
    index = remote(server)
    assert index.count() == 0
    server.seen.clear()
    server.fault = Fault("status", 500)
    with pytest.raises(ServiceUnavailable):
        index.nearest(unit(128), 5)
    assert len(server.seen) < 64


def test_an_index_of_another_dimension_is_left_alone_and_one_beside_it_is_made(server: PineconeServer) -> None:
    assert remote(server, dimensions=8, embedder="small").count() == 0
    assert remote(server).count() == 0
    assert {name: index["dimension"] for name, index in server.indexes.items()} == {"tickets": 8, "tickets-384": 384}


@pytest.mark.parametrize(
    ("environment", "spec"),
    [
        (None, {"serverless": {"cloud": "aws", "region": "us-east-1"}}),
        ("eu-west-1", {"serverless": {"cloud": "aws", "region": "eu-west-1"}}),
        ("gcp/europe-west4", {"serverless": {"cloud": "gcp", "region": "europe-west4"}}),
        ("us-west1-gcp", {"pod": {"environment": "us-west1-gcp", "pod_type": "p1.x1"}}),
    ],
)
def test_a_missing_index_is_made_where_the_environment_says_with_cosine_and_the_embedders_dimension(
    server: PineconeServer, environment: str | None, spec: dict[str, dict[str, str]]
) -> None:
    index = PineconeIndex(
        api_key="key", index="Tickets of ACME", environment=environment, dimensions=DIMENSIONS, embedder=NAME, host=server.url, timeout=30.0
    )
    assert index.count() == 0
    made_ = next(seen.body for seen in server.seen if seen.method == "POST" and seen.path == "/indexes")
    assert (made_["name"], made_["dimension"], made_["metric"]) == ("tickets-of-acme", DIMENSIONS, "cosine")
    [(kind, wanted)] = spec.items()
    assert made_["spec"][kind].items() >= wanted.items()


def test_an_index_that_another_console_made_a_moment_before_is_used(server: PineconeServer) -> None:
    server.made_meanwhile = "tickets"
    assert remote(server).count() == 0
    assert [seen.method for seen in server.seen[:3]] == ["GET", "POST", "GET"]
    assert list(server.indexes) == ["tickets"]


def test_only_live_departments_are_asked_for_so_that_retired_ones_take_nobodys_place(
    database: Engine, server: PineconeServer, reindexer: Reindexer
) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    vectors = unit(20)
    ids = exemplars.add([Exemplar(text=f"text {n}", department="Retired" if n < 15 else "Billing") for n in range(20)], vectors)
    reindexer.run()
    live = ["Billing"]
    index = PineconeIndex(
        api_key="key", index="tickets", environment="us-east-1", dimensions=DIMENSIONS, embedder=NAME, host=server.url, timeout=30.0,
        departments=lambda: live,
    )
    assert {n.exemplar_id for n in index.nearest(vectors[:1], 5)[0]} == set(ids[15:])
    live.append("Retired")
    assert index.nearest(vectors[:1], 5)[0][0].exemplar_id == ids[0]


def test_a_purge_takes_the_vectors_out_of_the_remote_index_too(database: Engine, server: PineconeServer, reindexer: Reindexer) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    now = datetime.now(UTC)
    with database.begin() as connection:
        connection.execute(
            tickets.insert().values(
                id="T-1", subject="", body="old words", channel="web", priority="normal", origin="console", fingerprint="f",
                created_at=now - timedelta(days=99),
            )
        )
    kept, gone = exemplars.add(
        [Exemplar(text="seed", department="Billing"), Exemplar(text="old words", department="Billing", ticket_id="T-1")], unit(2)
    )
    reindexer.run()
    space = server.namespaces["test-384"]
    assert set(space) == {str(kept), str(gone)}
    assert Retention(database).purge(before=now - timedelta(days=30), now=now) == 1
    reindexer.run()
    assert set(space) == {str(kept)}
    assert reindexer.compare().equal


def test_without_a_remote_index_nothing_is_noted(database: Engine) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    exemplars.add([Exemplar(text="text", department="Billing")], unit(1))
    assert Outbox(database, embedder=NAME).waiting() == 0


def test_no_text_of_a_ticket_is_sent(database: Engine, server: PineconeServer, reindexer: Reindexer) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    exemplars.add([Exemplar(text="my very own words", department="Billing")], unit(1))
    reindexer.run()
    assert "very own words" not in repr([seen.body for seen in server.seen])
