"""Policy: what managers ask for, what it would mean, and every policy that ever was in force."""
from __future__ import annotations

import streamlit as st

from engine import policy as policies
from engine.errors import ConsoleError, PolicyRejected
from pages.parts import policy_form
from pages.parts.guard import open_page

operator, engine = open_page("Policy", caption="How sure the console must be before a ticket goes its way without a person.")

try:
    live = engine.policies.live()
    departments = [d.name for d in engine.taxonomy.departments()]
    evidence = engine.tracking.evidence()
    history = engine.policies.all()
except ConsoleError as error:
    st.error("The policies cannot be read at the moment. The live one stays in force.", icon=":material/cloud_off:")
    st.text(str(error))
    st.stop()

if "policy_saved" in st.session_state:
    st.success(st.session_state.pop("policy_saved"), icon=":material/check_circle:")

st.subheader(f"Policy {live.number} is in force" if live.number else "The built-in defaults are in force", anchor=False)
draft = policy_form.edit(live, departments)
proposed, thresholds = policies.derived(draft, evidence, departments)
policy_form.promise(proposed, thresholds)
policy_form.compare(live, proposed, evidence)

reason = st.text_input("Why this change?", key="policy_reason", max_chars=policies.REASON_MAX, placeholder="So that others can follow it later")
if st.button("Put it in force", type="primary", key="save_policy", icon=":material/published_with_changes:"):
    try:
        saved = policies.save(proposed, engine.policies, departments=departments, author=operator.name, reason=reason)
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
