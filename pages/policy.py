"""Policy: what managers ask for, what it would mean, and every policy that ever was in force."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from engine import policy as policies
from engine.domain import Policy
from engine.errors import Conflict, ConsoleError, NotFound, PolicyRejected
from pages.parts import policy_form, policy_kept, policy_start
from pages.parts.guard import open_page

operator, engine = open_page("Policy", caption="How sure the console must be before a ticket goes its way without a person.")

try:
    live, departments = engine.policies.live(), [d.name for d in engine.taxonomy.departments()]
    state, demo, snapshot = engine.state.current(), engine.tracking.demo, engine.tracking.snapshot()
    evidence = engine.tracking.evidence().comparable(departments, embedder=state.versions["embedder"])
    history, sampled, kept = engine.policies.all(), engine.reviewed.sampled(demo=demo), policy_kept.read(engine, demo=demo)
except ConsoleError as error:
    st.error("The policies cannot be read at the moment. The live one stays in force.", icon=":material/cloud_off:")
    st.text(str(error))
    st.stop()

if "policy_saved" in st.session_state:
    st.success(st.session_state.pop("policy_saved"), icon=":material/check_circle:")


def put_in_force(save: Callable[[], Policy], done: str = "Policy {} is in force. Every instance follows within seconds.") -> None:
    """Save it as a new policy; on failure say so and leave what was entered."""
    try:
        saved = save()
    except Conflict as error:
        # The next run knows what is in force now, and offers to start from that.
        st.session_state["policy_refused"] = str(error)
        st.rerun()
    except (PolicyRejected, NotFound) as error:
        st.error("The policy was refused; the live one is unchanged.", icon=":material/block:")
        st.text(str(error))
    except ConsoleError as error:
        st.error("The policy was not stored; the live one is unchanged.", icon=":material/cloud_off:")
        st.text(str(error))
    else:
        policy_start.renew()
        with suppress(ConsoleError):  # It is in force; without this the instance follows a moment later.
            engine.state.refresh()
        st.session_state["policy_saved"] = done.format(saved.number)
        st.rerun()


seen, start = policy_start.seen(live), policy_start.current(live, departments)
by = {"departments": departments, "author": operator.name}
st.subheader(f"Policy {live.number} is in force" if live.number else "The built-in defaults are in force", anchor=False)
policy_kept.show(live, kept)
if not demo and (applied := policy_form.offer(policies.overdue(live, evidence, departments), live, labels=len(evidence))):
    put_in_force(lambda: policies.save(policies.derived(live, evidence, departments)[0], engine.policies, reason=applied, based_on=seen, **by))
above = st.container()
draft = policy_form.edit(start)
with above:
    policy_start.follow(start, draft, live, departments, history)
derived, thresholds = policies.derived(draft, evidence, departments)
policy_form.assumption(evidence, sampled, model=state.versions["model"].partition("+")[0], demo=demo)
proposed = policy_form.proposed(start, draft, derived)
policy_form.promise(derived, thresholds)
policy_form.compare(live, proposed, evidence, snapshot)

reason = st.text_input("Why this change?", key="policy_reason", max_chars=policies.REASON_MAX, placeholder="So that others can follow it later")
if st.button("Put it in force", type="primary", key="save_policy", icon=":material/published_with_changes:"):
    wanted = draft if demo else proposed
    put_in_force(lambda: policies.save(wanted, engine.policies, reason=reason, based_on=start.policy.number, **by))
if refused := st.session_state.pop("policy_refused", None):
    st.error("Nothing was changed: another policy came into force meanwhile.", icon=":material/sync_problem:")
    st.text(refused)

st.subheader("Earlier policies", anchor=False)
chosen = policy_form.history(history)
if chosen is not None and st.button(f"Go back to policy {chosen}", key="restore_policy", icon=":material/undo:"):
    put_in_force(lambda: policies.restore(chosen, engine.policies, based_on=seen, **by), f"Back to policy {chosen}, now in force as policy {{}}.")
