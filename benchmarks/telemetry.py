"""What do the decision log and the metrics cost a ticket?

    python -m benchmarks.telemetry --json OUT

A ticket is routed and the sinks are told about its decision in turns, so that both meet the same noise.
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
from benchmarks.routing import _texts
from engine import bootstrap, settings
from engine.domain import Origin, TicketDraft
from engine.telemetry.fanout import Telemetry
from engine.telemetry.log import DecisionLog
from engine.telemetry.metrics import Metrics


def main() -> int:
    """Run the benchmark; 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the measures here")
    parser.add_argument("--tickets", type=int, default=250)
    arguments = parser.parse_args()
    report = Report("telemetry")
    with tempfile.TemporaryDirectory(prefix="telemetry-benchmark-") as folder, open(os.devnull, "w") as nowhere:
        os.chmod(folder, 0o755)
        engine = bootstrap.build(settings.load(data_dir=Path(folder) / "data"), log_stream=None)
        log = DecisionLog(Path(folder) / "routing.log", stream=nowhere)
        sinks = {"log": Telemetry([log]), "metrics": Telemetry([Metrics()])}
        routed: list[float] = []
        told: dict[str, list[float]] = {name: [] for name in sinks}
        try:
            for number, body in enumerate(_texts(short=True, count=arguments.tickets)):
                draft = TicketDraft(body=f"{body} {number}", origin=Origin.DEMO)
                started = time.perf_counter()
                decision = engine.router.route(draft)
                routed.append(time.perf_counter() - started)
                ticket = engine.router.admit(draft)
                for name, sink in sinks.items():
                    started = time.perf_counter()
                    sink.decision(ticket, decision, store_ms=1.0)
                    told[name].append(time.perf_counter() - started)
        finally:
            engine.close()
            log.close()
    ticket = statistics.median(routed[20:])
    costs = {name: statistics.median(times[20:]) for name, times in told.items()}
    print(f"ticket {1e6 * ticket:.0f} us, " + ", ".join(f"{name} {1e6 * cost:.0f} us" for name, cost in costs.items()))
    report.add("telemetry_share_of_a_ticket", round(sum(costs.values()) / ticket, 4), 0.02, "max")
    report.print()
    if arguments.json:
        report.write(arguments.json)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
