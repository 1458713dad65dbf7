"""After a purge nothing of the old tickets' words is left anywhere, and every count is what it was."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from db.session import connect
from engine.bootstrap import Engine
from engine.domain import Outcome, Overrule, TicketDraft

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
