"""The latest tickets: which of them wait for somebody, and any ticket opened again."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from engine.bootstrap import Engine
from engine.errors import ConsoleError, NotFound
from engine.sanitize import remark
from pages.parts import decision as decision_view
from pages.parts import ticket_number, words
from pages.parts.guard import Operator

SENT_ON = "Sent on to"
SHOWN, SHOWN_OPEN = 10, 50
OPEN_SINCE = timedelta(days=7)
PLACE = "_opened"


@dataclass(slots=True)
class Opened:
    """The ticket that is open below the table, "" for none. `tables`, `boxes`: numbers in the widgets' keys, counted up to show the table
    without a mark and the box for a number empty."""

    ticket_id: str = ""
    tables: int = 0
    boxes: int = 0


def show(*, engine: Engine, operator: Operator) -> None:
    """The table, with the ticket that was chosen in it or by its number below."""
    own: Opened = st.session_state.setdefault("opened", Opened())
    # To the left: the table's own buttons appear to the right above it.
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.subheader("Latest tickets", anchor=False, width="content")
        waiting = st.toggle(
            "Only those that wait", key="latest_open",
            help="To be confirmed or chosen for, and neither done nor labelled yet; of the last seven days",
        )
        _by_number(own)
    _listed(own, engine=engine, operator=operator, waiting=waiting)
    if own.ticket_id:
        _open(own, engine=engine, operator=operator)


def _listed(own: Opened, *, engine: Engine, operator: Operator, waiting: bool) -> None:
    everybody, most = operator.may("all_tickets"), SHOWN_OPEN if waiting else SHOWN
    try:
        rows = engine.decisions.latest(
            limit=most + 1, created_by=None if everybody else operator.name, open_since=OPEN_SINCE if waiting else None,
        )
    except ConsoleError as error:
        st.warning("The latest tickets cannot be read at the moment. Nothing is lost.", icon=":material/cloud_off:")
        st.text(str(error))
        return
    if rows:
        _table(rows[:most], own)
        if waiting and len(rows) > most:
            st.caption(f"More than {most} wait; these are the newest.")
    elif waiting:
        st.caption("Nothing waits for you." if not everybody else "Nothing waits for an agent.")
    else:
        st.caption("No ticket yet. The first one you route appears here.")


def _table(rows: Sequence[Any], own: Opened) -> None:
    ids = [row.ticket_id for row in rows]
    # Another table for other tickets: what is marked in it is a line, and must not become another ticket's.
    key = f"latest_{own.tables}_{hash(tuple(ids))}"
    with st.container(key="latest"):
        st.dataframe(
            table(rows), hide_index=True, width="stretch", column_config={**words.TIMES, **words.CONFIDENCES}, key=key,
            on_select=lambda: _mark(own, ids, key), selection_mode="single-row",
        )
    if not own.ticket_id:
        st.caption("Mark a line to open its ticket: what it said, why it went there, and the buttons to confirm it or send it elsewhere.")


def _mark(own: Opened, ids: list[str], key: str) -> None:
    marked = st.session_state.to_dict()[key]["selection"]["rows"]
    own.ticket_id = ids[marked[0]] if marked else ""
    own.boxes += 1


def _by_number(own: Opened) -> None:
    st.text_input(
        "Open a ticket by its number", key=f"open_number_{own.boxes}", placeholder="Open by ticket number", label_visibility="collapsed",
        width=240, icon=":material/search:", on_change=_enter, args=(own, own.boxes),
    )


def _enter(own: Opened, box: int) -> None:
    own.ticket_id = remark(st.session_state.to_dict()[f"open_number_{box}"], maximum=64)
    own.tables += 1


def table(rows: Sequence[Any]) -> pd.DataFrame:
    """The newest decisions for a table. A confidence stands beside the department that was decided; where a ticket was sent on to has a
    column of its own, which is there where one was. The words stand last: they are long, and would push the decision out of sight."""
    shown = [
        (
            r.created_at, r.department, confidence, r.overruled_to or "", words.standing(r, chosen=r.chosen, labelled=r.actual_outcome)[0],
            words.METHOD[r.method], r.ticket_id, r.body,
        )
        for r, confidence in zip(rows, words.percents(r.confidence for r in rows), strict=True)
    ]
    frame = pd.DataFrame(shown, columns=["Time (UTC)", "Department", "Confidence", SENT_ON, "Next step", "Method", "Ticket", "Text"])
    return frame if any(r.overruled_to for r in rows) else frame.drop(columns=SENT_ON)


def _open(own: Opened, *, engine: Engine, operator: Operator) -> None:
    number, ticket, trouble = own.ticket_id, None, ""
    try:
        number = ticket_number.meant(own.ticket_id, engine=engine)
        ticket, decision = engine.decisions.find(number)
    except NotFound:
        pass
    except ConsoleError as error:
        trouble = str(error)
    everybody = operator.may("all_tickets")
    visible = ticket is not None and (everybody or ticket.created_by == operator.name)
    with st.container(key="opened", width=900):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            # As typed where it is not shown: the stored way of writing it would tell that somebody else's ticket has it.
            st.markdown(f"**Ticket {words.plain(number if visible else own.ticket_id)}**")
            st.button("Close", key="close_opened", icon=":material/close:", on_click=_close, args=(own,))
        if trouble:
            st.warning("The ticket cannot be opened. Nothing is lost.", icon=":material/cloud_off:")
            st.text(trouble)
            return
        if visible:
            decision_view.show(decision, ticket, engine=engine, operator=operator.name, place=PLACE)
        else:
            # Whether somebody else's ticket has the number is nothing that this role is told.
            st.warning(f"No ticket{'' if everybody else ' of yours'} has this number. Check it and try again.", icon=":material/search_off:")


def _close(own: Opened) -> None:
    own.ticket_id = ""
    # A table anew: in the old one the line would stay marked, and a click on it would only take the mark away.
    own.tables += 1
    own.boxes += 1
