"""Departments: where a ticket can go; admins change, retire and replace them."""
from __future__ import annotations

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import mishap, taxonomy_form
from pages.parts.guard import open_page

operator, engine = open_page("Departments", caption="Where a ticket can go. Retiring one keeps its history; nothing is routed there any more.")

# A place that is always there: where what is below moves up or down, the browser closes what was opened there.
with st.container(key="done_departments"):
    taxonomy_form.show_notes()
try:
    departments, topics, exemplars = engine.taxonomy.departments(retired=True), engine.taxonomy.topics(), engine.exemplars.count()
except ConsoleError as error:
    mishap.told("The departments cannot be read at the moment. Nothing is lost.", error)
    st.stop()

changed = taxonomy_form.edit(departments, topics)
if st.button("Save", type="primary", key="save_departments", icon=":material/save:", disabled=not changed):
    taxonomy_form.save(changed, engine=engine, operator=operator.name)

with st.expander("Add a department"):
    taxonomy_form.add(engine=engine, operator=operator.name)
with st.expander("Replace departments, topics and exemplars by your own"):
    st.caption(f"At present {exemplars:,} labelled tickets are learned from. Everything is checked first; with an error nothing is changed.")
    taxonomy_form.replace(engine=engine, operator=operator.name)
