"""Does anything get lost while everything fails?

    python -m benchmarks.chaos --tickets 5000 --seconds 120 --seed N --json OUT

Tickets and labels stream into the application while its services are refused, silent, slow, cut and garbled at random and
the application itself is killed -9. Afterwards everything is healed and counted against Postgres.
"""
from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from pathlib import Path

import redis
from sqlalchemy import create_engine, text

from benchmarks.chaos_world import Application, Servers
from benchmarks.report import Report
from db.exemplars import Exemplars
from db.outbox import Outbox
from engine.adapters.minilm import MiniLM
from engine.adapters.pinecone_index import PineconeIndex
from engine.reindex import Reindexer

THINGS = ("parcel", "invoice", "password", "refund", "router", "contract", "delivery", "payment", "login", "warranty", "order", "card")
PROBLEMS = ("is late", "is wrong", "does not work", "was charged twice", "got lost", "must be changed", "is missing", "was refused")
KILLS = 3
HEALING = 120.0


class Silent:
    """A log for the checks after the run."""

    def event(self, *_: object, **__: object) -> None: ...

    def decision(self, *_: object, **__: object) -> None: ...


def sentence(chance: random.Random) -> str:
    """A ticket; some come up again and again, so that the cache has something to do."""
    again = "" if chance.random() < 0.3 else f" since {chance.choice(('monday', 'yesterday', 'may', 'weeks'))} {chance.choice(THINGS)}"
    return f"my {chance.choice(THINGS)} {chance.choice(PROBLEMS)}{again}"


def storm(servers: Servers, application: Application, *, seconds: float, chance: random.Random, over: threading.Event, done: list[str]) -> None:
    """Break and heal at random until the time is up; three kills, evenly spread."""
    started = time.monotonic()
    kills = [seconds * (number + 1) / (KILLS + 1) for number in range(KILLS)]
    while (passed := time.monotonic() - started) < seconds or kills:
        if kills and passed >= kills[0]:
            kills.pop(0)
            done.append("application kill -9")
            servers.postgres.set("ok")
            application.kill()
        done.append(servers.trouble(chance))
        over.wait(chance.uniform(0.3, 3.0))
        servers.heal()
        over.wait(chance.uniform(0.2, 1.5))
    servers.heal()
    over.set()


def stream(application: Application, *, tickets: int, seconds: float, chance: random.Random, over: threading.Event) -> None:
    """Send tickets at an even pace and a label for every fourth; what was refused is sent again later."""
    lines: dict[str, str] = {}
    pace = seconds / tickets
    number = 0
    started = time.monotonic()
    while number < tickets or not over.is_set():
        if application.again:
            key = application.again.popleft()
            application.send(key, lines.get(key, key))
        if number < tickets and application.unanswered() < 64:
            id_ = f"C-{number}"
            lines[f"ticket {id_}"] = f"ticket {id_} {sentence(chance)}"
            application.send(f"ticket {id_}", lines[f"ticket {id_}"])
            earlier = f"C-{chance.randrange(max(1, number))}"
            if number % 4 == 3 and earlier in application.accepted:
                application.send(f"label {earlier}", f"label {earlier}")
            number += 1
        time.sleep(max(0.0, min(0.05, started + number * pace - time.monotonic())))
    limit = time.monotonic() + HEALING
    while (application.unanswered() or application.again) and time.monotonic() < limit:
        if application.again:
            key = application.again.popleft()
            application.send(key, lines.get(key, key))
        time.sleep(0.05)


def check(servers: Servers, application: Application, report: Report, *, tickets: int) -> None:
    """Count everything against Postgres."""
    database = create_engine(servers.real.postgres_url)
    spool = Path(servers.environment["DATA_DIR"]) / "spool"
    limit = time.monotonic() + HEALING
    outbox = Outbox(database, embedder=MiniLM.name)
    while (any(path.stat().st_size for path in spool.glob("*.spool")) or outbox.waiting()) and time.monotonic() < limit:
        time.sleep(0.2)
    application.close()
    with database.connect() as connection:
        stored = dict(connection.execute(text("select ticket_id, count(*) from routing_history group by 1")).all())
        departments = dict(connection.execute(text("select ticket_id, department from routing_history")).all())
        labels = set(connection.execute(text("select ticket_id from routing_history where actual_outcome is not null")).scalars())
        wrong = connection.execute(text("""
            select count(*) from routing_accuracy a full join (
                select department, count(*) as n, count(*) filter (where actual_outcome = department) as correct
                from routing_history where actual_outcome is not null group by department
            ) c using (department)
            where coalesce(a.total_predictions, 0) <> coalesce(c.n, 0) or coalesce(a.correct_predictions, 0) <> coalesce(c.correct, 0)
        """)).scalar_one()
        live = {name for name in connection.execute(text("select name from departments where live")).scalars()}
    report.add("chaos_tickets_accepted", len(application.accepted), tickets, "min")
    report.add("chaos_accepted_not_stored", len(application.accepted - stored.keys()), 0, "max")
    report.add("chaos_stored_twice", sum(count > 1 for count in stored.values()), 0, "max")
    report.add("chaos_labels_lost", len(application.labelled - labels), 0, "max")
    report.add("chaos_departments_miscounted", wrong, 0, "max")
    report.add("chaos_departments_outside_the_set", len(set(departments.values()) - live), 0, "max")
    report.add("chaos_unhandled_exceptions", application.crashes(), 0, "max")
    report.add("chaos_commands_never_answered", application.unanswered() + len(application.again), 0, "max")
    report.add("chaos_kills", application.kills, KILLS, "min")
    report.add("chaos_cache_disagrees", _cache_disagreements(servers, departments), 0, "max")
    index = PineconeIndex(
        api_key="key", index="call-centre-tickets-prod", environment=None, dimensions=MiniLM.dimensions, embedder=MiniLM.name,
        host=servers.pinecone.url,
    )
    found = Reindexer(notes=outbox, index=index, log=Silent()).compare()
    missing = Exemplars(database, embedder=MiniLM.name, dimensions=MiniLM.dimensions).missing(limit=1000)
    report.add("chaos_index_disagrees", found.missing + found.different + found.surplus + found.waiting + len(missing), 0, "max")
    database.dispose()


def _cache_disagreements(servers: Servers, departments: dict[str, str]) -> int:
    with redis.Redis.from_url(servers.real.redis_url, decode_responses=True) as client:
        entries = [json.loads(client.get(key)) for key in client.scan_iter("route:*")]
    return sum(departments.get(entry[1]) != entry[2] for entry in entries)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickets", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    report = Report(f"chaos, seed {given.seed}")
    over, done = threading.Event(), []
    with Servers() as servers:
        application = Application(servers.environment)
        weather = threading.Thread(
            target=storm, args=(servers, application), kwargs={
                "seconds": given.seconds, "chance": random.Random(given.seed), "over": threading.Event(), "done": done,
            },
        )
        weather.start()
        sender = threading.Thread(
            target=stream, args=(application,),
            kwargs={"tickets": given.tickets, "seconds": given.seconds, "chance": random.Random(given.seed + 1), "over": over},
        )
        sender.start()
        weather.join()
        over.set()
        sender.join()
        check(servers, application, report, tickets=given.tickets)
        errors = application.errors()
    print(f"{len(done)} troubles, {application.refused} commands refused and sent again, {len(application.labelled)} labels")
    if application.crashes():
        print(errors[-3000:], file=sys.stderr)
    report.print()
    if given.json:
        report.write(given.json)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
