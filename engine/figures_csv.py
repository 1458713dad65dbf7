"""The dashboard's bars as CSV: one row per time and method."""
from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from engine import export
from engine.figures import Tally

COLUMNS = (
    "from_utc", "method", "tickets", "routed_alone", "degraded", "audited", "audit_disagreements", "mean_ms", "p50_ms", "p95_ms", "p99_ms",
    "low_confidence", "reviewed", "correct",
)


def content(bars: Iterable[tuple[datetime, str, Tally]]) -> bytes:
    """The bars in the order given; a time that nobody measured is an empty cell."""
    return export.csv_bytes(COLUMNS, (_row(*bar) for bar in bars))


def _row(start: datetime, method: str, tally: Tally) -> tuple[object, ...]:
    times = (tally.mean_ms, *(tally.percentile_ms(share) for share in (0.5, 0.95, 0.99)))
    return (
        start, method, tally.n, tally.auto, tally.degraded, tally.audited, tally.false_hits,
        *(round(value, 3) if value is not None else "" for value in times),
        tally.low, tally.labels, int(tally.correct.sum()),
    )
