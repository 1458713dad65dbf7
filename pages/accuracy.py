"""Accuracy: is the shown confidence true, and how much could be routed alone?"""
from __future__ import annotations

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import trust
from pages.parts.guard import open_page

operator, engine = open_page("Accuracy", caption="What the console claimed, against what supervisors found.")

try:
    snapshot = engine.tracking.snapshot()
    evidence = engine.tracking.evidence()
    policy, departments = engine.policies.live(), [d.name for d in engine.taxonomy.departments()]
    mistakes = engine.reviewed.confident_mistakes(demo=engine.tracking.demo)
    audited, false_hits = engine.reviewed.audits(demo=engine.tracking.demo)
    volume = engine.reviewed.volume(demo=engine.tracking.demo)
except ConsoleError as error:
    st.error("The labels cannot be read at the moment. None is lost.", icon=":material/cloud_off:")
    st.text(str(error))
    st.stop()

if engine.tracking.demo and len(evidence):
    st.info("These are demo tickets. From the first real ticket on, only real ones are counted.", icon=":material/science:")
if not len(evidence):
    st.info("No label yet. Label tickets on the Review page; every label makes this page truer.", icon=":material/rule:")
    st.stop()

trust.summary(snapshot, evidence, audited, false_hits)
left, right = st.columns(2, gap="large")
with left:
    trust.reliability_diagram(evidence)
with right:
    trust.slider(evidence, policy, volume)
trust.cells(snapshot, policy)
left, right = st.columns(2, gap="large")
with left:
    trust.confusion(evidence)
with right:
    trust.labels_needed(evidence, policy, departments)
trust.mistakes(mistakes)
