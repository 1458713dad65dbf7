"""Submit: one ticket, or a file of them; the answer at once."""
from __future__ import annotations

import streamlit as st

from pages.parts import decision as decision_view
from pages.parts import draft, latest, upload
from pages.parts.guard import open_page

operator, engine = open_page("Submit a ticket", caption="Type what the customer said. The console says where it goes, and how sure it is.")

own = draft.desk()
draft.accept(own, engine=engine, operator=operator.name)
single, many = st.tabs(["One ticket", "A file of tickets"])

with single:
    left, right = st.columns([5, 6], gap="large")
    with left:
        draft.form(own)
    place = right
    if own.waiting:
        # No other ticket's answer beside it: an element in its place takes all of it away, another container there would not.
        place, on_its_way = right.empty(), right.empty()
        with on_its_way.container():
            decision_view.asked(own.waiting[-1].ticket)
            with st.spinner("Routing…"):
                draft.route(own, engine=engine)
        on_its_way.empty()
        if own.wanted:
            st.rerun()
    with place.container(key="answer"):
        decision_view.answers(own, engine=engine, operator=operator.name)

with many:
    upload.show(engine=engine, operator=operator.name)

latest.show(engine=engine, operator=operator)
