"""What do the decision log and the metrics cost a ticket?

    python -m benchmarks.telemetry --json OUT

Tickets are routed one by one by a real engine that writes its log to a stream and to a file. The sinks are watched where
they work, on the thread that follows each decision: their processor time (a thread's own, so that other work on the
machine is left out) is set against the time that one new ticket takes, and against the processor time of the whole process.
"""
from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report
from benchmarks.routing import _texts, _word
from engine import bootstrap, settings
from engine.domain import Decision, Origin, Ticket, TicketDraft
from engine.telemetry.fanout import Sink
from engine.telemetry.log import DecisionLog
from engine.telemetry.metrics import Metrics

WARMING = 20


class Watched:
    """A sink whose processor time per decision is kept in `seconds`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.seconds: list[float] = []

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None:
        started = time.thread_time()
        self._sink.decision(ticket, decision, store_ms=store_ms)
        self.seconds.append(time.thread_time() - started)

    def event(self, name: str, **fields: object) -> None:
        self._sink.event(name, **fields)


def main() -> int:
    """Run the benchmark; 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the measures here")
    parser.add_argument("--tickets", type=int, default=400)
    arguments = parser.parse_args()
    report = Report("telemetry")
    with tempfile.TemporaryDirectory(prefix="telemetry-benchmark-") as folder, open(os.devnull, "w") as nowhere:
        os.chmod(folder, 0o755)
        given = settings.load(data_dir=Path(folder) / "data", routing_log_path=Path(folder) / "routing.log")
        engine = bootstrap.build(given, log_stream=nowhere)
        watched = {type(sink): Watched(sink) for sink in engine.log._sinks}
        engine.log._sinks[:] = watched.values()
        routed: list[float] = []
        try:
            drafts = [TicketDraft(body=f"{body} {_word(i)}", origin=Origin.DEMO) for i, body in enumerate(_texts(short=True, count=arguments.tickets))]
            for number, draft in enumerate(drafts):
                if number == WARMING:
                    began = time.process_time()
                started = time.perf_counter()
                engine.router.route(draft)
                routed.append(time.perf_counter() - started)
                # So that no sink works within the next ticket's time.
                engine.router.settle()
            processor = (time.process_time() - began) / (len(drafts) - WARMING)
        finally:
            engine.close()
    ticket = statistics.median(routed[WARMING:])
    log, metrics = (statistics.median(watched[kind].seconds[WARMING:]) for kind in (DecisionLog, Metrics))
    print(
        f"one new ticket {1e6 * ticket:.0f} us, of the whole process {1e6 * processor:.0f} us on a processor; "
        f"log {1e6 * log:.0f} us, metrics {1e6 * metrics:.0f} us"
    )
    report.add("telemetry_share_of_a_ticket", round((log + metrics) / ticket, 4), 0.02, "max")
    report.add("telemetry_share_of_processor_time", round((log + metrics) / processor, 4), 0.02, "max")
    report.print()
    if arguments.json:
        report.write(arguments.json)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
