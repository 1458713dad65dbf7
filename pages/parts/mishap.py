"""What a page says when something went wrong that nobody foresaw."""
from __future__ import annotations

import streamlit as st


def shown(_: Exception) -> bool:
    """Say so in place of the framework's own words; the log has the error's type and place."""
    st.error(
        "Something unexpected went wrong, and the page stopped here. What you sent last was not confirmed.",
        icon=":material/error:",
    )
    st.text("Look whether it is stored before you send it again. If it happens again, tell whoever runs the console; its log says where it was.")
    return True
