"""The message that makes an open page load again, whatever it shows."""
from __future__ import annotations

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


def _message() -> bytes:
    # The front end goes to the address in it; an empty one is the page's own, with its query.
    forward = ForwardMsg()
    forward.auth_redirect.url = ""
    forward.auth_redirect.SetInParent()
    return forward.SerializeToString()


MESSAGE = _message()
