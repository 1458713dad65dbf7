"""A raw client of the pages' websocket: it sends what a browser sends, and whatever else it likes."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from engine.web.gate import COOKIE


@dataclass(slots=True)
class Run:
    """What one run of a page sent: headings, all other texts, and the pages that the navigation shows (url path -> script hash).

    `fragments` are the parts that may be asked for alone, `buttons` their ids by label, `session` the pages' own number of this visit.
    """

    headings: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    fragments: set[str] = field(default_factory=set)
    buttons: dict[str, str] = field(default_factory=dict)
    session: str = ""
    not_found: bool = False


@contextmanager
def opened(url: str, cookie: str = "", *, resume: str = "", **headers: str) -> Iterator[ClientConnection]:
    """An open websocket, which asks to go on with the visit `resume`. Raises websockets' InvalidStatus when the console refuses it."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if cookie:
        sent["Cookie"] = f"{COOKIE}={cookie}"
    address = url.replace("http://", "ws://") + "/_stcore/stream"
    with connect(address, additional_headers=sent, subprotocols=["streamlit", *(["none", resume] if resume else [])], max_size=None, open_timeout=30) as socket:
        yield socket


def wanted(*, page: str = "", script_hash: str = "", fragment: str = "", pressed: str = "") -> bytes:
    """The message that asks for a run of a page, or of a part of it, as after the button with the id `pressed`."""
    message = BackMsg()
    message.rerun_script.query_string = ""
    message.rerun_script.page_name = page
    message.rerun_script.page_script_hash = script_hash
    message.rerun_script.fragment_id = fragment
    if pressed:
        message.rerun_script.widget_states.widgets.add(id=pressed, trigger_value=True)
    return message.SerializeToString()


def until_closed(socket: ClientConnection, message: bytes, *, timeout: float = 60) -> tuple[list[ForwardMsg], int]:
    """Send a message that must end the visit: what still came, and the code of the end."""
    socket.send(message)
    came = []
    while True:
        try:
            came.append(ForwardMsg.FromString(socket.recv(timeout=timeout)))
        except ConnectionClosed as closed:
            return came, closed.rcvd.code if closed.rcvd else 0


def run(socket: ClientConnection, *, page: str = "", script_hash: str = "", fragment: str = "", pressed: str = "", timeout: float = 60) -> Run:
    """Ask for a run of a page by its url path or by its script's hash, or of a part of it, and read until it has finished."""
    socket.send(wanted(page=page, script_hash=script_hash, fragment=fragment, pressed=pressed))
    result = Run()
    while True:
        forward = ForwardMsg()
        forward.ParseFromString(socket.recv(timeout=timeout))
        kind = forward.WhichOneof("type")
        if kind == "delta" and forward.delta.fragment_id:
            result.fragments.add(forward.delta.fragment_id)
        if kind == "auto_rerun":
            result.fragments.add(forward.auto_rerun.fragment_id)
        if kind == "new_session":
            result.session = forward.new_session.initialize.session_id
        if kind == "delta" and forward.delta.WhichOneof("type") == "new_element":
            element = forward.delta.new_element
            what = element.WhichOneof("type")
            if what == "heading":
                result.headings.append(element.heading.body)
            else:
                result.texts.append(str(getattr(element, what)))
            if what == "button":
                result.buttons[element.button.label] = element.button.id
        elif kind == "navigation":
            result.pages = {one.url_pathname: one.page_script_hash for one in forward.navigation.app_pages if not one.is_hidden}
        elif kind == "page_not_found":
            result.not_found = True
        elif kind == "script_finished":
            return result
