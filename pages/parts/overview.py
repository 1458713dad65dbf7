"""The dashboard's window, its data in one read, and the figures that are not charts."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from engine.bootstrap import Engine
from engine.intervals import wilson
from engine.ports import ChartWindow

HIT_TARGET = 0.25
# Span -> length and the width of one bar.
SPANS = {
    "Last hour": (timedelta(hours=1), 60),
    "Last 24 hours": (timedelta(hours=24), 1800),
    "Last 7 days": (timedelta(days=7), 4 * 3600),
    "Last 30 days": (timedelta(days=30), 24 * 3600),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Everything the dashboard shows, read for one window."""

    totals: Any
    before: Any
    over_time: Sequence[Any]
    latency: Sequence[Any]
    confidence: Sequence[Any]
    departments: Sequence[Any]
    accuracy: Sequence[Any]
    alerts: Sequence[Any]


def window(span: str, now: datetime, *, demo: bool) -> ChartWindow:
    """The chosen span up to now."""
    return ChartWindow(now - SPANS[span][0], now, demo)


def read(engine: Engine, chosen: ChartWindow) -> Data:
    """One read of everything. Raises ServiceUnavailable."""
    length = chosen.end - chosen.start
    width = next(width for span, width in SPANS.values() if span == length)
    earlier = ChartWindow(chosen.start - length, chosen.start, chosen.demo)
    c = engine.charts
    return Data(
        totals=c.totals(chosen), before=c.totals(earlier), over_time=c.over_time(chosen, seconds=width), latency=c.latency(chosen),
        confidence=c.confidence(chosen), departments=c.departments(chosen), accuracy=c.accuracy(chosen), alerts=c.alerts(),
    )


def kpis(data: Data) -> None:
    """The row of figures, each with the previous window beside it."""
    now, before = data.totals, data.before
    reviewed = sum(row.reviewed for row in data.accuracy)
    correct = sum(row.correct for row in data.accuracy)
    low, high = wilson(correct, reviewed) if reviewed else (0.0, 1.0)
    columns = st.columns(6)
    columns[0].metric("Tickets", f"{now.tickets:,}", _change(now.tickets, before.tickets), border=True, delta_color="off")
    columns[1].metric(
        f"Hit rate (target {HIT_TARGET:.0%})", f"{now.hits / now.tickets:.1%}", _points(now.hits, now.tickets, before.hits, before.tickets),
        border=True, help="Decisions answered from earlier tickets / all decisions",
    )
    columns[2].metric("Latency p50", f"{now.p50:.1f} ms", _ms(now.p50, before.p50), border=True, delta_color="inverse")
    columns[3].metric("Latency p95", f"{now.p95:.1f} ms", _ms(now.p95, before.p95), border=True, delta_color="inverse")
    columns[4].metric(
        "Routed alone", f"{now.auto / now.tickets:.1%}", _points(now.auto, now.tickets, before.auto, before.tickets), border=True,
        help="Tickets that went straight to the queue",
    )
    columns[5].metric(
        "Accuracy of labels", f"{correct / reviewed:.1%}" if reviewed else "no label", border=True,
        delta=f"{low:.0%} – {high:.0%}, {reviewed:,} labels" if reviewed else None, delta_color="off", delta_arrow="off",
        help="Of the reviewed tickets, with the 95 % interval. Doubtful tickets are reviewed more often than others.",
    )


def alerts(rows: Sequence[Any]) -> None:
    """Recent alerts, or a quiet word."""
    st.markdown("**Recent alerts**")
    if not rows:
        st.caption("No alert so far.")
        return
    shown = [(r.opened_at, r.severity, r.message, "open" if r.resolved_at is None else "resolved") for r in rows]
    st.dataframe(pd.DataFrame(shown, columns=["Opened (UTC)", "Severity", "What", "State"]), hide_index=True, width="stretch")


def _change(now: int, before: int) -> str | None:
    return f"{now - before:+,} to the window before" if before else None


def _points(part: int, whole: int, part_before: int, whole_before: int) -> str | None:
    return f"{100 * (part / whole - part_before / whole_before):+.1f} points" if whole_before and whole else None


def _ms(now: float, before: float | None) -> str | None:
    return f"{now - before:+.1f} ms" if before is not None else None
