"""Alerts: what is wrong now, what counts as wrong, and who is told."""
from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import alert_list, mishap, rule_form
from pages.parts.guard import here, open_page

operator, engine = open_page("Alerts", caption="An alert opens when a figure is wrong for long enough, tells people once, and resolves by itself.")

now_tab, rules_tab, told_tab = st.tabs(["Now", "Rules", "Who is told"])


@st.fragment(run_every=10.0)
def current() -> None:
    """The alerts, refreshed by themselves."""
    here(operator)
    try:
        rows = engine.watch.alert_table.latest(limit=100)
    except ConsoleError as error:
        mishap.told("The alerts cannot be read at the moment.", error)
        return
    alert_list.show(rows, engine=engine, operator=operator.name, may=operator.may("alerts"), where="page", resolved=30)


with now_tab:
    current()
with rules_tab:
    rule_form.show(engine=engine, operator=operator.name)
with told_tab:
    rule_form.channels(engine=engine, operator=operator.name)
    rule_form.silences(engine=engine, operator=operator.name, now=datetime.now(UTC))
