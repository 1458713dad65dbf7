"""Tables and forms about users and their API tokens."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from engine.access import Role
from engine.bootstrap import Engine
from engine.errors import ConsoleError
from engine.tokens import held, standing
from pages.parts import mishap, second_click, words

ROLES = {
    Role.AGENT: "submits tickets, sees their own, overrules",
    Role.SUPERVISOR: "also reviews outcomes and sees accuracy",
    Role.MANAGER: "also sees dashboards and alerts, changes the policy",
    Role.ADMIN: "also manages users, departments and the system",
}



@dataclass(slots=True)
class Note:
    """What an action did, and the one-time password or token that it made. `ended`: seconds of the monotonic clock; `clears`: the field
    that is empty from then on.
    """

    done: str
    secret: str
    ended: float
    clears: str = ""
    shown: bool = False


def _notes() -> list[Note]:
    # One object, changed without a line that touches the session: a click ends the run at such a line, and a secret is nowhere else.
    own: list[Note] = st.session_state.setdefault("people_notes", [])
    return own


def show_note() -> None:
    """What the last action did, and the one-time password it made: shown this one time."""
    own = _notes()
    # A second click starts a run of its own, which must not take away what was just shown.
    own[:] = [note for note in own if second_click.near(note.ended) or not note.shown]
    for note in own:
        if note.clears and not note.shown:
            st.session_state[note.clears] = ""
    # A place that is always there: where what is below moves up or down, the browser shows the first tab again. The pages' script
    # (engine/web/page.js) says and shows what stands in it, and says the same words again under another name.
    with st.container(key=f"done_people_{own[-1].ended if own else 0:.0f}"):
        for note in own:
            st.success(words.plain(note.done), icon=":material/check_circle:")
            if note.secret:
                st.markdown("Hand this over. It is shown this one time:")
                st.code(note.secret, language=None)
            note.shown = True


def did(what: str, action: Callable[[], Any], *, clears: str = "") -> None:
    """Run an action and show the page again with what it did; a failure is said in place. The same again at once is a double click, and
    so is another one while the field that the first has emptied, `clears`, still is.
    """
    own = _notes()
    emptied = bool(clears) and not st.session_state[clears]
    if any((note.done == what or (emptied and note.clears == clears)) and second_click.near(note.ended) for note in own):
        return
    try:
        secret = action()
    except ConsoleError as error:
        mishap.told("That was not done.", error, icon=":material/block:")
        return
    own.append(Note(what, secret if isinstance(secret, str) else "", time.monotonic(), clears))
    st.rerun()


def table(users: Sequence[Any]) -> pd.DataFrame:
    """Everybody in a table."""
    rows = [
        (u.name, u.role, "disabled" if u.disabled_at else ("must choose a password" if u.must_change else "active"), u.source, u.signed_in_at)
        for u in users
    ]
    return pd.DataFrame(rows, columns=["Name", "Role", "State", "Signs in by", "Last sign-in (UTC)"])


def change(users: Sequence[Any], *, engine: Engine, by: str) -> None:
    """Another role, a new password, sign-out, disabling: for one chosen user."""
    by_name = {user.name: user for user in users}
    name = st.selectbox("User", list(by_name), index=None, key="user", placeholder="Choose a user to change")
    if name is None:
        return
    user, accounts = by_name[name], engine.accounts
    role = st.selectbox("Role", list(Role), index=list(Role).index(Role(user.role)), format_func=lambda r: f"{r}: {ROLES[r]}", key=f"role_{name}")
    # The pages' script (engine/web/page.js) finds by this name where the keyboard goes on after a click.
    with st.container(horizontal=True, key="rests_user"):
        if st.button("Save the role", key="save_role", disabled=role == user.role, icon=":material/save:"):
            did(f"{name} is {role} now.", lambda: accounts.set_role(name, role, by=by))
        if user.source == "local" and not user.disabled_at and st.button("New one-time password", key="reset", icon=":material/key:"):
            did(f"{name} has a new password and is signed out everywhere.", lambda: accounts.reset_password(name, by=by))
        if st.button("Sign out everywhere", key="sign_out_user", icon=":material/logout:"):
            did(f"{name} is signed out everywhere.", lambda: accounts.sign_out_everywhere(name, by=by))
        if user.disabled_at and st.button("Enable", key="enable", icon=":material/person_check:"):
            did(f"{name} may sign in again.", lambda: accounts.enable(name, by=by))
        if not user.disabled_at and st.button("Disable", key="disable", icon=":material/person_off:"):
            did(f"{name} is disabled and signed out.", lambda: accounts.disable(name, by=by))


def add(*, engine: Engine, by: str) -> None:
    """A new user with a one-time password."""
    with st.form("new_user", border=False):
        name = st.text_input("Name", key="new_name", max_chars=120, help="Letters a-z, digits and . _ @ + -")
        role = st.selectbox("Role", list(Role), format_func=lambda r: f"{r}: {ROLES[r]}", key="new_role")
        if st.form_submit_button("Add the user", type="primary", key="add_user", icon=":material/person_add:"):
            did(f"{name} is added as {role}.", lambda: engine.accounts.add(name, role=role, by=by)[1], clears="new_name")


def token_table(tokens: Sequence[Any]) -> pd.DataFrame:
    """API tokens without their secrets; scopes that the owner's role has lost are left out, since they open nothing."""
    now = datetime.now(UTC)
    rows = [
        (t.name, t.user_name, standing(t, now=now), t.used_at, t.expires_at, t.id, ", ".join(sorted(held(t)))) for t in tokens
    ]
    return pd.DataFrame(rows, columns=["Token", "Owner", "State", "Last used (UTC)", "Expires (UTC)", "Id", "Scopes"])


def revoke(tokens: Sequence[Any], *, engine: Engine, by: str, user_id: int | None = None) -> None:
    """End one token."""
    living = {token.id: f"{token.name} ({token.user_name}, {token.id})" for token in tokens if token.revoked_at is None}
    chosen = st.selectbox("Token", list(living), index=None, format_func=living.__getitem__, key="revoke_token")
    if st.button("Revoke it", key="revoke", disabled=chosen is None, icon=":material/key_off:"):
        did(f"The token {living.get(chosen, chosen)} is revoked.", lambda: engine.tokens.revoke(str(chosen), by=by, user_id=user_id))
