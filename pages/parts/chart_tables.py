"""What charts show as tables, for who does not see them: a chart says its axes to a screen reader, and no more."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engine.domain import Method
from engine.figures import Tally
from engine.risk import RiskCoverage
from pages.parts import charts, words

PERCENT = st.column_config.NumberColumn(format="%.1f%%")


def dashboard(overview: Any) -> None:
    """The dashboard's charts of departments and corrections; those over time are in its CSV file."""
    with st.expander("Departments and corrections as tables"):
        st.dataframe(
            departments(overview.departments), hide_index=True, width="stretch", placeholder="",
            column_config=dict.fromkeys(("Right", "At least", "At most"), PERCENT),
        )
        st.caption("Right: share of all tickets that went right, estimated from the labels; at least and at most: its 95% interval. Labels: how many "
                   "evenly sampled ones that rests on.")
        if overview.flows:
            st.dataframe(corrections(overview.flows), hide_index=True, width="stretch")


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
