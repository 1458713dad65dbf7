"""Alerts as people deal with them: what is wrong since when, who looks after it, and how to keep it quiet for a while."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import streamlit as st

from engine.bootstrap import Engine
from engine.errors import ConsoleError
from pages.parts import mishap

ICON = {"critical": ":red[:material/error:]", "warning": ":orange[:material/warning:]"}
QUIET = {"1 hour": timedelta(hours=1), "8 hours": timedelta(hours=8), "3 days": timedelta(days=3)}


def show(rows: Sequence[Any], *, engine: Engine, operator: str, may: bool, where: str, resolved: int = 5) -> None:
    """Open alerts with their buttons, then the newest resolved ones."""
    opened = [row for row in rows if row.resolved_at is None]
    over = [row for row in rows if row.resolved_at is not None][:resolved]
    # The pages' script (engine/web/page.js) names the buttons and keeps the keyboard's place by these keys; an empty container is no place.
    with st.container(key=f"listed_{where}"):
        if not opened:
            st.success("No open alert.", icon=":material/check_circle:")
        for row in opened:
            with st.container(border=True, key=f"about_{where}_{row.id}"):
                _one(row, engine=engine, operator=operator, may=may, where=where)
    if over:
        st.caption("Resolved by themselves")
    for row in over:
        with st.container(horizontal=True, gap="small"):
            st.markdown(":green[:material/check:]", width="content")
            undelivered = "  ·  not everybody was told" if row.undelivered else ""
            st.text(f"{row.message}  ·  {row.opened_at:%d %b %H:%M} to {row.resolved_at:%d %b %H:%M} UTC{undelivered}")


def _one(row: Any, *, engine: Engine, operator: str, may: bool, where: str) -> None:
    # In words as well: shape and colour of the icon say it to those who see them.
    state = [row.severity, f"open since {row.opened_at:%d %b %H:%M} UTC"]
    if row.acknowledged_at is not None:
        state.append(f"seen by {row.acknowledged_by} on {row.acknowledged_at:%d %b %H:%M} UTC")
    if row.silenced:
        state.append("silenced")
    # Columns: a horizontal container would put a long text under its icon.
    icon, told = st.columns([1, 24], gap="small")
    icon.markdown(ICON[row.severity])
    # Subjects are names that people chose: plain text, never markdown.
    told.text(f"{row.message}  ·  {', '.join(state)}")
    if row.undelivered:
        st.warning(f"Not delivered since {row.opened_at:%d %b %H:%M} UTC; it is tried again at least every 15 minutes.", icon=":material/mark_email_unread:")
        st.text(row.undelivered)
    if may:
        _buttons(row, engine=engine, operator=operator, where=where)


def _buttons(row: Any, *, engine: Engine, operator: str, where: str) -> None:
    with st.container(horizontal=True, gap="small"):
        if row.acknowledged_at is None and st.button("Acknowledge", key=f"{where}_ack_{row.id}", icon=":material/visibility:"):
            _do(lambda: engine.watch.alerts.acknowledge(row.id, by=operator))
        if row.silenced:
            return
        with st.popover("Silence", key=f"{where}_quiet_{row.id}", icon=":material/notifications_off:"):
            for label, length in QUIET.items():
                if st.button(f"for {label}", key=f"{where}_quiet_{row.id}_{label}"):
                    _do(lambda length=length: engine.watch.alerts.silence(
                        rule=row.rule, subject=row.subject, length=length, by=operator, reason="silenced from the list"
                    ))


def _do(action: Any) -> None:
    try:
        action()
    except ConsoleError as error:
        mishap.told("That was not stored; the alert is as it was. Try again in a moment.", error)
        return
    st.rerun()
