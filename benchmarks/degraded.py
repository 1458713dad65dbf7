"""What does it cost when services are away?

    python -m benchmarks.degraded --json OUT

Throughput of distinct tickets with everything away but Postgres, against all services there without remote ones; and the
time of cached answers while language-model calls hang. Rounds alternate, so that both sides meet the same noise.
"""
from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.chaos_servers import Servers
from benchmarks.report import Report
from engine import bootstrap, settings
from engine.bootstrap import Engine
from engine.domain import Policy, Stage, TicketDraft
from tests.servers.troubles import break_one, mend_all

ROUNDS, TICKETS, REPEATS = 7, 60, 40


def tickets_per_second(engine: Engine, numbers: random.Random) -> float:
    """Of tickets that nobody has sent before."""
    drafts = [TicketDraft(body="my order has not arrived " + "".join(numbers.choices("abcdefghij", k=12))) for _ in range(TICKETS)]
    started = time.perf_counter()
    for draft in drafts:
        engine.router.route(draft)
    return TICKETS / (time.perf_counter() - started)


def cached_seconds(engine: Engine, draft: TicketDraft) -> float:
    """Median time of an exact repeat."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        engine.router.route(draft)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    report, numbers = Report("degraded"), random.Random(1)
    with Servers() as servers:
        names = {name.lower(): value for name, value in servers.environment.items()}
        folder = Path(names.pop("data_dir"))
        default = bootstrap.build(
            settings.load(database_url=servers.real.postgres_url, redis_url=servers.real.redis_url, data_dir=folder / "a"), log_stream=None
        )
        away = bootstrap.build(settings.load(**names, data_dir=folder / "b"), log_stream=None)
        for name in ("redis", "pinecone", "gemini"):
            break_one(servers, name, "refused")
        ratios = []
        for _ in range(ROUNDS):
            usual = tickets_per_second(default, numbers)
            ratios.append(tickets_per_second(away, numbers) / usual)
        report.add("throughput_with_all_away_but_postgres", statistics.median(ratios), 0.8, "min")
        mend_all(servers)
        for name in ("cache", "index", "language_model"):
            away.services.probe_now(name)
        policy = replace(Policy(), confidence=0.5, stages=frozenset({Stage.EXACT, Stage.RAG_LLM}), audit_rate=0.0)
        away.policies.add(policy, author="benchmark", reason="every new ticket asks the language model")
        away.state.refresh()
        draft = TicketDraft(body="my order has not arrived and i want to know why")
        away.router.route(draft)
        slower = []
        for _ in range(ROUNDS):
            alone = cached_seconds(away, draft)
            break_one(servers, "gemini", "hole")
            threads = [
                threading.Thread(target=away.router.route, args=(TicketDraft(body="what about " + "".join(numbers.choices("abcdef", k=9))),))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            slower.append(cached_seconds(away, draft) / alone)
            mend_all(servers)
            for thread in threads:
                thread.join()
            away.services.probe_now("language_model")
        report.add("cached_answers_beside_hanging_calls", statistics.median(slower), 1.1, "max")
        default.close()
        away.close()
    return report.finish(given.json)


if __name__ == "__main__":
    sys.exit(main())
