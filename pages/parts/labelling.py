"""The form with which a supervisor labels one ticket, and the accuracy that follows from the labels."""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import streamlit as st

from engine.access import Permission
from engine.bootstrap import Engine
from engine.domain import Method
from engine.errors import Conflict, ConsoleError
from engine.intervals import wilson
from engine.outcome import Outcome
from engine.standing import Standing
from pages.parts import guard, mishap, second_click, ticket_number, words



@dataclass(slots=True)
class Desk:
    """What a supervisor is at. One object, changed without a line that touches the session: a click ends the run at such a line,
    and with it whatever the run had yet to do.

    `reviewing`: the ticket that is shown, in the queue's part `part`, with the departments it can be labelled as. `refused`: whose label
    was not stored, and why. `done`: what came of the label saved last, `told` once it was shown; `saved`, `ended`: that label and when,
    in seconds of the monotonic clock. `leave_lookup`: the ticket that was looked up is labelled. `seen`: for each ticket what an
    agent had chosen when its box was filled.
    """

    part: str = ""
    reviewing: Any = None
    departments: tuple[str, ...] = ()
    refused: tuple[str, str] = ("", "")
    done: str = ""
    told: bool = False
    saved: Outcome | None = None
    ended: float = 0.0
    leave_lookup: bool = False
    seen: dict[str, str | None] = field(default_factory=dict)

    def refusal(self, ticket_id: str) -> str | None:
        """Why the label of this ticket was not stored; it stands there until that is saved or another ticket is chosen."""
        about, reason = self.refused
        return reason if about == ticket_id else None


def desk() -> Desk:
    """The session's desk."""
    own: Desk = st.session_state.setdefault("review_desk", Desk())
    return own


def told() -> None:
    """What came of the label that was just saved."""
    own = desk()
    if own.done and (second_click.near(own.ended) or not own.told):
        st.toast(own.done, icon=":material/check_circle:")
        own.told = True


def form(queue: Sequence[Any], departments: Sequence[str], *, engine: Engine, operator: str, part: str) -> Any:
    """Pick a ticket of the queue (the first by default) and label it; the picked one.

    The one that is shown stays, wherever the queue has moved meanwhile: what somebody types and saves is about that one. `part`
    names the part of the queue; in another one the first is shown. None where nothing waits and nothing was refused.
    """
    own = desk()
    kept = own.reviewing if own.part == part else None
    if not queue and (kept is None or own.refusal(kept.ticket_id) is None):
        return None
    rows = {row.ticket_id: row for row in queue}
    if kept is not None and kept.ticket_id not in rows:
        # Somebody else has labelled it, or others have come before it.
        rows = {kept.ticket_id: _as_it_is(kept, engine)} | rows
    wanted = st.session_state.pop("review_picked", None) or (kept.ticket_id if kept is not None else None)
    names = {id_: f"{id_} · {row.department} · {words.percent(float(row.confidence))}" for id_, row in rows.items()}
    # Set anew each time: the browser's box would else go on showing the ticket that was labelled last.
    st.session_state["review_ticket"] = wanted if wanted in rows else next(iter(rows))
    picked = st.selectbox("Ticket", list(rows), format_func=names.__getitem__, key="review_ticket", on_change=_picked)
    row = rows[picked]
    own.part, own.reviewing, own.departments = part, row, tuple(departments)
    one(row, departments, engine=engine, operator=operator)
    return row


def without_queue(*, engine: Engine, operator: str) -> None:
    """The ticket that was being labelled, with what was entered, while the queue cannot be read."""
    own = desk()
    if own.reviewing is not None:
        one(own.reviewing, own.departments, engine=engine, operator=operator)


def _as_it_is(row: Any, engine: Engine) -> Any:
    """The ticket's row as it stands now, or as it was while that cannot be read."""
    try:
        return next(iter(engine.decisions.rows([row.ticket_id])), row)
    except ConsoleError:
        return row


def _picked() -> None:
    st.session_state["review_picked"] = st.session_state["review_ticket"]
    _forget_refusal()


def _forget_refusal() -> None:
    desk().refused = ("", "")


def one(row: Any, departments: Sequence[str], *, engine: Engine, operator: str, place: str = "") -> None:
    """The ticket's text, what was decided, and the label's fields; `place` tells two of them on one page apart."""
    # The pages' script (engine/web/page.js) finds the keyboard's next place by this name.
    with st.container(key=f"labelled{place}"):
        _ticket(row, engine=engine, place=place)
        _fields(row, departments, engine=engine, operator=operator, place=place)


def _ticket(row: Any, *, engine: Engine, place: str) -> None:
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
        if row.chosen is not None:
            _chosen(row, engine)
        if row.actual_outcome:
            by = f" by {words.plain(row.reviewed_by)}" if row.reviewed_by else ""
            st.info(f"Labelled as {words.plain(row.actual_outcome)}{by} already; a new label replaces it.", icon=":material/history:")


def _fields(row: Any, departments: Sequence[str], *, engine: Engine, operator: str, place: str) -> None:
    suggested = row.actual_outcome or row.overruled_to or row.department
    id_ = row.ticket_id
    _chosen_since(id_, row.chosen)
    with st.form(f"label_{id_}", border=False, enter_to_submit=bool(place)):
        choices = list(dict.fromkeys([*departments, row.department, suggested]))
        st.selectbox("Which department was right?", choices, index=choices.index(suggested), key=f"actual_{id_}")
        one_, two = st.columns(2)
        # What an earlier label said stands there, so that correcting the department does not take it away.
        hours, stars = row.resolution_time_hours, row.customer_satisfaction
        one_.number_input(
            "Resolution time (hours)", min_value=0.0, max_value=8760.0, value=float(hours) if hours else None, step=0.5, key=f"hours_{id_}",
            help="More than 0; leave it empty if it is not known",
        )
        # The stars have no name of their own; the pages' script gives them the words above them.
        with two.container(key=f"about_stars{place}"):
            st.markdown("Customer's satisfaction")
            st.feedback("stars", key=f"stars_{id_}", default=None if stars is None else int(stars) - 1)
        st.text_input("Note (optional)", max_chars=500, key=f"note_{id_}")
        # Called before the page is read anew, with the ticket that the click was about: the queue may begin with another one by then.
        st.form_submit_button(
            "Save the label", type="primary", key=f"save_label{place}_{id_}", shortcut=None if place else "Ctrl+Enter", icon=":material/save:",
            on_click=_save, kwargs={"row": row, "engine": engine, "operator": operator, "place": place},
        )
    if reason := desk().refusal(id_):
        st.error("The label was not stored; what you entered is still here.", icon=":material/block:")
        st.text(reason)


def _chosen_since(id_: str, chosen: str | None) -> None:
    """Say that an agent has chosen since the box was filled. It is left as it is: nobody but who labels may change it."""
    own = desk()
    if f"actual_{id_}" not in st.session_state.to_dict():
        own.seen[id_] = chosen
    if own.seen.setdefault(id_, chosen) != chosen:
        st.warning("An agent has chosen since you opened this. Look at the department before you save.", icon=":material/sync_problem:")


def _chosen(row: Any, engine: Engine) -> None:
    if row.chosen == row.department:
        st.caption("The agent confirmed that.")
    else:
        st.warning(f"The agent sent it to {words.plain(row.chosen)} instead.", icon=":material/swap_horiz:")
    try:
        last = engine.outcomes.last_choice(row.ticket_id)
    except ConsoleError:
        return
    if last is not None and last.reason:
        st.text(f"The agent's reason: {last.reason}")


def _save(*, row: Any, engine: Engine, operator: str, place: str) -> None:
    id_, own = row.ticket_id, desk()
    # No line at which a waiting click ends the run, as are none of those below.
    entered = st.session_state.to_dict()
    stars = entered[f"stars_{id_}"]
    try:
        if (now_is := guard.who()) is None or not now_is.may(Permission.REVIEW):
            # The page's own guard comes later, with the next run.
            own.refused = (id_, "Your role does not label any more.")
            return
        outcome = Outcome(
            ticket_id=id_, department=entered[f"actual_{id_}"], labelled_by=operator, resolution_hours=entered[f"hours_{id_}"],
            satisfaction=None if stars is None else stars + 1, note=entered[f"note_{id_}"],
        )
        if outcome == own.saved and second_click.near(own.ended):
            return
        own.refused = ("", "")
        reviewed = engine.router.review(outcome, based_on=Standing.of(row))
    except ConsoleError as error:
        own.refused = (id_, str(error))
        if isinstance(error, Conflict) and not place:
            own.reviewing = _as_it_is(row, engine)
        return
    own.saved, own.ended = outcome, time.monotonic()
    verdict = "confirmed" if reviewed.correct else f"corrected to {reviewed.actual}"
    later = " It is stored; the console learns from it within a minute." if reviewed.late else ""
    own.done, own.told = words.plain(f"{id_}: {verdict}.{later}"), False
    own.leave_lookup = True
    if not place:
        own.reviewing = None


def lookup(departments: Sequence[str], *, engine: Engine, operator: str, shown: Any = None) -> None:
    """Find any ticket by its number and label it, or label it again."""
    own = desk()
    if own.leave_lookup:
        st.session_state["looked_up"] = ""
        own.leave_lookup = False
    entered = st.text_input("Ticket number", key="looked_up", placeholder="T-20260131-7F3K9Q2M5R", on_change=_forget_refusal).strip()
    if not entered:
        return
    try:
        number = ticket_number.meant(entered, engine=engine)
        found = list(engine.decisions.rows([number]))
    except ConsoleError as error:
        mishap.told("The ticket cannot be looked up at the moment. Nothing is lost.", error)
        return
    if not found:
        st.warning("No ticket has this number. Check it and try again.", icon=":material/search_off:")
        return
    if shown is not None and shown.ticket_id == number:
        st.info("It is the ticket above.", icon=":material/arrow_upward:")
        return
    one(found[0], departments, engine=engine, operator=operator, place="_looked_up")


def accuracy_table(rows: Sequence[Any]) -> None:
    """Accuracy with its 95% interval and the number of labels it rests on."""
    if not rows:
        st.info("No label yet. With the first one, each department's accuracy appears here.", icon=":material/rule:")
        return
    shown = []
    for row in rows:
        low, high = wilson(row.correct_predictions, row.total_predictions)
        shown.append((row.department, 100 * float(row.accuracy_rate), f"{100 * low:.0f} – {high:.0%}", row.total_predictions))
    st.dataframe(
        pd.DataFrame(shown, columns=["Department", "Right", "95%", "n"]), hide_index=True, width="stretch",
        column_config={"Right": st.column_config.NumberColumn(format="%.0f%%")},
    )
    st.caption(
        "Share that went right of n reviewed tickets, with its 95% interval. The queue over-samples doubtful tickets, so this is lower than "
        "over all tickets; tickets of the demo, where there are any, count as well."
    )
