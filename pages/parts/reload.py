"""The messages that make an open page load again, whatever it shows, and what one of them has to say afterwards."""
from __future__ import annotations

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from engine.bootstrap import Engine

_TOLD, _LONG = "told", "too-long"


def _message(url: str) -> bytes:
    # The front end goes to the address in it; an empty one is the page's own, with its query.
    forward = ForwardMsg()
    forward.auth_redirect.url = url
    forward.auth_redirect.SetInParent()
    return forward.SerializeToString()


MESSAGE, TOO_LONG = _message(""), _message(f"?{_TOLD}={_LONG}")


def tell(engine: Engine) -> None:
    """Why the page was loaded again, said once, where its address has a reason; an ended session's stands on the sign-in page."""
    if st.query_params.get(_TOLD) == _LONG:
        del st.query_params[_TOLD]
        # Not an element of the page: its next run, which may begin by itself, would take that away.
        st.toast(
            f"Too long, so not taken; the fields are empty now. Send it again, with {engine.settings.ticket_max_characters:,} characters at most.",
            icon=":material/block:", duration="infinite",
        )
