"""A raw client of the pages' websocket: it sends what a browser sends, and whatever else it likes."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from engine.web.gate import COOKIE


@dataclass(slots=True)
class Run:
    """What one run of a page sent: headings, all other texts, and the navigation's pages (url path -> script hash)."""

    headings: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    not_found: bool = False


@contextmanager
def opened(url: str, cookie: str = "", **headers: str) -> Iterator[ClientConnection]:
    """An open websocket. Raises websockets' InvalidStatus when the console refuses it."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if cookie:
        sent["Cookie"] = f"{COOKIE}={cookie}"
    address = url.replace("http://", "ws://") + "/_stcore/stream"
    with connect(address, additional_headers=sent, subprotocols=["streamlit"], max_size=None, open_timeout=30) as socket:
        yield socket


def run(socket: ClientConnection, *, page: str = "", script_hash: str = "", timeout: float = 60) -> Run:
    """Ask for a run of a page by its url path or by its script's hash, and read until it has finished."""
    message = BackMsg()
    message.rerun_script.query_string = ""
    message.rerun_script.page_name = page
    message.rerun_script.page_script_hash = script_hash
    socket.send(message.SerializeToString())
    result = Run()
    while True:
        forward = ForwardMsg()
        forward.ParseFromString(socket.recv(timeout=timeout))
        kind = forward.WhichOneof("type")
        if kind == "delta" and forward.delta.WhichOneof("type") == "new_element":
            element = forward.delta.new_element
            what = element.WhichOneof("type")
            if what == "heading":
                result.headings.append(element.heading.body)
            else:
                result.texts.append(str(getattr(element, what)))
        elif kind == "navigation":
            result.pages = {one.url_pathname: one.page_script_hash for one in forward.navigation.app_pages}
        elif kind == "page_not_found":
            result.not_found = True
        elif kind == "script_finished":
            return result
