"""A file of tickets on the Submit page: check it as a whole, route it with a progress bar, take the answers home."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from engine import export, imports, process
from engine.bootstrap import Engine
from engine.domain import Automation
from engine.errors import ConsoleError, ServiceUnavailable, StatementRefused
from pages.parts import decision as decision_view, mishap
from pages.parts import words

# Columns that nobody reads, named above the button.
_NAMED = 8
EXAMPLE = 'body,subject,channel,customer_ref,priority,ticket_id\n"you took the money twice for my october bill",,chat,C-1001,normal,\n'


@dataclass(slots=True)
class _Far:
    """How far a file has come. `paid`: tickets that count against the limit already and are not stored yet.

    One object of the session, changed without a line that touches the session: a click ends the run at such a line. Once all tickets are
    stored it holds what there is to take home: `frame` and `answers` of the whole file, and how many of it were `stored` by an earlier run.
    """

    name: str
    digest: str
    total: int = 0
    done: int = 0
    paid: int = 0
    stored: int = 0
    frame: pd.DataFrame | None = None
    answers: bytes = b""


def show(*, engine: Engine, operator: str) -> None:
    """The uploader, and what came of it."""
    st.markdown(
        "A CSV with the column `body`; `subject`, `channel`, `priority`, `customer_ref` and `ticket_id` are optional. "
        "A text that holds the separator stands in quotes. UTF-8, or a spreadsheet's Unicode text."
    )
    # A run of the page would take the file away for a moment, just when it is asked for.
    st.download_button(
        "Download an example", EXAMPLE, "tickets.csv", "text/csv", icon=":material/download:", key="example", on_click="ignore",
    )
    file = st.file_uploader("CSV file", type=["csv"], key="file")
    passed_over = _passed_over(file) if file is not None else ()
    if passed_over:
        shown = ", ".join(words.plain(name) for name in passed_over[:_NAMED])
        more = f" and {len(passed_over) - _NAMED:,} more" if len(passed_over) > _NAMED else ""
        st.info(
            f"Not stored with the tickets, because no field has this name: {shown}{more}. If that is not right, rename the column first.",
            icon=":material/info:",
        )
    if file is not None and st.button("Route the file", type="primary", key="import", icon=":material/upload_file:"):
        _run(file.getvalue(), file.name, engine=engine, operator=operator)
    # It stays when another page is looked at, which takes the file out of its field, or another file is chosen.
    far: _Far | None = st.session_state.get("importing")
    if far is not None and far.frame is not None:
        _answers(far, far.frame)
    elif far is not None and far.done:
        _broken_off(far)


def _passed_over(file: Any) -> tuple[str, ...]:
    """The columns of the chosen file that nobody reads: looked for once, whatever else is clicked while it is chosen."""
    known = st.session_state.get("passed_over")
    if known is None or known[0] != file.file_id:
        known = st.session_state["passed_over"] = file.file_id, imports.unread(file.getvalue())
    return known[1]


def _answers(far: _Far, frame: pd.DataFrame) -> None:
    """What the file came to, as a whole, whichever run has stored it."""
    were = "was stored by an earlier run and left as it is" if far.stored == 1 else "were stored by an earlier run and left as they are"
    earlier = f" {far.stored:,} {were}." if far.stored else ""
    new = words.count(len(frame) - far.stored, "ticket")
    st.success(f"{words.plain(far.name)}: {new} routed and stored.{earlier}", icon=":material/check_circle:")
    decision_view.degraded_note(frame)
    asking = int((frame["Next step"] != words.AUTOMATION[Automation.AUTO][0]).sum())
    if asking:
        st.caption(
            f"To be confirmed or chosen for when they were routed: {words.count(asking, 'ticket')}. Those that still wait are among the latest "
            "tickets below, with “Only those that wait”."
        )
    st.dataframe(decision_view.as_shown(frame), hide_index=True, width="stretch", column_config=words.CONFIDENCES)
    with st.container(horizontal=True):
        st.download_button(
            "Download the answers", far.answers, "answers.csv", "text/csv", icon=":material/download:", key="answers", on_click="ignore",
        )
        st.button("Put them away", key="put_away", icon=":material/close:", on_click=_put_away, help="The tickets stay stored.")


def _put_away() -> None:
    st.session_state.pop("importing", None)


def _broken_off(far: _Far) -> None:
    """Any click on the page ends the run that routes a file: say afterwards what of it is stored and how to go on."""
    st.warning(
        f"The import was broken off: {far.done:,} of {far.total:,} tickets are stored. Route the same file again: "
        "it goes on with the others, and none is stored twice.", icon=":material/pause_circle:",
    )
    st.text(far.name)


def _run(content: bytes, name: str, *, engine: Engine, operator: str) -> None:
    far = _Far(name, hashlib.blake2b(content, digest_size=16).hexdigest())
    before: _Far | None = st.session_state.get("importing")
    if before is not None and before.digest == far.digest and before.frame is None:
        far = before
    st.session_state["importing"] = far
    bar = st.progress(0.0, text="Checking the file…")

    def take(tickets: int) -> None:
        # What was counted before the import was broken off is not counted again.
        if tickets > far.paid:
            engine.limits.take("import", operator, amount=tickets - far.paid)
            far.paid = tickets

    def progress(done: int, total: int) -> None:
        far.done, far.total, far.paid = done, total, total - done
        # A click that is waiting ends the run in this line, while there is something left to route.
        if done < total:
            bar.progress(done / total, text=f"{done:,} of {total:,} tickets routed")

    try:
        # A change of the embedder must not close the engine before the file is through.
        with process.kept(engine):
            most = engine.settings.rate_import_per_hour
            file = imports.read(content, name=name, router=engine.router, created_by=operator, most=most)
            result = imports.run(file, router=engine.router, store=engine.decisions, progress=progress, take=take)
            decided = {decision.ticket_id: decision for decision in result.decisions}
            decided |= engine.decisions.several([ticket.id for ticket in file.tickets if ticket.id not in decided])
        there = [ticket for ticket in file.tickets if ticket.id in decided]
        frame = decision_view.table([decided[ticket.id] for ticket in there], [ticket.body for ticket in there])
        far.stored, far.answers = result.already_stored, export.csv_bytes(list(frame.columns), frame.itertuples(index=False, name=None))
        far.frame = frame
    except (ServiceUnavailable, StatementRefused) as error:
        bar.empty()
        when = "upload the same file again" if isinstance(error, ServiceUnavailable) else "once that is mended, upload the same file again"
        mishap.told(f"The import stopped. What was routed before is stored; {when} and it goes on.", error)
        return
    except ConsoleError as error:
        bar.empty()
        mishap.told("The import stopped." if far.done else "The file was not imported.", error, icon=":material/block:")
        return
    bar.empty()
