"""The form with which a supervisor labels one ticket, and the accuracy that follows from the labels."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine.bootstrap import Engine
from engine.domain import Method, Outcome
from engine.errors import ConsoleError
from engine.intervals import wilson
from engine.sanitize import remark
from pages.parts import words


def form(queue: Sequence[Any], departments: Sequence[str], *, engine: Engine, operator: str) -> Any:
    """Pick a ticket of the queue (the first by default) and label it; the picked one."""
    names = [f"{row.ticket_id} · {row.department} · {words.percent(float(row.confidence))}" for row in queue]
    position = st.selectbox("Ticket", range(len(queue)), format_func=names.__getitem__, key="review_ticket")
    one(queue[position or 0], departments, engine=engine, operator=operator)
    return queue[position or 0]


def one(row: Any, departments: Sequence[str], *, engine: Engine, operator: str, place: str = "") -> None:
    """The ticket's text, what was decided, and the label's fields; `place` tells two of them on one page apart."""
    with st.container(border=True, key=f"ticket{place}"):
        if row.subject:
            st.text(row.subject)
        st.text(row.body)
        st.caption(
            f"{row.channel} · {row.priority} priority · routed {row.created_at:%d %b %Y %H:%M} UTC by {words.METHOD[Method(row.method)].lower()}"
        )
        st.markdown("**Routed to**")
        st.text(f"{row.department} ({words.percent(float(row.confidence))}, {words.confidence(float(row.confidence))})")
        if row.degraded_by:
            st.caption(f"Decided without {words.without(row.degraded_by)}, which did not answer then.")
        if row.overruled_to:
            st.warning(f"The agent sent it to {words.plain(row.overruled_to)} instead.", icon=":material/swap_horiz:")
    suggested = row.actual_outcome or row.overruled_to or row.department
    with st.form(f"label_{row.ticket_id}", border=False, enter_to_submit=bool(place)):
        choices = list(dict.fromkeys([*departments, row.department, suggested]))
        actual = st.selectbox("Which department was right?", choices, index=choices.index(suggested), key=f"actual_{row.ticket_id}")
        one_, two = st.columns(2)
        hours = one_.number_input(
            "Resolution time (hours)", min_value=0.0, max_value=8760.0, value=None, step=0.5, key=f"hours_{row.ticket_id}",
            help="More than 0; leave it empty if it is not known",
        )
        two.markdown("Customer's satisfaction")
        stars = two.feedback("stars", key=f"stars_{row.ticket_id}")
        note = st.text_input("Note (optional)", max_chars=500, key=f"note_{row.ticket_id}")
        if st.form_submit_button("Save the label", type="primary", key=f"save_label{place}", shortcut=None if place else "Ctrl+Enter", icon=":material/save:"):
            _save(row, actual, hours, None if stars is None else stars + 1, note, engine=engine, operator=operator)


def _save(
    row: Any, actual: str, hours: float | None, stars: int | None, note: str, *, engine: Engine, operator: str
) -> None:
    try:
        outcome = Outcome(
            ticket_id=row.ticket_id, department=actual, labelled_by=operator, resolution_hours=hours, satisfaction=stars, note=note
        )
        reviewed = engine.router.review(outcome)
    except ConsoleError as error:
        st.error("The label was not stored; what you entered is still here.", icon=":material/block:")
        st.text(str(error))
        return
    verdict = "confirmed" if reviewed.correct else f"corrected to {reviewed.actual}"
    later = " It is stored; the console learns from it within a minute." if reviewed.late else ""
    st.session_state["labelled"] = words.plain(f"{row.ticket_id}: {verdict}.{later}")
    st.session_state.pop("review_ticket", None)
    st.session_state["looked_up_is_done"] = True
    st.rerun()


def lookup(departments: Sequence[str], *, engine: Engine, operator: str, shown: Any = None) -> None:
    """Find any ticket by its number and label it, or label it again."""
    if st.session_state.pop("looked_up_is_done", False):
        # Forgetting the key alone would leave the number standing in the browser's field.
        st.session_state["looked_up"] = ""
    entered = st.text_input("Ticket number", key="looked_up", placeholder="T-20260131-7F3K9Q2M5R").strip()
    if not entered:
        return
    number = remark(entered)
    if shown is not None and shown.ticket_id == number:
        st.info("It is the ticket above.", icon=":material/arrow_upward:")
        return
    found = list(engine.decisions.rows([number]))
    if not found:
        st.warning("No ticket has this number. Check it and try again.", icon=":material/search_off:")
        return
    if found[0].actual_outcome:
        st.info(f"Labelled as {words.plain(found[0].actual_outcome)} already; a new label replaces it.", icon=":material/history:")
    one(found[0], departments, engine=engine, operator=operator, place="_looked_up")


def accuracy_table(rows: Sequence[Any]) -> None:
    """Accuracy with its 95 % interval and the number of labels it rests on."""
    if not rows:
        st.info("No label yet. With the first one, each department's accuracy appears here.", icon=":material/rule:")
        return
    shown = []
    for row in rows:
        low, high = wilson(row.correct_predictions, row.total_predictions)
        shown.append((row.department, 100 * float(row.accuracy_rate), f"{100 * low:.0f} – {high:.0%}", row.total_predictions))
    st.dataframe(
        pd.DataFrame(shown, columns=["Department", "Right", "95 %", "n"]), hide_index=True, width="stretch",
        column_config={"Right": st.column_config.NumberColumn(format="%.0f %%")},
    )
    st.caption("Share that went right of n reviewed tickets, with its 95 % interval. The queue over-samples doubtful tickets, so this is lower than over all tickets.")
