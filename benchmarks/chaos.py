"""Does anything get lost while everything fails?

    python -m benchmarks.chaos --tickets 5000 --seconds 120 --seed N --json OUT

Tickets and labels stream into the application while its services are refused, silent, slow, cut and garbled at random, its
Postgres and Valkey are paused and killed -9, and so is the application itself. Afterwards everything is healed, the last
tenth of the tickets comes in, and everything is counted against Postgres.
"""
from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from pathlib import Path

from benchmarks.chaos_check import HEALING, check
from benchmarks.chaos_servers import Servers
from benchmarks.chaos_world import Application
from benchmarks.report import Report

THINGS = ("parcel", "invoice", "password", "refund", "router", "contract", "delivery", "payment", "login", "warranty", "order", "card")
PROBLEMS = ("is late", "is wrong", "does not work", "was charged twice", "got lost", "must be changed", "is missing", "was refused")
KILLS = 3
FAIR_SHARE = 0.1
FAIR_SECONDS = 15.0
"""The last tickets are sent after the storm, for longer than any service is left alone, so that there is a cache to compare."""


def sentence(chance: random.Random) -> str:
    """What a customer says; some of it comes up again and again, so that the cache has something to do."""
    again = "" if chance.random() < 0.3 else f" since {chance.choice(('monday', 'yesterday', 'may', 'weeks'))} {chance.choice(THINGS)}"
    return f"my {chance.choice(THINGS)} {chance.choice(PROBLEMS)}{again}"


def storm(servers: Servers, application: Application, *, seconds: float, chance: random.Random, over: threading.Event, done: list[str]) -> None:
    """Break and heal at random until the time is up and all that belongs to a run was done; three kills, evenly spread."""
    started = time.monotonic()
    kills = [seconds * (number + 1) / (KILLS + 1) for number in range(KILLS)]
    while (passed := time.monotonic() - started) < seconds or kills or servers.planned:
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
    """Send tickets at an even pace and a label for every fourth; what was refused is sent again later. Some wait until it is over."""
    lines: dict[str, str] = {}
    fair = max(1, round(FAIR_SHARE * tickets))
    due, pace = tickets - fair, seconds / tickets
    number = 0
    started = time.monotonic()
    while number < tickets:
        if over.is_set() and due < tickets:
            due, pace = tickets, FAIR_SECONDS / fair
            started = time.monotonic() - number * pace
        if application.again:
            key = application.again.popleft()
            application.send(key, lines.get(key, key))
        if number < due and application.unanswered() < 64:
            id_ = f"C-{number}"
            # The number of an order is masked for the exact cache, and makes the words of every ticket its own.
            application.bodies[id_] = f"{sentence(chance)}, order {100_000 + number}"
            lines[f"ticket {id_}"] = f"ticket {id_} {application.bodies[id_]}"
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
        check(servers, application, report, tickets=given.tickets, kills=KILLS)
        errors = application.errors()
    print(f"{len(done)} troubles, {application.refused} commands refused and sent again, {len(application.labelled)} labels")
    if application.crashes():
        print(errors[-3000:], file=sys.stderr)
    return report.finish(given.json)


if __name__ == "__main__":
    sys.exit(main())
