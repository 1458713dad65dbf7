"""Users: who may work here, as what; admins only."""
from __future__ import annotations

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import mishap, people, words
from pages.parts.guard import open_page

operator, engine = open_page("Users", caption="A user who leaves is disabled, not deleted: history keeps the name.")

people.show_note()
try:
    users, tokens = engine.accounts.all(), engine.tokens.all()
except ConsoleError as error:
    mishap.told("The users cannot be read at the moment. Nothing is lost.", error)
    st.stop()

everybody, new, machines = st.tabs(["Everybody", "Add a user", "API tokens"])
with everybody:
    st.dataframe(people.table(users), hide_index=True, width="stretch", placeholder="", column_config=words.TIMES)
    people.change(users, engine=engine, by=operator.name)
with new:
    people.add(engine=engine, by=operator.name)
with machines:
    if tokens:
        st.dataframe(people.token_table(tokens), hide_index=True, width="stretch", placeholder="", column_config=words.TIMES)
        people.revoke(tokens, engine=engine, by=operator.name)
    else:
        st.caption("Nobody has made an API token yet. Everybody makes their own on the Account page.")
