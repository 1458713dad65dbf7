"""After the chaos: everything that was accepted is counted against Postgres, and what else remembers it against that."""
from __future__ import annotations

import json
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import redis
from sqlalchemy import create_engine, text

from benchmarks.chaos_servers import Servers
from benchmarks.chaos_world import Application
from benchmarks.report import Report
from db.exemplars import Exemplars
from db.outbox import Outbox
from engine import bootstrap, settings
from engine.adapters.minilm import MiniLM
from engine.adapters.pinecone_index import PineconeIndex
from engine.adapters.redis_cache import FLYING, FORGOTTEN, PREFIX
from engine.reindex import Reindexer

# Seconds that the console has for sending what it kept, once everything works again.
HEALING = 120.0
_MISCOUNTED = """
    select count(*) from routing_accuracy a full join (
        select department, count(*) as n, count(*) filter (where actual_outcome = department) as correct
        from routing_history where actual_outcome is not null group by department
    ) c using (department)
    where coalesce(a.total_predictions, 0) <> coalesce(c.n, 0) or coalesce(a.correct_predictions, 0) <> coalesce(c.correct, 0)
"""
# A labelled ticket is one active exemplar of the department that was right, unless a later label of the same text (order
# numbers aside) named another one; a ticket without a label is none.
_EXEMPLARS = """
    with last as (select distinct on (ticket_id) ticket_id, id, actual from outcomes order by ticket_id, id desc)
    select count(*) from (
        select count(e.id) as found, count(e.id) filter (where e.department is distinct from l.actual) as wrong, l.actual,
            exists (
                select 1 from outcomes o join tickets other on other.id = o.ticket_id
                where other.fingerprint = t.fingerprint and o.id > l.id and o.actual <> l.actual
            ) as superseded
        from tickets t left join last l on l.ticket_id = t.id left join exemplars e on e.ticket_id = t.id and e.active
        group by t.id, t.fingerprint, l.id, l.actual
    ) counted
    where wrong > 0 or found <> case when actual is null or superseded then 0 else 1 end
"""


class Silent:
    """A log for the checks after the run."""

    def event(self, *_: object, **__: object) -> None: ...

    def decision(self, *_: object, **__: object) -> None: ...


def check(servers: Servers, application: Application, report: Report, *, tickets: int, kills: int) -> None:
    """Add the run's measures. Ends the application."""
    database = create_engine(servers.real.postgres_url)
    outbox = Outbox(database, embedder=MiniLM.name)
    exemplars_of = Exemplars(database, embedder=MiniLM.name, dimensions=MiniLM.dimensions)
    spool = Path(servers.environment["DATA_DIR"]) / "spool"
    limit = time.monotonic() + HEALING
    # A vector that a kill came before is made by the next process, which looks for such every half a minute.
    while (spooled(spool) or exemplars_of.missing(limit=1) or outbox.waiting()) and time.monotonic() < limit:
        time.sleep(0.2)
    application.close()
    with database.connect() as connection:
        rows = connection.execute(text(
            "select h.ticket_id, t.body, h.department, h.actual_outcome from routing_history h join tickets t on t.id = h.ticket_id"
        )).all()
        miscounted, exemplars = (connection.execute(text(query)).scalar_one() for query in (_MISCOUNTED, _EXEMPLARS))
        live = set(connection.execute(text("select name from departments where live")).scalars())
    # Every ticket has words of its own, so a ticket that was stored under a second id is found as well.
    stored = Counter(row.body for row in rows)
    labelled = {row.ticket_id for row in rows if row.actual_outcome is not None}
    report.add("chaos_tickets_accepted", len(application.accepted), tickets, "min")
    report.add("chaos_accepted_not_stored", sum(not stored[application.bodies[id_]] for id_ in application.accepted), 0, "max")
    report.add("chaos_stored_twice", sum(count > 1 for count in stored.values()), 0, "max")
    report.add("chaos_stored_without_being_sent", len(stored.keys() - set(application.bodies.values())), 0, "max")
    report.add("chaos_labels_lost", len(application.labelled - labelled), 0, "max")
    report.add("chaos_departments_miscounted", miscounted, 0, "max")
    report.add("chaos_exemplars_disagree", exemplars, 0, "max")
    report.add("chaos_departments_outside_the_set", len({row.department for row in rows} - live), 0, "max")
    report.add("chaos_unhandled_exceptions", application.crashes(), 0, "max")
    report.add("chaos_commands_never_answered", application.unanswered() + len(application.again), 0, "max")
    report.add("chaos_kills", application.kills, kills, "min")
    report.add("chaos_server_kills", servers.kills, 2, "min")
    report.add("chaos_server_pauses", servers.pauses, 2, "min")
    # The answer of a ticket with a label is the label, whatever was predicted.
    right = {row.ticket_id: row.actual_outcome or row.department for row in rows}
    entries = cached(servers)
    epoch = _epoch(servers)
    # Those of this epoch are what would be answered with.
    report.add("chaos_cache_entries", len(entries), 1, "min")
    report.add("chaos_cache_disagrees", sum(right.get(entry[1]) != entry[2] for entry in entries if entry[0] == epoch), 0, "max")
    index = PineconeIndex(
        api_key="key", index="call-centre-tickets-prod", environment=None, dimensions=MiniLM.dimensions, embedder=MiniLM.name,
        host=servers.pinecone.url,
    )
    found = Reindexer(notes=outbox, index=index, log=Silent()).compare()
    missing = exemplars_of.missing(limit=1000)
    report.add("chaos_index_disagrees", found.missing + found.different + found.surplus + found.waiting + len(missing), 0, "max")
    database.dispose()


def spooled(folder: Path) -> bool:
    """True while a ticket lies in a segment of the spool; a segment may be removed at any moment."""
    sizes = []
    for path in folder.glob("*.spool"):
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return any(sizes)


def cached(servers: Servers) -> list[list[str]]:
    """What the cache holds, as it is stored: epoch, ticket, department and more."""
    with redis.Redis.from_url(servers.real.redis_url, decode_responses=True) as client:
        # A claim, which a killed process may have left for some seconds, is no entry.
        values = [client.get(key) for key in client.scan_iter(f"{PREFIX}:*")]
    return [json.loads(value) for value in values if value is not None and not value.startswith((FLYING, FORGOTTEN))]


def _epoch(servers: Servers) -> str:
    names = {name.lower(): value for name, value in servers.environment.items()}
    names |= {"database_url": servers.real.postgres_url, "redis_url": servers.real.redis_url}
    engine = bootstrap.build(settings.load(**names), chance=random.Random(1), log_stream=None, working=False)
    try:
        return engine.state.current().epoch
    finally:
        engine.close()
