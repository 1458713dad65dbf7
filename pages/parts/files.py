"""Buttons for files that the server makes when they are pressed (`engine/web/files.py`)."""
from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import streamlit as st


def button(label: str, path: str, *, key: str, **asked: str | Sequence[str]) -> None:
    """A button that takes the file of this path; `asked` goes into its address, several values of one name each by itself."""
    given = {name: value for name, value in asked.items() if value}
    st.link_button(label, f"{path}?{urlencode(given, doseq=True)}" if given else path, icon=":material/download:", key=key)
