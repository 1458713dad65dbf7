"""Real customer messages through the whole engine: load a labelled file as taxonomy, import unseen messages, count.

    python -m benchmarks.real_input --json OUT [--data ../shared/data/banking77]
"""
from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.report import Report
from engine import bootstrap, imports, settings, taxonomy_csv

# What the nearest exemplar alone reaches on the same messages.
NEAREST_ALONE = 0.969


def main() -> int:
    """Run the benchmark; 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_input", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the measures here")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/banking77"))
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    parents = json.loads((arguments.data / "departments.json").read_text())
    with open(arguments.data / "test.csv", encoding="utf-8", newline="") as file:
        rows = random.Random(arguments.seed).sample(list(csv.DictReader(file)), arguments.messages)
    report = Report("real input")
    with tempfile.TemporaryDirectory(prefix="real-input-") as folder:
        os.chmod(folder, 0o755)
        engine = bootstrap.build(settings.load(data_dir=Path(folder) / "data"), log_stream=None, chance=random.Random(arguments.seed))
        try:
            departments, topics, exemplars = taxonomy_csv.from_exemplars(
                (arguments.data / "train.csv").read_bytes(), text_column="text", label_column="category", parents=parents, name="train.csv"
            )
            engine.trainer.replace(departments, topics, exemplars)
            engine.state.refresh()
            file = imports.read(_csv(rows), name="test.csv", router=engine.router)
            decisions = imports.run(file, router=engine.router, store=engine.decisions).decisions
        finally:
            engine.close()
    right = [d.department == parents[row["category"]] for d, row in zip(decisions, rows, strict=True)]
    print(f"{len(departments)} departments, {len(topics)} topics, {len(exemplars)} exemplars; {len(decisions)} unseen messages")
    for method, count in Counter(d.method.value for d in decisions).most_common():
        correct = sum(ok for ok, d in zip(right, decisions, strict=True) if d.method.value == method)
        print(f"  {method:<9} {count / len(decisions):6.1%} of the messages, {correct / count:6.1%} of them right")
    confidence = sum(d.confidence for d in decisions) / len(decisions)
    print(f"  mean confidence shown {confidence:.3f}, found {sum(right) / len(right):.3f}")
    report.add("department_accuracy", sum(right) / len(right), NEAREST_ALONE, "min")
    report.print()
    if arguments.json:
        report.write(arguments.json)
    return report.exit_code


def _csv(rows: list[dict[str, str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["body"])
    writer.writerows([[row["text"]] for row in rows])
    return out.getvalue().encode()


if __name__ == "__main__":
    sys.exit(main())
