"""Policy: what managers ask for, what it would mean, and every policy that ever was in force."""
from __future__ import annotations

from dataclasses import replace

import streamlit as st

from engine import policy as policies
from engine import policy_words
from engine.errors import ConsoleError
from pages.parts import mishap, policy_form, policy_kept, policy_outlook, policy_saving, policy_start
from pages.parts.guard import open_page

operator, engine = open_page("Policy", caption="How sure the console must be before a ticket goes its way without a person.")

try:
    live, departments = engine.policies.live(), [d.name for d in engine.taxonomy.departments()]
    state, demo, snapshot = engine.state.current(), engine.tracking.demo, engine.tracking.snapshot()
    evidence = engine.tracking.evidence().comparable(departments, embedder=state.versions["embedder"])
    history, sampled, kept = engine.policies.all(), engine.reviewed.sampled(demo=demo), policy_kept.read(engine, demo=demo)
except ConsoleError as error:
    mishap.told("The policies cannot be read at the moment. The live one stays in force.", error)
    st.stop()

policy_saving.told()
seen, start = policy_start.seen(live), policy_start.current(live, departments)
by = {"departments": departments, "author": operator.name}
st.subheader(f"Policy {live.number} is in force" if live.number else "The built-in defaults are in force", anchor=False)
# Places that are always there: what is opened below stays open.
with st.container():
    policy_kept.show(live, kept)
with st.container():
    if not demo and (applied := policy_outlook.offer(policies.overdue(live, evidence, departments), live, labels=len(evidence))):
        policy_saving.put_in_force(
            lambda: policies.save(policies.derived(live, evidence, departments)[0], engine.policies, reason=applied, based_on=seen, **by),
            ("newer", live.number), engine,
        )
above = st.container()
draft = policy_form.edit(start)
with above:
    policy_start.follow(start, draft, live, departments, history)
derived, thresholds = policies.derived(draft, evidence, departments)
policy_outlook.assumption(evidence, sampled, model=state.versions["model"].partition("+")[0], demo=demo)
proposed = policy_form.proposed(start, draft, derived)
policy_outlook.promise(derived, thresholds)
policy_outlook.compare(live, proposed, evidence, snapshot)

reason = st.text_input("Why this change?", key="policy_reason", max_chars=policies.REASON_MAX, placeholder="So that others can follow it later")
if st.button("Put it in force", type="primary", key="save_policy", icon=":material/published_with_changes:"):
    wanted = draft if demo else proposed
    policy_saving.put_in_force(
        lambda: policies.save(wanted, engine.policies, reason=reason, based_on=start.policy.number, **by), replace(wanted, number=0), engine,
        reason=reason,
    )
policy_saving.refused()

st.subheader("Earlier policies", anchor=False)
chosen = policy_outlook.history(history)
if chosen is not None and st.button(f"Go back to {policy_words.name(chosen)}", key="restore_policy", icon=":material/undo:"):
    policy_saving.put_in_force(
        lambda: policies.restore(chosen, engine.policies, based_on=seen, **by), ("restore", chosen), engine,
        done=f"Back to {policy_words.name(chosen)}, now in force as policy {{}}.",
    )
