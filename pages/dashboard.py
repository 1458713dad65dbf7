"""Dashboard: what the router does, from Postgres, refreshed by itself."""
from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import charts, overview
from pages.parts.guard import open_page

operator, engine = open_page("Dashboard")

one, two, three = st.columns([2, 1, 1], vertical_alignment="bottom")
span = one.segmented_control("Time range", list(overview.SPANS), default="Last 24 hours", key="span") or "Last 24 hours"
demo = two.toggle("Include demo tickets", value=True, key="demo")
live = three.toggle("Refresh every 5 s", value=True, key="live")


@st.fragment(run_every=5.0 if live else None)
def figures() -> None:
    """Everything that changes; runs alone, so that the controls stay still."""
    window = overview.window(span, datetime.now(UTC), demo=demo)
    try:
        data = overview.read(engine, window)
    except ConsoleError as error:
        st.error("The figures cannot be read at the moment; the database does not answer. No decision is lost.", icon=":material/cloud_off:")
        st.text(str(error))
        return
    if not data.totals.tickets:
        st.info(f"No ticket in this time range ({span.lower()}).", icon=":material/monitoring:")
        st.page_link("pages/submit.py", label="Route the first one", icon=":material/send:")
        return
    overview.kpis(data)
    left, right = st.columns(2, gap="large")
    left.plotly_chart(charts.distribution_over_time(data.over_time, n=data.totals.tickets), key="over_time")
    right.plotly_chart(charts.latency(data.latency), key="latency")
    left.plotly_chart(charts.confidence(data.confidence), key="confidence")
    right.plotly_chart(charts.departments(data.departments), key="departments")
    left.plotly_chart(charts.accuracy(data.accuracy), key="accuracy")
    with right:
        overview.alerts(data.alerts)
    st.caption(f"From {window.start:%d %b %H:%M} to {window.end:%d %b %H:%M:%S} UTC · {data.totals.tickets:,} decisions")


figures()
