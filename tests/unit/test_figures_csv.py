"""Each figure of a bar stands in the column that names it."""
from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from engine import figures_csv
from engine.figures import Tally
from engine.histograms import CONFIDENCE_BINS, EDGES_MS, LATENCY_BINS
from tests.unit.test_figures import bins

START = datetime(2026, 3, 17, 14, 30, tzinfo=UTC)


def row(tally: Tally) -> dict[str, str]:
    (found,) = csv.DictReader(io.StringIO(figures_csv.content([(START, "cached", tally)]).decode("utf-8-sig")))
    return found


def test_each_figure_has_its_column() -> None:
    tally = Tally(
        n=100, auto=41, degraded=7, audited=9, false_hits=3, total_us=1_250_000, latency=bins(LATENCY_BINS, b5=60, b20=37, b30=3),
        confidence=bins(CONFIDENCE_BINS, b3=6, b11=11, b12=83), reviewed=bins(CONFIDENCE_BINS, b3=2, b12=16), correct=bins(CONFIDENCE_BINS, b12=13),
    )
    found = row(tally)
    assert found["from_utc"].startswith("2026-03-17") and found["method"] == "cached"
    counts = {"tickets": 100, "routed_alone": 41, "degraded": 7, "audited": 9, "audit_disagreements": 3, "low_confidence": 17, "reviewed": 18, "correct": 13}
    assert {name: int(found[name]) for name in counts} == counts
    assert float(found["mean_ms"]) == 12.5
    for name, low in (("p50_ms", 4), ("p95_ms", 19), ("p99_ms", 29)):
        assert EDGES_MS[low] < float(found[name]) < EDGES_MS[low + 1], name
    assert float(found["p95_ms"]) == pytest.approx(tally.percentile_ms(0.95), abs=0.001)


def test_what_nobody_measured_is_an_empty_cell_and_not_0() -> None:
    found = row(Tally())
    assert [found[name] for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")] == [""] * 4
    assert found["tickets"] == found["reviewed"] == "0"
