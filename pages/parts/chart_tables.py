"""What charts show as tables, for who does not see them: a chart says its axes to a screen reader, and no more."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engine import targets
from engine.domain import Method
from engine.figures import Tally
from engine.risk import RiskCoverage
from pages.parts import charts, words

PERCENT = st.column_config.NumberColumn(format="%.1f%%")


def dashboard(overview: Any) -> None:
    """What the dashboard's charts draw, in their order."""
    with st.expander("These charts as tables"):
        starts = {"From (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")}
        milliseconds = dict.fromkeys(("p50, ms", "p95, ms"), st.column_config.NumberColumn(format="%.1f"))
        estimates = dict.fromkeys(("Right", "At least", "At most"), PERCENT)
        st.dataframe(routing(overview.bars), hide_index=True, width="stretch", column_config=starts)
        st.dataframe(latency(overview.bars), hide_index=True, width="stretch", column_config={**starts, **milliseconds})
        st.caption("How many tickets each method answered, and how long that took; an interval without a ticket has no line.")
        st.dataframe(bands(overview.now), hide_index=True, width="stretch", placeholder="", column_config=estimates)
        st.dataframe(confidence(overview.now), hide_index=True, width="stretch")
        st.dataframe(departments(overview.departments), hide_index=True, width="stretch", placeholder="", column_config=estimates)
        st.caption("Right: share of all tickets that went right, estimated from the labels; at least and at most: its 95% interval. Labels: how many "
                   "evenly sampled ones that rests on.")
        if overview.flows:
            st.dataframe(corrections(overview.flows), hide_index=True, width="stretch")


def routing(bars: charts.Bars) -> pd.DataFrame:
    """Tickets of each interval, together and per method; the oldest first."""
    counts = {(bar, name): tally.n for bar, name, tally in bars if tally.n}
    methods = [method for method in Method if any(name == method.value for _, name in counts)]
    table = []
    for start in sorted({bar for bar, _ in counts}):
        by_method = [counts.get((start, method.value), 0) for method in methods]
        table.append((start, sum(by_method), *by_method))
    return pd.DataFrame(table, columns=["From (UTC)", "Tickets", *(words.METHOD[method] for method in methods)])


def latency(bars: charts.Bars) -> pd.DataFrame:
    """Milliseconds that half, and 19 in 20, of each interval's tickets stay under, per method, with that method's target; the oldest first."""
    order = {method.value: (number, words.METHOD[method]) for number, method in enumerate(Method)}
    table = [
        (bar, order[name][1], tally.n, tally.percentile_ms(0.5), tally.percentile_ms(0.95), targets.P95_MS[name])
        for bar, name, tally in sorted(bars, key=lambda row: (row[0], order[row[1]])) if tally.n
    ]
    return pd.DataFrame(table, columns=["From (UTC)", "Method", "Tickets", "p50, ms", "p95, ms", "Target of p95, ms"])


def bands(tally: Tally) -> pd.DataFrame:
    """Tickets of each band of the shown confidence, and how many in a hundred of them were right, with the interval; the surest first."""
    table = []
    for band in tally.bands():
        estimate = (None, None, None) if band.accuracy is None else (100 * share for share in (band.accuracy, *band.interval))
        table.append((f"{band.name}, {charts.BAND_LIMITS[band.name]}", band.n, *estimate, round(band.labels)))
    return pd.DataFrame(table, columns=["Shown confidence", "Tickets", "Right", "At least", "At most", "Labels"])


def confidence(tally: Tally) -> pd.DataFrame:
    """Tickets of each twentieth of the shown confidence that has some; the lowest first."""
    counts = enumerate(tally.confidence.tolist())
    return pd.DataFrame([(f"{5 * i} to {5 * i + 5}%", n) for i, n in counts if n], columns=["Shown confidence", "Tickets"])


def departments(rows: Sequence[tuple[str, str, Tally]]) -> pd.DataFrame:
    """Tickets per department and method, and each department's accuracy in per cent with its interval; most tickets first."""
    methods = [method for method in Method if any(name == method.value and tally.n for _, name, tally in rows)]
    counts = {(department, name): tally.n for department, name, tally in rows}
    table = []
    for department, tally in sorted(charts.by_department(rows).items(), key=lambda item: (-item[1].n, item[0])):
        estimate = (None, None, None) if tally.accuracy is None else (100 * share for share in (tally.accuracy, *tally.accuracy_interval))
        by_method = (counts.get((department, method.value), 0) for method in methods)
        table.append((department, tally.n, *by_method, *estimate, round(tally.sampled_labels)))
    names = ["Department", "Tickets", *(words.METHOD[method] for method in methods), "Right", "At least", "At most", "Labels"]
    return pd.DataFrame(table, columns=names)


def corrections(rows: Sequence[Any]) -> pd.DataFrame:
    """Where corrected tickets were sent and where they belonged; most first."""
    most = sorted(rows, key=lambda row: (-row.n, row.department, row.actual))
    return pd.DataFrame([(row.department, row.actual, row.n) for row in most], columns=["Sent to", "Belonged to", "Tickets"])


def risk_coverage(curve: RiskCoverage) -> None:
    """The curve at each tenth of the tickets, and at its end."""
    with st.expander("This curve as a table"):
        st.dataframe(tenths(curve), hide_index=True, width="stretch", column_config=dict.fromkeys(("Routed alone", "Right of these"), PERCENT))
        st.caption("With one threshold for all departments: what is routed alone at each tenth at most, and how much of it is right.")


def tenths(curve: RiskCoverage) -> pd.DataFrame:
    """The curve's last point up to each tenth of the tickets, in per cent, each point once."""
    last = np.searchsorted(curve.coverage, np.arange(1, 11) / 10 + 1e-9, side="right") - 1
    points = [int(i) for i in dict.fromkeys(last) if i >= 0]
    return pd.DataFrame(
        [(100 * float(curve.coverage[i]), 100 * float(curve.accuracy[i]), float(curve.threshold[i])) for i in points],
        columns=["Routed alone", "Right of these", "From confidence"],
    )
