"""The labelled tickets that benchmarks learn from and judge by: train.csv, test.csv and departments.json of one folder."""
from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77"


@dataclass(frozen=True, slots=True)
class LabelledData:
    """The two CSV files as they are, columns `text` and `category`, and the department of each category."""

    train: bytes
    test: bytes
    parents: dict[str, str]


def options(name: str, description: str | None) -> argparse.ArgumentParser:
    """The options of the benchmark `name`: where its measures go, and where the data is."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--json", type=Path, help="write the measures here")
    parser.add_argument("--data", type=Path, default=DEFAULT, help="folder with train.csv, test.csv and departments.json")
    return parser


def read(folder: Path) -> LabelledData:
    """The folder's three files. Raises OSError."""
    train, test = ((folder / name).read_bytes() for name in ("train.csv", "test.csv"))
    return LabelledData(train, test, json.loads((folder / "departments.json").read_text(encoding="utf-8")))
