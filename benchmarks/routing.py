"""How much longer than bare embedding does a routed ticket take? Every time is a ratio within the same run.

    python -m benchmarks.routing --json OUT

Single tickets and their reference take turns, so that both meet the same noise; medians are compared.
"""
from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import Report
from engine import bootstrap, settings
from engine.adapters.minilm import MiniLM
from engine.domain import Origin, TicketDraft

TEXTS = Path(__file__).resolve().parents[1] / "db" / "starter" / "demo.csv"
SHORT_WORDS = 20


def main() -> int:
    """Run the benchmark; 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the measures here")
    parser.add_argument("--singles", type=int, default=300, help="single tickets (default 300)")
    parser.add_argument("--bulk", type=int, default=2000, help="tickets of the bulk import (default 2000)")
    parser.add_argument("--data-dir", type=Path, help="folder for the embedded servers (default: a temporary one)")
    arguments = parser.parse_args()
    report = Report("routing")
    with tempfile.TemporaryDirectory(prefix="routing-benchmark-") as folder, open(os.devnull, "w") as nowhere:
        os.chmod(folder, 0o755)
        engine = bootstrap.build(settings.load(data_dir=arguments.data_dir or Path(folder) / "data"), log_stream=nowhere)
        try:
            embedder = MiniLM()
            singles(engine, embedder, report, count=arguments.singles)
            bulk(engine, embedder, report, count=arguments.bulk)
        finally:
            engine.close()
    report.print()
    if arguments.json:
        report.write(arguments.json)
    return report.exit_code


def singles(engine: bootstrap.Engine, embedder: MiniLM, report: Report, *, count: int) -> None:
    """One ticket at a time: new texts, then the same again."""
    texts = [f"{text} {_word(i)}" for i, text in enumerate(_texts(short=True, count=count + 20))]
    for text in texts[:20]:
        embedder.embed([text])
        engine.router.route(TicketDraft(body=text, origin=Origin.DEMO))
    bare, routed, repeated, stages, firsts = [], [], [], {}, []
    for text in texts[20:]:
        bare.append(_seconds(lambda text=text: embedder.embed([text])))
        started = time.perf_counter()
        decision = engine.router.route(TicketDraft(body=text, origin=Origin.DEMO))
        routed.append(time.perf_counter() - started)
        firsts.append(decision)
        for stage, value in decision.timings.items():
            stages.setdefault(stage, []).append(value)
    cached = [text for text, decision in zip(texts[20:], firsts, strict=True) if decision.method.value != "fallback"]
    for text in cached:
        started = time.perf_counter()
        decision = engine.router.route(TicketDraft(body=text, origin=Origin.DEMO))
        if decision.source.startswith("ticket:"):
            repeated.append(time.perf_counter() - started)
    reference = statistics.median(bare)
    report.add("single_ticket_p50_ratio", statistics.median(routed) / reference, 1.5, "max")
    report.add("exact_repeat_p50_ratio", statistics.median(repeated) / reference, 0.5, "max")
    print(f"bare embedding of one short ticket: {1000 * reference:.2f} ms; {len(routed)} new tickets, {len(repeated)} exact repeats")
    for stage, values in stages.items():
        print(f"  stage {stage:<11} {statistics.median(values):7.3f} ms")


def bulk(engine: bootstrap.Engine, embedder: MiniLM, report: Report, *, count: int) -> None:
    """Many tickets at once, through the import's own batches, in turns with bare embedding of the same texts."""
    from engine import imports

    texts = [f"{text} {_word(i)} {_word(i // 7 + 3)}" for i, text in enumerate(_texts(short=False, count=count))]
    bare, routed = 0.0, 0.0
    tickets = [engine.router.admit(TicketDraft(body=text, origin=Origin.DEMO)) for text in texts]
    for start in range(0, len(tickets), imports.BATCH * 4):
        part = tickets[start:start + imports.BATCH * 4]
        bare += _seconds(lambda part=part: embedder.embed([ticket.text for ticket in part]))
        file = imports.ImportFile(name="benchmark", tickets=tuple(part))
        routed += _seconds(lambda file=file: imports.run(file, router=engine.router, store=engine.decisions))
    report.add("bulk_rate_ratio", bare / routed, 0.7, "min")
    print(f"bulk: {len(tickets) / routed:.0f} tickets/s routed and stored, {len(tickets) / bare:.0f} texts/s bare embedding")


def _texts(*, short: bool, count: int) -> list[str]:
    with open(TEXTS, encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    if short:
        texts = [text for text in texts if len(text.split()) <= SHORT_WORDS]
    return [texts[i % len(texts)] for i in range(count)]


def _word(number: int) -> str:
    """A word that differs for every number and is not masked in the fingerprint."""
    return "".join("bdfgklmnprstvz"[number // 14**i % 14] + "aeiou"[number // 14**i % 5] for i in range(4))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
