"""Policy: what managers ask for, what it would mean, and every policy that ever was in force."""
from __future__ import annotations

import streamlit as st

from engine import policy as policies
from engine.domain import Policy
from engine.errors import ConsoleError, PolicyRejected
from pages.parts import policy_form
from pages.parts.guard import open_page

operator, engine = open_page("Policy", caption="How sure the console must be before a ticket goes its way without a person.")

try:
    live = engine.policies.live()
    departments = [d.name for d in engine.taxonomy.departments()]
    state, demo, snapshot = engine.state.current(), engine.tracking.demo, engine.tracking.snapshot()
    evidence = engine.tracking.evidence().comparable(departments, embedder=state.versions["embedder"])
    history = engine.policies.all()
except ConsoleError as error:
    st.error("The policies cannot be read at the moment. The live one stays in force.", icon=":material/cloud_off:")
    st.text(str(error))
    st.stop()

if "policy_saved" in st.session_state:
    st.success(st.session_state.pop("policy_saved"), icon=":material/check_circle:")


def put_in_force(policy: Policy, why: str) -> None:
    """Save it as a new policy; on failure say so and leave what was entered."""
    try:
        saved = policies.save(policy, engine.policies, departments=departments, author=operator.name, reason=why)
        engine.state.refresh()
    except PolicyRejected as error:
        st.error("The policy was refused; the live one is unchanged.", icon=":material/block:")
        st.text(str(error))
    except ConsoleError as error:
        st.error("The policy was not stored; the live one is unchanged.", icon=":material/cloud_off:")
        st.text(str(error))
    else:
        st.session_state["policy_saved"] = f"Policy {saved.number} is in force. Every instance follows within seconds."
        st.rerun()


st.subheader(f"Policy {live.number} is in force" if live.number else "The built-in defaults are in force", anchor=False)
if not demo and (applied := policy_form.offer(policies.overdue(live, evidence, departments), live, labels=len(evidence))):
    put_in_force(policies.derived(live, evidence, departments)[0], applied)
draft = policy_form.edit(live, departments)
proposed, thresholds = policies.derived(draft, evidence, departments)
policy_form.assumption(evidence, model=state.versions["model"].partition("+")[0], demo=demo)
policy_form.promise(proposed, thresholds)
policy_form.compare(live, proposed, evidence, snapshot)

reason = st.text_input("Why this change?", key="policy_reason", max_chars=policies.REASON_MAX, placeholder="So that others can follow it later")
if st.button("Put it in force", type="primary", key="save_policy", icon=":material/published_with_changes:"):
    put_in_force(draft if demo else proposed, reason)

st.subheader("Earlier policies", anchor=False)
chosen = policy_form.history(history)
if chosen is not None and st.button(f"Go back to policy {chosen}", key="restore_policy", icon=":material/undo:"):
    try:
        saved = policies.restore(chosen, engine.policies, departments=departments, author=operator.name)
        engine.state.refresh()
    except ConsoleError as error:
        st.error("The live policy is unchanged.", icon=":material/block:")
        st.text(str(error))
    else:
        st.session_state["policy_saved"] = f"Back to policy {chosen}, now in force as policy {saved.number}."
        st.rerun()
