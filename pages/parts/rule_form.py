"""The alert rules as a table and one of them as a form; the channels; the silences."""
from __future__ import annotations

import math
from datetime import datetime

import pandas as pd
import streamlit as st

from engine.alert_rules import AT_THE_MOMENT, DAY, Rule, Severity
from engine.bootstrap import Engine
from engine.errors import ConsoleError
from pages.parts import mishap

CHANNEL = {"webhook": "Webhook (Slack format)", "mail": "E-mail", "alertmanager": "Alertmanager"}
_DRAWN = "rule_drawn"


def show(*, engine: Engine, operator: str) -> None:
    """All rules, and a form for the chosen one."""
    try:
        rules = engine.watch.alerts.rules()
    except ConsoleError as error:
        mishap.told("The rules cannot be read at the moment.", error)
        return
    if "rule_saved" in st.session_state:
        st.toast(st.session_state.pop("rule_saved"), icon=":material/check_circle:")
    table = pd.DataFrame(
        [
            (rule.title, rule.severity.value, f"{'above' if rule.above else 'below'} {rule.shown(rule.threshold)}", rule.shown(rule.clear),
             "the moment" if rule.measure in AT_THE_MOMENT else _span(rule.window.total_seconds()), rule.minimum,
             _span(rule.hold.total_seconds()), rule.enabled)
            for rule in rules
        ],
        columns=["Rule", "Severity", "Opens", "Resolves at", "Looks back", "Smallest sample", "After", "On"],
    )
    st.dataframe(table, hide_index=True, width="stretch", height="content")
    # By name: as an object it would be the rule before its change in every second run, and what is entered then be lost.
    by_name = {rule.name: rule for rule in rules}
    chosen = st.selectbox(
        "Change a rule", list(by_name), format_func=lambda name: f"{by_name[name].title} ({by_name[name].severity.value})", key="rule", index=None,
        placeholder="Choose a rule",
    )
    # Until it is saved the form is about the rule as it was then: a field whose first value changes is another field, and loses what was entered.
    drawn = st.session_state.get(_DRAWN)
    if drawn is None or drawn.name != chosen:
        drawn = st.session_state[_DRAWN] = by_name.get(chosen)
    if drawn is not None:
        _form(drawn, engine=engine, operator=operator)


def _form(rule: Rule, *, engine: Engine, operator: str) -> None:
    # Shares are written as they are shown, in percent.
    scale, unit = rule.scale, f" ({rule.unit})" if rule.unit else ""
    with st.form(f"rule_{rule.name}", border=True):
        if rule.note:
            st.caption(rule.note)
        one, two, three = st.columns(3)
        opens = one.number_input(f"Opens {'above' if rule.above else 'below'}{unit}", value=round(scale * float(rule.threshold), 9), format="%.4g")
        clear = two.number_input(
            f"Resolves at{unit}", value=round(scale * float(rule.clear), 9), format="%.4g", help="On the good side, so that it does not come and go"
        )
        # What is read at the moment looks back nowhere.
        looks_back = {} if rule.measure in AT_THE_MOMENT else {"window_minutes": one.number_input(
            "Looks back (minutes)", value=rule.window.total_seconds() / 60, min_value=1.0,
            help=f"At most {rule.longest_window.days} days ({rule.longest_window.days * DAY:,} minutes)",
        )}
        entered = looks_back | {
            "threshold": opens / scale,
            "clear": clear / scale,
            "minimum": three.number_input("Smallest sample", value=rule.minimum, min_value=0, step=1),
            "hold_minutes": two.number_input("Opens after (minutes)", value=rule.hold.total_seconds() / 60, min_value=0.0),
            "severity": three.selectbox("Severity", [s.value for s in Severity], index=[*Severity].index(rule.severity)),
            "enabled": one.toggle("On", value=rule.enabled),
        }
        if not st.form_submit_button("Save", type="primary", key="save_rule"):
            return
    # What nobody touched is left to whoever changes it meanwhile.
    before = {
        "threshold": rule.threshold, "clear": rule.clear, "minimum": rule.minimum, "window_minutes": rule.window.total_seconds() / 60,
        "hold_minutes": rule.hold.total_seconds() / 60, "severity": rule.severity.value, "enabled": rule.enabled,
    }
    changes = {name: value for name, value in entered.items() if not _same(value, before[name])}
    st.session_state[_DRAWN] = None
    try:
        engine.watch.alerts.edit(rule.name, changes, by=operator)
    except ConsoleError as error:
        mishap.told("The rule was not changed.", error, icon=":material/block:")
        return
    st.session_state["rule_saved"] = "The rule is in force from the next look, within 15 seconds."
    st.rerun()


def _same(entered: object, before: object) -> bool:
    # Percent and back is not always the same number to the last digit.
    both = isinstance(entered, float) and isinstance(before, (int, float))
    return math.isclose(entered, before, rel_tol=1e-9, abs_tol=1e-12) if both else entered == before


def channels(*, engine: Engine, operator: str) -> None:
    """The channels that are set up, each with a button that sends a test."""
    names = engine.watch.notifier.channels
    if not names:
        st.info("Nobody is told yet. Set ALERT_WEBHOOK_URL, SMTP_HOST with ALERT_MAIL_TO, or ALERTMANAGER_URL, and start again.",
                icon=":material/notifications_off:")
    for name in names:
        with st.container(horizontal=True, vertical_alignment="center", key=f"about_channel_{name}"):
            st.text(CHANNEL[name], width=240)
            if st.button("Send a test", key=f"test_{name}", icon=":material/send:"):
                try:
                    engine.watch.notifier.test(name, by=operator)
                except ConsoleError as error:
                    mishap.told("The test did not arrive.", error, icon=":material/error:")
                else:
                    st.success("The receiver took it.", icon=":material/check_circle:")


def silences(*, engine: Engine, operator: str, now: datetime) -> None:
    """What is kept quiet until when, and a button that ends it."""
    try:
        rows = engine.watch.alert_table.silences(now)
        titles = {rule.name: rule.title for rule in engine.watch.alerts.rules()} if rows else {}
    except ConsoleError as error:
        st.text(str(error))
        return
    st.subheader("Silences", anchor=False)
    # Keys for the pages' script, as those of the list of alerts.
    with st.container(key="listed_silences"):
        if not rows:
            st.caption("Nothing is silenced.")
        for row in rows:
            with st.container(horizontal=True, vertical_alignment="center", key=f"about_silence_{row.id}"):
                rule, about = titles.get(row.rule, row.rule) or "Every rule", f", {row.subject}" if row.subject else ""
                st.text(f"{rule}{about}: until {row.until:%d %b %H:%M} UTC, by {row.by}")
                if st.button("End", key=f"end_{row.id}"):
                    _end(row.id, engine=engine, operator=operator)


def _end(silence_id: int, *, engine: Engine, operator: str) -> None:
    try:
        engine.watch.alerts.end_silence(silence_id, by=operator)
    except ConsoleError as error:
        mishap.told("The silence was not ended.", error)
        return
    st.rerun()


def _span(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"
