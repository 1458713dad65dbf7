"""How long do the dashboard's queries take, and what does keeping the rollups cost?

    python -m benchmarks.dashboard --rows 100000,1000000,10000000 --json OUT

There is one database for each size (`benchmarks.rows`); the page's queries run on all sizes in turn, so that each meets the
same noise. Disk is told for the largest size, from a million on.
"""
from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, event, text

from benchmarks.report import Report
from benchmarks.rows import DECISION_SHAPE, TICKET_SHAPE, Filled, dropped, filled, generate
from db.alerts import Alerts
from db.charts import Charts
from db.embedded import EmbeddedServers
from db.retention import Retention
from db.rollups import Rollups
from db.services import Services
from db.taxonomy import Taxonomy
from engine.readings import ALIVE
from engine.timeline import SPANS, ChartWindow, Span

# Under this size the rollups' fixed part (every minute, hour and day of the year) says more about the year than about decisions.
DISK_FROM = 1_000_000
DISK_MIB, ROLLUPS_MIB = 1_000.0, 300.0
# How often the roller looks (engine/watching.py).
ROLL_SECONDS = 5


def main() -> int:
    """Run the benchmark; 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--rows", default="100000,1000000", help="sizes, smallest first (default 100000,1000000)")
    parser.add_argument("--json", type=Path, help="write the measures here")
    parser.add_argument("--repeats", type=int, default=15, help="how often each query runs on each size (default 15)")
    parser.add_argument("--data-dir", type=Path, help="folder for the embedded Postgres (default: a temporary one)")
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.rows.split(","))
    report = Report("dashboard")
    with tempfile.TemporaryDirectory(prefix="dashboard-benchmark-") as folder:
        os.chmod(folder, 0o755)
        servers = EmbeddedServers(arguments.data_dir or Path(folder) / "data", valkey=False).start()
        made: dict[int, Engine] = {}
        try:
            for size in sizes:
                last = filled(servers.postgres_url, size)
                made[size] = last.engine
            if sizes[-1] >= DISK_FROM:
                disk(last, report)
            pages(made, report, repeats=arguments.repeats)
            upkeep(made[sizes[0]], report)
            deletion(made[sizes[-1]], sizes[-1])
            purge(made[sizes[-1]], sizes[-1])
        finally:
            for engine in made.values():
                engine.dispose()
            dropped(servers.postgres_url, sizes)
            servers.close()
    report.print()
    if arguments.json:
        report.write(arguments.json)
    return report.exit_code


def disk(last: Filled, report: Report) -> None:
    """What a million decisions take: their rows and indexes with short texts, and the rollups that charts read."""
    report.add("disk_mib_per_million_decisions", round(last.raw), DISK_MIB, "max")
    report.add("disk_rollups_mib_per_million_decisions", round(last.rolled), ROLLUPS_MIB, "max")


def pages(made: dict[int, Engine], report: Report, *, repeats: int) -> None:
    """Every span's queries on every size."""
    smallest, largest = min(made), max(made)
    now = datetime.now(UTC)
    times: dict[tuple[int, str, str], list[float]] = {}
    for turn in range(repeats + 2):
        for size, engine in made.items():
            shown = Page(Charts(engine), Alerts(engine), Services(engine), Taxonomy(engine))
            for span in SPANS.values():
                for name, seconds in shown.read(span, now).items():
                    # The first turns fill the caches of Postgres and of the machine.
                    if turn >= 2:
                        times.setdefault((size, span.key, name), []).append(1000 * seconds)
    for (size, span, name), values in times.items():
        _say(f"{size:>10,} rows, {span:>3}, {name:<9} p50 {statistics.median(values):7.1f} ms  p95 {_p95(values):7.1f} ms")
    for span in SPANS:
        page = {size: statistics.median(times[size, span, "page"]) for size in made}
        report.add(f"dashboard_page_{span}_ms", round(page[largest], 1), 300.0, "max")
        if largest > smallest:
            report.add(f"dashboard_page_{span}_largest_to_smallest", round(page[largest] / page[smallest], 3), 1.5, "max")


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that pages/parts/overview.py reads, in its order: what the controls offer, then what the page shows."""

    charts: Charts
    alerts: Alerts
    services: Services
    taxonomy: Taxonomy

    def read(self, span: Span, now: datetime) -> dict[str, float]:
        """Seconds by part, and of the whole `page`."""
        window, before = ChartWindow(*span.window(now)), ChartWindow(*span.before(now))
        parts: dict[str, Callable[[], object]] = {
            "filters": lambda: (self.charts.choices(window), self.taxonomy.departments()),
            "figures": lambda: self.charts.overview(window, before, bar=span.level),
            "alerts": lambda: (self.alerts.latest(limit=20), self.alerts.open_by_severity(), self.alerts.open_at(window.start)),
            "waiting": lambda: self.services.alive(since=now - ALIVE),
            "targets": self.alerts.edits,
        }
        taken = {}
        for name, read in parts.items():
            started = time.perf_counter()
            read()
            taken[name] = time.perf_counter() - started
        return taken | {"page": sum(taken.values())}


def upkeep(engine: Engine, report: Report, *, tickets: int = 400) -> None:
    """What the trigger adds to a stored decision and what the roller needs for it, per ticket."""
    stored: dict[str, list[float]] = {"enable": [], "disable": []}
    for turn in range(tickets // 20):
        for state in ("enable", "disable") if turn % 2 else ("disable", "enable"):
            with engine.begin() as connection:
                connection.execute(text(f"alter table routing_history {state} trigger rollup_added"))
            for number in range(20):
                started = time.perf_counter()
                with engine.begin() as connection:
                    connection.execute(text(f"{TICKET_SHAPE} values (:id, 'x', 'web', 'normal', 'f', 'api', now())"), {"id": f"U-{state}-{turn}-{number}"})
                    connection.execute(text(f"{DECISION_SHAPE} values (:id, 'D1', 0.9, 'learned', now(), null, 0.5, 'auto', 's', 'r', '[]', "
                                            "'[]', '{}', 5, '{}', 1, '{}', 'web', false, null, 1, false)"), {"id": f"U-{state}-{turn}-{number}"})
                stored[state].append(time.perf_counter() - started)
    with engine.begin() as connection:
        connection.execute(text("alter table routing_history enable trigger rollup_added"))
        connection.execute(text("delete from rollup_pending"))
    trigger = max(0.0, statistics.median(stored["enable"]) - statistics.median(stored["disable"]))
    ticket = _ticket_seconds()
    # What a console that routes one ticket after the other leaves between two looks of the roller.
    facts = max(1, round(ROLL_SECONDS / ticket))
    rollups, rolled = Rollups(engine), []
    for turn in range(15):
        generate(engine, facts, first=10_000_000_000 + turn * facts, seconds=ROLL_SECONDS, triggers=True)
        started = time.perf_counter()
        rollups.roll()
        rolled.append((time.perf_counter() - started) / facts)
    roll = statistics.median(rolled)
    _say(f"one routed ticket: {1000 * ticket:.2f} ms; upkeep per ticket: trigger {1e6 * trigger:.0f} us, roller {1e6 * roll:.0f} us in batches of {facts}")
    report.add("rollup_upkeep_share_of_a_ticket", round((trigger + roll) / ticket, 4), 0.03, "max")


def _ticket_seconds(tickets: int = 150) -> float:
    """Median time of a short new ticket through the whole router, in this run."""
    from benchmarks.routing import _texts
    from engine import bootstrap, settings
    from engine.domain import Origin, TicketDraft

    with tempfile.TemporaryDirectory(prefix="dashboard-benchmark-") as folder, open(os.devnull, "w") as nowhere:
        os.chmod(folder, 0o755)
        engine = bootstrap.build(settings.load(data_dir=Path(folder) / "data"), log_stream=nowhere)
        try:
            times = []
            for number, body in enumerate(_texts(short=True, count=tickets)):
                started = time.perf_counter()
                engine.router.route(TicketDraft(body=f"{body} {number}", origin=Origin.DEMO))
                times.append(time.perf_counter() - started)
        finally:
            engine.close()
    return statistics.median(times[20:])


def deletion(engine: Engine, size: int) -> None:
    """How fast a tenth of the oldest month goes in batches, which is what retention has to do."""
    with engine.begin() as connection:
        connection.execute(text("set local statement_timeout = 0"))
        oldest = connection.execute(text("select min(created_at) from routing_history")).scalar_one()
    gone, started, slowest = 0, time.perf_counter(), 0.0
    while gone < size // 120:
        begun = time.perf_counter()
        with engine.begin() as connection:
            some = connection.execute(text("""
                with batch as (select ticket_id from routing_history where created_at >= :oldest order by created_at limit 2000),
                decisions as (delete from routing_history where ticket_id in (select ticket_id from batch) returning ticket_id)
                select count(*) from decisions
            """), {"oldest": oldest}).scalar_one()
        gone += some
        slowest = max(slowest, time.perf_counter() - begun)
        if not some:
            break
    seconds = time.perf_counter() - started
    _say(f"retention by batches of 2,000: {gone:,} decisions in {seconds:.1f} s ({gone / seconds:,.0f} per s), slowest batch {1000 * slowest:.0f} ms")


def purge(engine: Engine, size: int) -> None:
    """How fast the words of all old tickets go, and whether tickets are routed into the same database meanwhile."""
    from benchmarks.routing import _texts, _word
    from engine import bootstrap, settings
    from engine.domain import Origin, TicketDraft

    times: dict[str, list[float]] = {"before": [], "meanwhile": []}
    longest, done = 0.0, threading.Event()

    def watched(*_: object) -> None:
        nonlocal longest, begun
        now = time.perf_counter()
        longest, begun = max(longest, now - begun), now

    with tempfile.TemporaryDirectory(prefix="dashboard-benchmark-") as folder, open(os.devnull, "w") as nowhere:
        os.chmod(folder, 0o755)
        url = engine.url.render_as_string(hide_password=False)
        console = bootstrap.build(settings.load(database_url=url, data_dir=Path(folder) / "data"), log_stream=nowhere)
        texts = iter(enumerate(_texts(short=True, count=100_000)))

        def route(into: list[float]) -> None:
            number, body = next(texts)
            started = time.perf_counter()
            console.router.route(TicketDraft(body=f"{body} {_word(number)}", origin=Origin.DEMO))
            into.append(time.perf_counter() - started)

        def meanwhile() -> None:
            while not done.is_set():
                route(times["meanwhile"])

        try:
            for _ in range(150):
                route(times["before"])
            event.listen(engine, "commit", watched)
            routing = threading.Thread(target=meanwhile)
            routing.start()
            started = begun = time.perf_counter()
            now = datetime.now(UTC)
            gone = Retention(engine).purge(before=now - timedelta(days=90), now=now)
            seconds = time.perf_counter() - started
            done.set()
            routing.join()
        finally:
            done.set()
            event.remove(engine, "commit", watched)
            console.close()
    _say(f"purge of {size:,} tickets by age over 90 days: {gone:,} in {seconds:.1f} s ({gone / seconds:,.0f} per s), longest batch "
         f"{1000 * longest:.0f} ms; a new ticket takes {1000 * statistics.median(times['before'][20:]):.1f} ms before and "
         f"{1000 * statistics.median(times['meanwhile']):.1f} ms meanwhile ({len(times['meanwhile'])} routed, slowest {1000 * max(times['meanwhile']):.0f} ms)")


def _say(line: str) -> None:
    print(line, flush=True)


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


if __name__ == "__main__":
    sys.exit(main())
