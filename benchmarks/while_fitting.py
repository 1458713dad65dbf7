"""How much longer do tickets take while the learned router is fitted in the same process? Ratios within one run.

    python -m benchmarks.while_fitting --json OUT [--data ../shared/data/banking77]

DIR holds train.csv, test.csv and departments.json: the console learns the training file, and tickets of the test file are routed one after
the other, twenty a second at most, before and during a fit. A ticket that stands still shows in the slowest one, not in the median.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.report import Report
from engine import bootstrap, labelled_csv, settings, taxonomy_csv
from engine.domain import TicketDraft

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77"
PAUSE_SECONDS = 0.05
WARM, ALONE = 30, 300


def main() -> int:
    """Run the benchmark; 1 when a bar does not hold, 2 when the data is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.while_fitting", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the measures here")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with train.csv, test.csv and departments.json")
    arguments = parser.parse_args()
    try:
        train, test = ((arguments.data / name).read_bytes() for name in ("train.csv", "test.csv"))
        parents = json.loads((arguments.data / "departments.json").read_text(encoding="utf-8"))
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    departments, topics, exemplars = taxonomy_csv.from_exemplars(train, text_column="text", label_column="category", parents=parents, name="train.csv")
    texts = list(dict.fromkeys(labelled_csv.read(test, name="test.csv").texts))
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
    fit = threading.Thread(target=engine.trainer.train)
    fit.start()
    beside = routed(engine, texts, lambda _: fit.is_alive())
    fit.join()
    half = float(np.median(alone))
    report.add("p50_while_fitting", float(np.median(beside)) / half, 2.0, "max")
    report.add("p95_while_fitting", float(np.percentile(beside, 95)) / half, 8.0, "max")
    report.add("slowest_while_fitting", max(beside) / half, 50.0, "max")
    milliseconds = [1000 * one for one in (half, np.percentile(alone, 95), max(alone), np.median(beside), np.percentile(beside, 95), max(beside))]
    print(
        f"p50, p95 and slowest in ms: {', '.join(f'{one:.1f}' for one in milliseconds[:3])} of {len(alone)} tickets alone, "
        f"{', '.join(f'{one:.1f}' for one in milliseconds[3:])} of {len(beside)} while a fit ran; the ratios are to the p50 alone"
    )


def routed(engine: bootstrap.Engine, texts: Iterator[str], go_on: Callable[[int], bool]) -> list[float]:
    """Seconds of each ticket."""
    taken: list[float] = []
    while go_on(len(taken)):
        began = time.perf_counter()
        engine.router.route(TicketDraft(body=next(texts)))
        taken.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    return taken


if __name__ == "__main__":
    sys.exit(main())
