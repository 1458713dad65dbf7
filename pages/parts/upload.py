"""A file of tickets on the Submit page: check it as a whole, route it with a progress bar, take the answers home."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine import export, imports
from engine.bootstrap import Engine
from engine.errors import ConsoleError, ServiceUnavailable
from pages.parts import decision as decision_view
from pages.parts import words

EXAMPLE = 'body,subject,channel,customer_ref,priority,ticket_id\n"you took the money twice for my october bill",,chat,C-1001,normal,\n'


def show(*, engine: Engine, operator: str) -> None:
    """The uploader, and what came of it."""
    st.markdown("A CSV in UTF-8 with the column `body`; `subject`, `channel`, `priority`, `customer_ref` and `ticket_id` are optional.")
    st.download_button("Download an example", EXAMPLE, "tickets.csv", "text/csv", icon=":material/download:", key="example")
    file = st.file_uploader("CSV file", type=["csv"], key="file")
    if file is None:
        st.session_state.pop("imported", None)
        return
    if st.button("Route the file", type="primary", key="import", icon=":material/upload_file:"):
        _run(file.getvalue(), file.name, engine=engine, operator=operator)
    if "imported" in st.session_state:
        frame, before = st.session_state["imported"]
        earlier = f" {before:,} were stored by an earlier run and left as they are." if before else ""
        st.success(f"{len(frame):,} tickets routed and stored.{earlier}", icon=":material/check_circle:")
        st.dataframe(frame, hide_index=True, width="stretch", column_config=decision_view.CONFIDENCE_COLUMN)
        answers = export.csv_bytes(list(frame.columns), frame.itertuples(index=False, name=None))
        st.download_button("Download the answers", answers, "answers.csv", "text/csv", icon=":material/download:", key="answers")


def _run(content: bytes, name: str, *, engine: Engine, operator: str) -> None:
    bar = st.progress(0.0, text="Checking the file…")
    try:
        file = imports.read(content, name=name, router=engine.router, created_by=operator)
        result = imports.run(
            file, router=engine.router, store=engine.decisions,
            progress=lambda done, total: bar.progress(done / total, text=f"{done:,} of {total:,} tickets routed"),
        )
    except ServiceUnavailable as error:
        bar.empty()
        st.session_state.pop("imported", None)
        st.error("The import stopped. What was routed so far is stored; upload the same file again and it goes on.", icon=":material/cloud_off:")
        st.text(str(error))
        return
    except ConsoleError as error:
        bar.empty()
        st.session_state.pop("imported", None)
        st.error("The file was not imported.", icon=":material/block:")
        st.text(str(error))
        return
    bar.empty()
    bodies = {ticket.id: ticket.body for ticket in file.tickets}
    frame = decision_view.table(result.decisions, [bodies[d.ticket_id] for d in result.decisions])
    st.session_state["imported"] = (frame, result.already_stored)


def latest_table(rows: Sequence[Any]) -> pd.DataFrame:
    """The newest decisions for a table."""
    shown = [
        (r.created_at, r.body, r.overruled_to or r.department, 100 * float(r.confidence), words.METHOD[r.method], r.ticket_id) for r in rows
    ]
    return pd.DataFrame(shown, columns=["Time (UTC)", "Text", "Department", "Confidence", "Method", "Ticket"])
