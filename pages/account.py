"""Account: one's own password, sessions and API tokens."""
from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.access import TABLE, Role
from engine.errors import ConsoleError
from pages.parts import mishap, people, words
from pages.parts.guard import open_page

operator, engine = open_page("Account")

people.show_note()
try:
    user = engine.accounts.named(operator.name)
    sessions, tokens = engine.sessions.of_user(user.id), engine.tokens.all(user_id=user.id)
except ConsoleError as error:
    mishap.told("Your account cannot be read at the moment. Nothing is lost.", error)
    st.stop()

st.subheader("Signed in", anchor=False)
rows = [(s.seen_at, s.address, words.browser(s.browser), "this one" if s.key == operator.session else "") for s in sessions]
st.dataframe(pd.DataFrame(rows, columns=["Last used (UTC)", "From", "Browser", "Session"]), hide_index=True, width="stretch", column_config=words.TIMES)
if st.button("Sign out everywhere else", key="sign_out_all", icon=":material/logout:", disabled=len(sessions) < 2):
    people.did(
        "You are signed out everywhere else.",
        lambda: engine.accounts.sign_out_everywhere(operator.name, by=operator.name, but=operator.session),
    )
if user.source == "local":
    st.html('<a href="/auth/password">Change your password</a>')
else:
    st.caption("You sign in with your organisation, so your password is changed there.")

st.subheader("API tokens", anchor=False)
st.caption("A token lets a machine do some of what you may do. It stops working when your account does.")
if tokens:
    st.dataframe(people.token_table(tokens), hide_index=True, width="stretch", placeholder="", column_config=words.TIMES)
    people.revoke(tokens, engine=engine, by=operator.name, user_id=user.id)
with st.form("token", border=True):
    name = st.text_input("What is it for?", key="token_name", max_chars=120)
    scopes = st.multiselect("Scopes", sorted(TABLE[Role(operator.role)]), key="token_scopes")
    days = st.number_input("Days until it expires", min_value=1, max_value=366, value=90, key="token_days")
    if st.form_submit_button("Make a token", key="make_token", icon=":material/key:"):
        people.did(
            f"The token {name} is made.",
            lambda: engine.tokens.make(user, name=name, scopes=scopes, days=int(days), by=operator.name),
        )
