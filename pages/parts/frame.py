"""The main script of every visit: navigation by role, then the chosen page."""
from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

PAGES = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PAGES.parent)) if str(PAGES.parent) not in sys.path else None

st.set_page_config(page_title="Routing console", page_icon=":material/alt_route:", layout="wide")


def page(name: str, title: str, icon: str, *, default: bool = False):  # noqa: ANN201 - Streamlit's own type
    """A page by its file, whose absolute path keeps Streamlit from finding pages by itself."""
    return st.Page(str(PAGES / f"{name}.py"), title=title, icon=f":material/{icon}:", url_path=name, default=default)


st.navigation(
    [
        page("submit", "Submit", "send", default=True),
        page("review", "Review", "fact_check"),
        page("dashboard", "Dashboard", "monitoring"),
    ]
).run()
