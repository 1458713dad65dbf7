"""What becomes of a policy that somebody puts in force."""
from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import streamlit as st

from engine.bootstrap import Engine
from engine.domain import Policy
from engine.errors import Conflict, ConsoleError, NotFound, PolicyRejected
from pages.parts import mishap, policy_start, second_click

DONE = "Policy {} is in force. Every instance follows within seconds."



@dataclass(slots=True)
class Saved:
    """What was put in force last. One object of the session, changed without a line that touches the session: a click ends the run at
    such a line, with the policy stored already.

    `done`: what the page has yet to say of it; `what`, `reason`, `ended`: what was asked for, why and when, in seconds of the monotonic clock.
    """

    done: str = ""
    what: object = None
    reason: str = ""
    ended: float = 0.0


def _saved() -> Saved:
    own: Saved = st.session_state.setdefault("policy_saved", Saved())
    return own


def told() -> None:
    """What was put in force by the last run; the fields are filled from it."""
    own = _saved()
    # A place that is always there: where what is below moves up or down, the browser closes what was opened there. The pages' script
    # (engine/web/page.js) says and shows what stands in it, whose button is far below.
    with st.container(key="done_policy"):
        if own.done:
            policy_start.renew()
            # The next change has a reason of its own.
            st.session_state["policy_reason"] = ""
            st.success(own.done, icon=":material/check_circle:")
            own.done = ""


def put_in_force(save: Callable[[], Policy], what: object, engine: Engine, *, reason: str = "", done: str = DONE) -> None:
    """Save it as a new policy; on failure say so and leave what was entered.

    A second click asks for the same `what`, and either for the same reason or, its field being empty by then, for none.
    """
    own = _saved()
    if own.what == what and reason in (own.reason, "") and second_click.near(own.ended):
        st.info("That was a second click: the policy is in force already.", icon=":material/check:")
        return
    try:
        stored = save()
    except Conflict as error:
        # The next run knows what is in force now, and offers to start from that.
        st.session_state["policy_refused"] = str(error)
        st.rerun()
    except (PolicyRejected, NotFound) as error:
        mishap.told("The policy was refused; the live one is unchanged.", error, icon=":material/block:")
    except ConsoleError as error:
        mishap.told("The policy was not stored; the live one is unchanged.", error)
    else:
        own.done, own.what, own.reason, own.ended = done.format(stored.number), what, reason, time.monotonic()
        with suppress(ConsoleError):  # It is in force; without this the instance follows a moment later.
            engine.state.refresh()
        st.rerun()


def refused() -> None:
    """That another policy came into force before this one was saved."""
    if reason := st.session_state.pop("policy_refused", None):
        st.error("Nothing was changed: another policy came into force meanwhile.", icon=":material/sync_problem:")
        st.text(reason)
