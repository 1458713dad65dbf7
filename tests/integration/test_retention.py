"""After a purge nothing of the old tickets' words is left anywhere, and every count is what it was."""
from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from db import retention
from db.session import connect, reading
from engine import imports
from engine.bootstrap import Engine
from engine.domain import Channel, Decision, Priority, Ticket, TicketDraft
from engine.errors import StatementRefused
from engine.outcome import Outcome, Overrule
from engine.set_aside import SetAside
from tests.contract.test_index import wait_until

WORD = "xylophone"


def everything(engine: Engine) -> str:
    """All rows of all tables as text, models' binary weights aside."""
    pool = connect(engine.settings.postgres_url)
    with pool.connect() as connection:
        names = connection.execute(text("select tablename from pg_tables where schemaname = 'public' and tablename <> 'models'")).scalars().all()
        rows = [str(connection.execute(text(f'select t::text from "{name}" t')).scalars().all()) for name in names]
    pool.dispose()
    return "\n".join(rows)


def vectors(console: Engine, ticket_id: str) -> int:
    query = "select count(*) from exemplar_vectors v join exemplars e on e.id = v.exemplar_id where e.ticket_id = :id"
    with reading(console.decisions._engine) as connection:
        return connection.execute(text(query), {"id": ticket_id}).scalar_one()


def given(decision: Decision, *, note: str = "") -> Outcome:
    return Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="sue", note=note)


def purge_beside(console: Engine) -> threading.Thread:
    """A purge of everything, under way on a thread of its own."""
    now = datetime.now(UTC)
    thread = threading.Thread(target=lambda: console.retention.purge(before=now + timedelta(seconds=1), now=now))
    thread.start()
    return thread


def waits_for_a_lock(console: Engine, *, many: int = 1) -> bool:
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with reading(console.decisions._engine) as connection:
        return connection.execute(text(query)).scalar_one() >= many


def test_texts_older_than_the_limit_go_and_statistics_stay(console: Engine) -> None:
    old = console.router.route(TicketDraft(body=f"my {WORD} parcel is lost", subject=WORD, customer_ref=f"C-{WORD}", created_by="ann"))
    other = next(d.name for d in console.taxonomy.departments() if d.name != old.department)
    console.router.overrule(Overrule(ticket_id=old.ticket_id, department=other, by="ann", reason=WORD))
    console.router.review(Outcome(ticket_id=old.ticket_id, department=other, labelled_by="sue", note=WORD))
    assert WORD in everything(console)
    assert vectors(console, old.ticket_id) == 1
    accuracy, exemplars = console.outcomes.accuracy(), console.exemplars.count()
    now = datetime.now(UTC)
    assert console.retention.purge(before=now - timedelta(days=1), now=now) == 0
    assert WORD in everything(console)
    assert console.retention.purge(before=now + timedelta(seconds=1), now=now) == 1
    assert console.retention.purge(before=now + timedelta(seconds=1), now=now) == 0
    assert WORD not in everything(console)
    with reading(console.decisions._engine) as connection:
        left = connection.execute(text("select fingerprint from tickets where id = :id"), {"id": old.ticket_id}).scalar_one()
    assert left == "", "who guesses a text could see by its fingerprint that it was this one"
    assert vectors(console, old.ticket_id) == 0, "much of a text can be read out of its vector"
    assert [tuple(row) for row in console.outcomes.accuracy()] == [tuple(row) for row in accuracy]
    assert console.exemplars.count() == exemplars - 1
    ticket, decision = console.decisions.find(old.ticket_id)
    assert (ticket.body, decision.department) == ("", old.department)


def test_a_purge_goes_in_batches_and_one_that_was_broken_off_goes_on(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = [console.router.admit(TicketDraft(body=f"my {WORD} parcel number {number} is lost")) for number in range(9)]
    console.router.route_tickets(tickets)
    console.router.settle()
    now = datetime.now(UTC)
    monkeypatch.setattr(retention, "BATCH", 2)
    pool = connect(console.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text(f"alter table tickets add constraint stop check (id <> '{tickets[5].id}' or body <> '')"))
    with pytest.raises(StatementRefused, match="stop"):
        console.retention.purge(before=now + timedelta(seconds=1), now=now)
    with pool.begin() as connection:
        gone = connection.execute(text("select count(*) from tickets where body = '' and text_removed_at is not null")).scalar_one()
        connection.execute(text("alter table tickets drop constraint stop"))
        # A batch may end among tickets of one time.
        connection.execute(text("update tickets set created_at = (select min(created_at) from tickets) where text_removed_at is null"))
    pool.dispose()
    assert 0 < gone < 9 and gone % 2 == 0, "whole batches"
    assert console.retention.purge(before=now + timedelta(seconds=1), now=now) == 9 - gone
    assert WORD not in everything(console)


def test_what_a_language_model_said_about_the_customer_goes_too(console: Engine) -> None:
    asked, other = (console.router.route(TicketDraft(body=text)) for text in (f"my {WORD} parcel is lost", "where is my parcel"))
    pool = connect(console.settings.postgres_url)
    with pool.begin() as connection:
        said = text("update routing_history set method = 'rag_llm', reason = :reason where ticket_id = :id")
        connection.execute(said, {"id": asked.ticket_id, "reason": f"The customer has lost a {WORD}."})
    pool.dispose()
    now = datetime.now(UTC)
    console.retention.purge(before=now + timedelta(seconds=1), now=now)
    assert WORD not in everything(console)
    assert console.decisions.find(asked.ticket_id)[1].reason == "The text of this ticket was removed."
    assert console.decisions.find(other.ticket_id)[1].reason == other.reason


def test_a_ticket_without_its_text_waits_for_no_label(console: Engine) -> None:
    """Nobody could say where it belonged. Those that still have theirs wait on."""
    old = console.router.route(TicketDraft(body=f"my {WORD} parcel is lost"))
    other = next(d.name for d in console.taxonomy.departments() if d.name != old.department)
    console.router.overrule(Overrule(ticket_id=old.ticket_id, department=other, by="ann"))
    assert [row.ticket_id for row in console.outcomes.queue()] == [old.ticket_id]
    assert sum(console.outcomes.waiting().values()) == 1
    now = datetime.now(UTC)
    console.retention.purge(before=now + timedelta(seconds=1), now=now)
    assert (console.outcomes.queue(), console.outcomes.waiting()) == ([], {})
    new = console.router.route(TicketDraft(body="where is my parcel"))
    console.router.overrule(Overrule(ticket_id=new.ticket_id, department=other, by="ann"))
    assert sum(console.outcomes.waiting().values()) == 1


def test_a_label_of_a_ticket_without_its_text_is_counted_and_nothing_is_learned_from_it(console: Engine) -> None:
    decision = console.router.route(TicketDraft(body=f"my {WORD} parcel is lost"))
    now = datetime.now(UTC)
    console.retention.purge(before=now + timedelta(seconds=1), now=now)
    reviewed = console.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="sue"))
    assert (reviewed.correct, reviewed.exemplar_id) == (True, None)
    assert sum(row.total_predictions for row in console.outcomes.accuracy()) == 1


@pytest.mark.parametrize("deed", ["label", "overrule"])
def test_what_is_said_of_a_ticket_while_its_text_is_removed_goes_too(console: Engine, deed: str) -> None:
    """Its transaction has begun before the purge and ends after it, or would without a wait."""
    decision = console.router.route(TicketDraft(body=f"my {WORD} parcel is lost"))
    purging: list[threading.Thread] = []

    def meanwhile(*_: object) -> None:
        purging.append(purge_beside(console))
        wait_until(lambda: not purging[0].is_alive() or waits_for_a_lock(console))

    if deed == "label":
        console.outcomes.label(given(decision, note=WORD), now=datetime.now(UTC), also=meanwhile)
    else:
        choice = Overrule(ticket_id=decision.ticket_id, department=decision.department, by="ann", reason=WORD)
        console.outcomes.overrule(choice, now=datetime.now(UTC), also=meanwhile)
    purging[0].join()
    console.router.settle()
    assert console.decisions.find(decision.ticket_id)[0].body == ""
    assert WORD not in everything(console)


def test_what_is_said_of_a_ticket_while_its_purge_is_under_way_is_not_learned_and_its_note_goes_by_its_own_age(console: Engine) -> None:
    decision = console.router.route(TicketDraft(body=f"my {WORD} parcel is lost"))
    console.router.settle()
    pool = connect(console.settings.postgres_url)
    with pool.begin() as connection:
        # The last step waits, all others are done.
        connection.execute(text("select from tickets where id = :id for no key update"), {"id": decision.ticket_id})
        purging = purge_beside(console)
        wait_until(lambda: waits_for_a_lock(console))
        labelling = threading.Thread(target=console.router.review, args=(given(decision, note=f"{WORD} again"),))
        labelling.start()
        wait_until(lambda: not labelling.is_alive() or waits_for_a_lock(console, many=2))
    pool.dispose()
    purging.join()
    labelling.join()
    assert console.decisions.find(decision.ticket_id)[0].body == ""
    assert f"my {WORD}" not in everything(console)
    assert sum(row.total_predictions for row in console.outcomes.accuracy()) == 1
    now = datetime.now(UTC)
    assert console.retention.purge(before=now + timedelta(seconds=1), now=now) == 0
    assert WORD not in everything(console)


def test_a_vector_that_is_being_stored_while_its_text_is_removed_goes_too(console: Engine) -> None:
    """Of a label given while the embedder was away, say, or when all vectors are made anew."""
    decision = console.router.route(TicketDraft(body=f"my {WORD} parcel is lost"))
    reviewed = console.outcomes.label(given(decision), now=datetime.now(UTC))
    vector = np.full(384, 384 ** -0.5).tolist()
    with console.decisions._engine.begin() as connection:
        # What `Exemplars.add_vectors` does.
        connection.execute(text("select from exemplars where id = :id and active for share"), {"id": reviewed.exemplar_id})
        connection.execute(
            text("insert into exemplar_vectors (exemplar_id, embedder, embedding) values (:id, 'late', cast(:vector as vector))"),
            {"id": reviewed.exemplar_id, "vector": str(vector)},
        )
        purging = purge_beside(console)
        wait_until(lambda: waits_for_a_lock(console))
    purging.join()
    assert console.decisions.find(decision.ticket_id)[0].body == ""
    assert vectors(console, decision.ticket_id) == 0


def test_a_file_that_was_stored_before_a_purge_is_stored_already(console: Engine) -> None:
    content = f"ticket_id,body\nA-1,my {WORD} parcel is lost\nA-2,where is my {WORD}\n".encode()

    def imported() -> imports.ImportResult:
        file = imports.read(content, name="old.csv", router=console.router)
        return imports.run(file, router=console.router, store=console.decisions)

    assert len(imported().decisions) == 2
    now = datetime.now(UTC)
    console.retention.purge(before=now + timedelta(seconds=1), now=now)
    again = imported()
    assert (again.decisions, again.already_stored) == ((), 2)
    console.router.settle()
    assert WORD not in everything(console)


def test_tickets_that_were_set_aside_go_by_their_age(tmp_path: Path) -> None:
    """A readable one by the time it was accepted, the rest by the time it was set aside."""
    now = datetime.now(UTC)
    aside = SetAside(tmp_path / "refused")
    for days in (100, 10):
        ticket = Ticket(
            id=f"T-{days}", subject="", body=f"my {WORD}", channel=Channel.WEB, customer_ref="", priority=Priority.NORMAL,
            created_at=now - timedelta(days=days),
        )
        aside.refuse(ticket, "another ticket with this id is stored")
    aside.broken("0000000001-1-abcd", [b"torn"])
    assert aside.forget(before=now - timedelta(days=90)) == 1
    assert sorted(record.ticket_id for record in aside.records()) == ["", "T-10"]
    torn = next(tmp_path.rglob("*.torn"))
    os.utime(torn, (now.timestamp() - 100 * 86_400,) * 2)
    assert aside.forget(before=now - timedelta(days=90)) == 1
    assert [record.ticket_id for record in aside.records()] == ["T-10"]
