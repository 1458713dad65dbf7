"""System: one row for each service, what is different while one is away, and what waits."""
from __future__ import annotations

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import services
from pages.parts.guard import here, open_page

operator, engine = open_page("System", caption="What the console stands on, and what is different while something is away.")


@st.fragment(run_every=10.0)
def overview() -> None:
    """Everything that changes by itself."""
    here(operator)
    with st.spinner("Asking the services…"):
        reports = engine.health.report()
    services.banner(reports)
    services.table(reports)


overview()

st.subheader("Test a service now", anchor=False)
services.test_buttons(engine)

left, right = st.columns(2)
with left:
    st.subheader("Waiting", anchor=False)
    services.waiting(engine)
with right:
    st.subheader("Language model", anchor=False)
    services.usage(engine)

st.subheader("Embedding", anchor=False)
try:
    services.embedding(engine)
except ConsoleError as error:
    st.warning("How far the embedding is cannot be read at the moment.", icon=":material/cloud_off:")
    st.text(str(error))
