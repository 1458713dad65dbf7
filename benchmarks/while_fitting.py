"""How much longer do tickets take while the learned router is fitted in the same process? Ratios within one run.

    python -m benchmarks.while_fitting --json OUT [--data DIR]

DIR holds train.csv, test.csv and departments.json: the console learns the training file, and tickets of the test file are routed one after
the other, twenty a second at most, before and during a fit. A ticket that stands still shows in the slowest one, not in the median.
"""
from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import labelled_data
from benchmarks.report import Report
from engine import bootstrap, labelled_csv, settings, taxonomy_csv
from engine.domain import TicketDraft

PAUSE_SECONDS = 0.05
WARM, ALONE = 30, 300


def main() -> int:
    """Run the benchmark; 1 when a bar does not hold, 2 when the data is missing."""
    arguments = labelled_data.options("while_fitting", __doc__).parse_args()
    try:
        data = labelled_data.read(arguments.data)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    departments, topics, exemplars = taxonomy_csv.from_exemplars(
        data.train, text_column="text", label_column="category", parents=data.parents, name="train.csv"
    )
    texts = list(dict.fromkeys(labelled_csv.read(data.test, name="test.csv").texts))
    random.Random(1).shuffle(texts)
    report = Report("tickets while a fit runs")
    with tempfile.TemporaryDirectory(prefix="fitting-benchmark-") as folder, open(os.devnull, "w") as nowhere:
        os.chmod(folder, 0o755)
        # It must not begin a fit by itself.
        engine = bootstrap.build(settings.load(data_dir=Path(folder) / "data", background_work="worker"), log_stream=nowhere)
        try:
            engine.trainer.replace(departments, topics, exemplars)
            engine.state.refresh()
            measured(engine, iter(texts), report)
        finally:
            engine.close()
    return report.finish(arguments.json)


def measured(engine: bootstrap.Engine, texts: Iterator[str], report: Report) -> None:
    """Tickets alone, then tickets while a fit runs."""
    routed(engine, texts, lambda count: count < WARM)
    alone = routed(engine, texts, lambda count: count < ALONE)
    with ThreadPoolExecutor(1) as other:
        fit = other.submit(engine.trainer.train)
        beside = routed(engine, texts, lambda _: not fit.done())
        # A fit that failed is no measure.
        fit.result()
    typical = float(np.median(alone))
    report.add("p50_while_fitting", float(np.median(beside)) / typical, 2.0, "max")
    report.add("p95_while_fitting", float(np.percentile(beside, 95)) / typical, 8.0, "max")
    report.add("slowest_while_fitting", max(beside) / typical, 50.0, "max")
    print(f"p50, p95 and slowest: {said(alone)} alone, {said(beside)} while a fit ran; the ratios are to the p50 alone")


def said(seconds: list[float]) -> str:
    """The three figures in milliseconds, and of how many tickets."""
    figures = ", ".join(f"{1000 * one:.1f}" for one in (*np.percentile(seconds, (50, 95)), max(seconds)))
    return f"{figures} ms of {len(seconds)} tickets"


def routed(engine: bootstrap.Engine, texts: Iterator[str], go_on: Callable[[int], bool]) -> list[float]:
    """Seconds of each ticket, until it may not go on or no new text is left: a known one would be answered from the cache."""
    taken: list[float] = []
    while go_on(len(taken)) and (text := next(texts, None)) is not None:
        began = time.perf_counter()
        engine.router.route(TicketDraft(body=text))
        taken.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    return taken


if __name__ == "__main__":
    sys.exit(main())
