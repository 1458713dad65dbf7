"""The first line of every page: who is here, and the engine; or the page stops."""
from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from engine import bootstrap
from engine.bootstrap import Engine
from engine.errors import ConsoleError


@dataclass(frozen=True, slots=True)
class Operator:
    """Who works on the page."""

    name: str
    role: str


def open_page(title: str, *, caption: str = "") -> tuple[Operator, Engine]:
    """Write the page's title and return operator and engine, or show why the console cannot work and stop."""
    st.title(title, anchor=False)
    if caption:
        st.caption(caption)
    try:
        return Operator("operator", "admin"), bootstrap.running()
    except ConsoleError as error:
        st.error("The console cannot start. Nothing that was stored is lost.", icon=":material/cloud_off:")
        st.text(str(error))
        st.stop()
