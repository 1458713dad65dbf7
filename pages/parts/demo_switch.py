"""The dashboard's switch for demo tickets. By itself it stands as the Accuracy page counts: they count while there are no others."""
from __future__ import annotations

import streamlit as st

from engine.bootstrap import Engine
from engine.errors import ServiceUnavailable

# Whether there were only demo tickets when the switch was drawn.
_ALONE = "dashboard_alone"


def show(engine: Engine) -> bool:
    """Whether demo tickets count. Nothing in the page's address says that the switch stands by itself, so where it did, it follows."""
    alone = _only_demo(engine)
    if "demo" in st.session_state and overtaken(engine, demo=st.session_state["demo"]):
        st.session_state["demo"] = alone
    st.session_state[_ALONE] = alone
    return st.toggle("Demo tickets", value=alone, key="demo", bind="query-params", help="Count the made-up tickets of the demo as well")


def overtaken(engine: Engine, *, demo: bool) -> bool:
    """Whether the first real ticket has come since the switch was drawn, and it stood, `demo`, by itself."""
    return demo == st.session_state.get(_ALONE) != _only_demo(engine)


def _only_demo(engine: Engine) -> bool:
    """As it was before, or True, where nobody can be asked."""
    try:
        return engine.tracking.demo
    except ServiceUnavailable:
        return bool(st.session_state.get(_ALONE, True))
