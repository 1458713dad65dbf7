"""Dashboard: what the router does, exact to the ticket, refreshed by itself. The address holds the whole view."""
from __future__ import annotations

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import alert_list, chart_tables, charts, demo_switch, files, kpis, mishap, overview, services, words
from pages.parts.guard import here, open_page

operator, engine = open_page("Dashboard")

UNREADABLE = "The figures cannot be read at the moment; the database does not answer. No decision is lost."
try:
    view = overview.controls(engine)
except ConsoleError as error:
    services.away_now(engine)
    mishap.told(UNREADABLE, error)
    overview.look_again(engine)
    st.stop()


@st.fragment(run_every=5.0 if view.live else None)
def figures() -> None:
    """Everything that changes; runs alone, so that the controls stay still."""
    here(operator)
    if demo_switch.overtaken(engine, demo=view.demo):
        st.rerun()
    services.away_now(engine)
    try:
        data = overview.read(engine, view)
    except ConsoleError as error:
        mishap.told(UNREADABLE, error)
        return
    overview.read_from(data)
    now = data.overview.now
    if not now.n:
        st.info(f"No ticket in this view ({view.span.label.lower()}{', with these filters' if view.filtered else ''}).", icon=":material/monitoring:")
        st.caption("Tickets appear here a moment after they are routed on the Submit page.")
        kpis.standing(data)
        alert_list.show(data.alerts, engine=engine, operator=operator.name, may=operator.may("alerts"), where="empty")
        return
    kpis.show(data)
    overview.degraded(now)
    figures_of = {
        "routing": charts.distribution_over_time(data.overview.bars, view.span.level, n=now.n),
        "latency": charts.latency_over_time(data.overview.bars, view.span.level),
        "confidence": charts.confidence(now),
        "departments": charts.departments(data.overview.departments),
        "accuracy": charts.accuracy(data.overview.departments, target=data.targets.accuracy),
        "corrections": charts.flows(data.overview.flows, labels=now.labels),
    }
    for number, (name, figure) in enumerate(figures_of.items()):
        if number % 2 == 0:
            columns = st.columns(2, gap="medium")
        columns[number % 2].plotly_chart(
            charts.dated(figure, view.span.label.lower()), key=f"chart_{name}", config=charts.config(f"{name}-{view.span.key}"),
        )
    chart_tables.dashboard(data.overview)
    left, right = st.columns([3, 1], gap="medium")
    with left:
        st.subheader("Alerts", anchor=False)
        alert_list.show(data.alerts, engine=engine, operator=operator.name, may=operator.may("alerts"), where="list")
    with right:
        files.button(
            "Figures as CSV", "/files/decisions.csv", key="csv", span=view.span.key, demo=str(view.demo).lower(), department=view.departments,
            channel=view.channels, policy=[str(number) for number in view.policies],
        )
        st.caption("It holds the figures of the moment in which it is asked for. Each chart's toolbar has a camera that saves it as PNG.")
    st.caption(
        f"From {data.window.start:%d %b %Y %H:%M} UTC to now · {words.count(now.n, 'decision')} · before: {data.before.start:%d %b %H:%M} to "
        f"{data.before.end:%d %b %H:%M} UTC, {words.count(data.overview.before.n, 'decision')}"
    )


figures()
