"""Audit log: who did what to which object, from where; admins only."""
from __future__ import annotations

from datetime import UTC, datetime, time

import streamlit as st

from engine import audit_csv
from engine.errors import ConsoleError
from pages.parts import files, mishap, trail, words
from pages.parts.guard import open_page

operator, engine = open_page("Audit log", caption="Rows are only ever added; each one seals the one before it.")

one, two, three, four = st.columns(4)
try:
    actors, actions = ["", *engine.audit.actors()], ["", *engine.audit.actions()]
    actor = one.selectbox("Who", actors, format_func=lambda name: name or "Anybody", key="actor")
    action = two.selectbox("What", actions, format_func=lambda name: name.replace("_", " ") or "Anything", key="action")
    held = three.text_input("Object holds", key="object", max_chars=200)
    since = four.date_input("Since", value=None, key="since")
    from_ = datetime.combine(since, time.min, UTC) if since else None
    rows = engine.audit.find(limit=501, actor=actor, action=action, words=held, since=from_)
except ConsoleError as error:
    mishap.told("The audit log cannot be read at the moment. Nothing is lost.", error)
    st.stop()

more, rows = len(rows) > 500, rows[:500]
if rows:
    st.dataframe(trail.table(rows), hide_index=True, width="stretch", column_config={
        **words.TIMES, **trail.WIDTHS,
    })
    st.caption(f"The newest {len(rows):,} rows that fit.")
    if more:
        st.caption(f"The file holds more: up to {audit_csv.MOST:,} rows, the newest that fit. If there are still more, its last line says so.")
    files.button(
        "Download as CSV", "/files/audit.csv", key="audit_csv", actor=actor, action=action, object=held, since=since.isoformat() if since else "",
    )
else:
    st.info("No row fits.", icon=":material/history:")
if st.button("Check the chain", key="verify", icon=":material/verified:"):
    trail.verify(engine)
