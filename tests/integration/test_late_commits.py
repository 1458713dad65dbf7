"""A row whose number is lower than one that was seen already is taken in as well when its transaction ends later."""
from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, text

from db.models import exemplar_vectors, exemplars
from db.taxonomy import raise_counter
from engine.bootstrap import Engine
from engine.domain import Exemplar, TicketDraft
from engine.outcome import Outcome
from engine.taken import OVERLAP, Taken

BILL = "you took the money twice for my october bill"
PARCEL = "where is my parcel"


@pytest.fixture
def console(idle: Engine) -> Engine:
    return idle


def test_a_label_committed_after_a_later_one_is_counted(console) -> None:
    """The slow one has its number first; the raw transaction does what storing a label does."""
    slow, quick = (console.router.route(TicketDraft(body=body)) for body in (BILL, PARCEL))
    database = console.decisions._engine
    with database.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = true, review_probability = 1"))
    values = {"id": slow.ticket_id, "department": slow.department, "now": datetime.now(UTC)}
    with database.begin() as transaction:
        transaction.execute(text(
            "insert into outcomes (ticket_id, kind, predicted, actual, labelled_by) "
            "values (:id, 'confirmed', :department, :department, 'slow')"
        ), values)
        console.router.review(Outcome(ticket_id=quick.ticket_id, department=quick.department, labelled_by="quick"), learn=False)
        console.state.refresh()
        assert counted(console) == {quick.ticket_id}
        transaction.execute(
            text("update routing_history set actual_outcome = :department, reviewed_at = :now where ticket_id = :id"), values
        )
        raise_counter(transaction, "labels")
    assert console.state.refresh()
    assert counted(console) == {slow.ticket_id, quick.ticket_id}


def counted(console) -> set[str]:  # noqa: ANN001
    """The tickets whose label the tracker has."""
    return set(console.tracking._tracker._labels)


def test_an_exemplar_committed_after_a_later_one_is_taken_into_the_model_once(console) -> None:
    """The slow transaction has its number first and raises the counter last, as one that stores an exemplar does."""
    embed, name = console.trainer._embedder.embed, console.trainer._embedder.name
    number = console.state.current().model.number
    with console.decisions._engine.begin() as transaction:
        row = {"text": BILL, "department": "Sales", "source": "imported"}
        slow = transaction.execute(insert(exemplars).values(row).returning(exemplars.c.id)).scalar_one()
        transaction.execute(insert(exemplar_vectors).values(exemplar_id=slow, embedder=name, embedding=embed([BILL])[0]))
        (quick,) = console.exemplars.add([Exemplar(text=PARCEL, department="Sales")], embed([PARCEL]))
        assert console.state.refresh() and slow < quick
        assert console.state.current().versions["model"] == f"{number}+1"
        raise_counter(transaction, "exemplars")
    assert console.state.refresh()
    assert console.state.current().versions["model"] == f"{number}+2"
    console.exemplars.add([Exemplar(text="and one more", department="Sales")], embed(["and one more"]))
    assert console.state.refresh()
    assert console.state.current().versions["model"] == f"{number}+3", "nothing is taken in twice"


def test_an_exemplar_whose_vector_came_after_a_later_ones_is_taken_in(console) -> None:
    embed, number = console.trainer._embedder.embed, console.state.current().model.number
    (slow,) = console.exemplars.add([Exemplar(text=BILL, department="Sales")], None)
    console.exemplars.add([Exemplar(text=PARCEL, department="Sales")], embed([PARCEL]))
    assert console.state.refresh()
    console.exemplars.add_vectors([slow], embed([BILL]))
    assert console.state.refresh()
    assert console.state.current().versions["model"] == f"{number}+2"


def test_a_fit_knows_which_of_the_newest_exemplars_it_rests_on(build) -> None:
    first = build()
    embed = first.trainer._embedder.embed
    (slow,) = first.exemplars.add([Exemplar(text=BILL, department="Sales")], None)
    (quick,) = first.exemplars.add([Exemplar(text=PARCEL, department="Sales")], embed([PARCEL]))
    number = first.trainer.train()
    manifest = first.trainer._models.manifest(number)
    assert manifest["newest_exemplar"] == quick and slow not in manifest["recent_exemplars"]
    first.exemplars.add_vectors([slow], embed([BILL]))
    assert build().state.current().versions["model"] == f"{number}+1"


def test_a_model_of_an_earlier_version_takes_nothing_in_that_it_may_know(build) -> None:
    first = build()
    with first.decisions._engine.begin() as connection:
        connection.execute(text("update models set manifest = manifest - 'recent_exemplars'"))
    number = first.state.current().model.number
    assert build().state.current().versions["model"] == str(number)


def test_numbers_are_asked_for_from_some_way_back_and_never_below_the_floor() -> None:
    taken = Taken(range(1, 3 * OVERLAP + 1))
    assert (taken.after, taken.without) == (2 * OVERLAP, list(range(2 * OVERLAP + 1, 3 * OVERLAP + 1)))
    taken.add([3 * OVERLAP + 5])
    assert taken.after == 2 * OVERLAP + 5 and 3 * OVERLAP + 5 in taken.without and 3 * OVERLAP + 4 not in taken.without
    old = Taken(floor=50)
    assert (old.after, old.without) == (50, [])
    old.add([53, 51])
    assert (old.after, old.without) == (50, [51, 53])
    assert (Taken().after, Taken().without) == (0, [])
