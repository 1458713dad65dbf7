"""Accuracy: is the shown confidence true, and how much could be routed alone?"""
from __future__ import annotations

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import mishap, trust
from pages.parts.guard import open_page

operator, engine = open_page("Accuracy", caption="What the console claimed, against what supervisors found.")

try:
    state, demo, snapshot = engine.state.current(), engine.tracking.demo, engine.tracking.snapshot()
    evidence = engine.tracking.evidence()
    policy, departments = engine.policies.live(), [d.name for d in engine.taxonomy.departments()]
    comparable = evidence.comparable(departments, embedder=state.versions["embedder"])
    mistakes, sampled = engine.reviewed.confident_mistakes(demo=demo), engine.reviewed.sampled(demo=demo)
    audits, volume = engine.reviewed.audits(demo=demo), engine.reviewed.volume(demo=demo)
    overtaken = not demo and not len(evidence) and engine.reviewed.sampled(demo=True).labelled > 0
except ConsoleError as error:
    mishap.told("The labels cannot be read at the moment. None is lost.", error)
    st.stop()

if demo and len(evidence):
    st.info("These are demo tickets. From the first real ticket on, only real ones are counted.", icon=":material/science:")
if not len(evidence):
    gone = " Demo tickets no longer count: there are real ones now." if overtaken else ""
    st.info(
        f"No label yet of a ticket that chance chose.{gone} Only such labels say how often the console is right; what somebody picked teaches the router. "
        "Label the tickets that wait on the Review page: every one makes this page truer.", icon=":material/rule:",
    )
    st.stop()

trust.summary(snapshot, evidence, sampled, audits)
# What the slider begins with, and what labels are still needed for.
derived = trust.derived(comparable, policy, departments)
left, right = st.columns(2, gap="large")
with left:
    trust.reliability_diagram(evidence)
    trust.calibration(state.model)
with right:
    trust.slider(comparable, policy, volume, departments, snapshot, derived)
trust.cells(snapshot, policy)
few = len(trust.departments_seen(evidence)) <= trust.BESIDE
left, right = st.columns(2, gap="large") if few else (st.container(), st.container())
with left:
    trust.confusion(evidence)
with right:
    trust.labels_needed(policy, derived)
trust.mistakes(mistakes)
