"""After a purge nothing of the old tickets' words is left anywhere, and every count is what it was."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from db import retention
from db.session import connect
from engine.bootstrap import Engine
from engine.domain import Outcome, Overrule, TicketDraft
from engine.errors import StatementRefused

WORD = "xylophone"


def everything(engine: Engine) -> str:
    """All rows of all tables as text, models' binary weights aside."""
    pool = connect(engine.settings.postgres_url)
    with pool.connect() as connection:
        names = connection.execute(text("select tablename from pg_tables where schemaname = 'public' and tablename <> 'models'")).scalars().all()
        rows = [str(connection.execute(text(f'select t::text from "{name}" t')).scalars().all()) for name in names]
    pool.dispose()
    return "\n".join(rows)


def test_texts_older_than_the_limit_go_and_statistics_stay(console: Engine) -> None:
    old = console.router.route(TicketDraft(body=f"my {WORD} parcel is lost", subject=WORD, customer_ref=f"C-{WORD}", created_by="ann"))
    other = next(d.name for d in console.taxonomy.departments() if d.name != old.department)
    console.router.overrule(Overrule(ticket_id=old.ticket_id, department=other, by="ann", reason=WORD))
    console.router.review(Outcome(ticket_id=old.ticket_id, department=other, labelled_by="sue", note=WORD))
    assert WORD in everything(console)
    accuracy, exemplars = console.outcomes.accuracy(), console.exemplars.count()
    now = datetime.now(UTC)
    assert console.retention.purge(before=now - timedelta(days=1), now=now) == 0
    assert WORD in everything(console)
    assert console.retention.purge(before=now + timedelta(seconds=1), now=now) == 1
    assert console.retention.purge(before=now + timedelta(seconds=1), now=now) == 0
    assert WORD not in everything(console)
    assert [tuple(row) for row in console.outcomes.accuracy()] == [tuple(row) for row in accuracy]
    assert console.exemplars.count() == exemplars - 1
    ticket, decision = console.decisions.find(old.ticket_id)
    assert (ticket.body, decision.department) == ("", old.department)


def test_a_purge_goes_in_batches_and_one_that_was_broken_off_goes_on(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = [console.router.admit(TicketDraft(body=f"my {WORD} parcel number {number} is lost")) for number in range(9)]
    console.router.route_tickets(tickets)  # one transaction, so one time for all of them
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
    pool.dispose()
    assert 0 < gone < 9 and gone % 2 == 0, "whole batches"
    assert console.retention.purge(before=now + timedelta(seconds=1), now=now) == 9 - gone
    assert WORD not in everything(console)
