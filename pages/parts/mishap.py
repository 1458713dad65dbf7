"""What a page says when something went wrong, foreseen or not."""
from __future__ import annotations

import streamlit as st

from engine.errors import ConsoleError


def told(what: str, error: ConsoleError, *, icon: str = ":material/cloud_off:") -> None:
    """What was not done or cannot be shown, and why. The reason may hold names that people chose: plain text, never Markdown."""
    st.error(what, icon=icon)
    st.text(str(error))


def shown(_: Exception) -> bool:
    """Say so in place of the framework's own words; the log has the error's type and place."""
    st.error(
        "Something unexpected went wrong, and the page stopped here. What you sent last was not confirmed.",
        icon=":material/error:",
    )
    st.text("Look whether it is stored before you send it again. If it happens again, tell whoever runs the console; its log says where it was.")
    return True
