"""The first line of every page: who is here and the engine, or the page stops."""
from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import streamlit as st

from engine import access, audit, process
from engine.access import Permission, Role
from engine.bootstrap import Engine
from engine.errors import ConsoleError
from engine.web import gate
from pages.parts import mishap


@dataclass(frozen=True, slots=True)
class Operator:
    """Who works on the page. `session` names the session without opening it."""

    name: str
    role: str
    session: str = ""
    user_id: int = 0
    source: str = "local"
    address: str = ""

    def may(self, permission: Permission | str) -> bool:
        """True when the operator's role holds the permission."""
        return access.allowed(self.role, permission)


def presented_session() -> str:
    """The key of the session that the gate let in; without a gate the page stops. Page tests replace this one function."""
    if not gate.stands():
        st.error("This page was started without the console's sign-in in front of it, so it shows nothing.", icon=":material/lock:")
        st.text("Start the console with `make run` or `python -m engine serve`.")
        st.stop()
    return str(st.user.get("sid") or "")


def who() -> Operator | None:
    """The operator of this run as the database knows them now, None without a living session. Raises ConsoleError."""
    # The key first: a page that was started by itself must not start an engine either.
    key = presented_session()
    session = process.running().sessions.find(key)
    if session is None or session.must_change:
        return None
    audit.coming_from(session.address)
    return Operator(session.name, session.role, session.key, session.user_id, session.source, session.address)


def open_page(title: str, *, caption: str = "") -> tuple[Operator, Engine]:
    """Write the page's title and return operator and engine, or say why not and stop the page.

    Which role it is open to stands in the access table under the page's file name.
    """
    page = Path(sys._getframe(1).f_code.co_filename).stem
    try:
        operator, engine = who(), process.running()
    except ConsoleError as error:
        st.title(title, anchor=False)
        mishap.told("The console cannot start. Nothing that was stored is lost.", error)
        st.stop()
    if operator is None:
        ask_to_sign_in()
    if not access.opens(operator.role, page):
        refuse(operator.role, access.PAGES.get(page))
    st.title(title, anchor=False)
    if caption:
        st.caption(caption)
    return operator, engine


def refuse(role: str, permission: Permission | None) -> NoReturn:
    """Say which roles hold the permission of a page that is not open to this one, and stop."""
    *others, last = [f"{one}s" for one in Role if permission is not None and access.allowed(one, permission)] or ["nobody"]
    holders = f"{', '.join(others)} and {last}" if others else last
    st.error(f"This page is not open to your role, {role}. It opens for {holders}. Ask an admin if you need it.", icon=":material/lock:")
    st.stop()


def here(operator: Operator) -> None:
    """The first line of a part that runs alone: what is done in it comes from where the operator is. The page's own guard
    does not run then; whether the session still lives has been asked by the gate.
    """
    audit.coming_from(operator.address)


def ask_to_sign_in() -> NoReturn:
    """Say that the session has ended, with the way to sign in, and stop."""
    st.warning("Your session has ended. Sign in again to go on.", icon=":material/lock:")
    st.html('<a href="/auth/login">Sign in</a>')
    st.stop()
