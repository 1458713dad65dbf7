"""Measured values beside their bars, as a table and as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TextIO

Direction = Literal["min", "max"]


@dataclass(frozen=True, slots=True)
class Measure:
    """`direction` "min": the value must be at least the bar; "max": at most."""

    name: str
    value: float
    bar: float
    direction: Direction
    holds: bool


class Report:
    """Collects the measures of one benchmark; `title` heads the table."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.measures: list[Measure] = []

    def add(self, name: str, value: float, bar: float, direction: Direction) -> bool:
        """Record a measure under its permanent name; True when its bar holds. A name twice is a ValueError."""
        if any(measure.name == name for measure in self.measures):
            raise ValueError(f"the measure {name} was added already")
        holds = bool(value >= bar if direction == "min" else value <= bar)
        self.measures.append(Measure(name, float(value), float(bar), direction, holds))
        return holds

    @property
    def exit_code(self) -> int:
        """0 when every bar holds and something was measured, else 1."""
        return 0 if self.measures and all(measure.holds for measure in self.measures) else 1

    def print(self, stream: TextIO | None = None) -> None:
        """The table, to standard output unless told otherwise."""
        out = stream or sys.stdout
        width = max([len(measure.name) for measure in self.measures] + [len(self.title)])
        print(f"{self.title:<{width}}  {'value':>10}  {'bar':>13}", file=out)
        for measure in self.measures:
            sign = ">=" if measure.direction == "min" else "<="
            verdict = "holds" if measure.holds else "DOES NOT HOLD"
            bar = f"{sign} {measure.bar:.4g}"
            print(f"{measure.name:<{width}}  {measure.value:>10.4f}  {bar:>13}  {verdict}", file=out)

    def write(self, path: Path) -> None:
        """The measures as JSON."""
        measures = [asdict(measure) for measure in self.measures]
        Path(path).write_text(json.dumps({"measures": measures}, indent=2) + "\n", encoding="utf-8")

    def finish(self, path: Path | None = None) -> int:
        """Print the table, write the JSON where a path is given; the exit code."""
        self.print()
        if path is not None:
            self.write(path)
        return self.exit_code
