"""What an agent does with a decision: confirm it, send the ticket elsewhere, think better of it."""
from __future__ import annotations

import time
from dataclasses import dataclass

import streamlit as st

from engine.bootstrap import Engine
from engine.domain import Automation, Candidate, Decision, Overrule
from engine.errors import ConsoleError
from pages.parts import second_click, words


@dataclass(slots=True)
class Choice:
    """What was chosen for a ticket. `chosen`: the department, None for nothing yet; `labelled`: what a supervisor has labelled it as, which stands.

    One object of the session, changed without a line that touches the session: a click that is waiting ends the run at such a line.
    `refused` is why the last choice was not stored; `ended` the time of the last that was, in seconds of the monotonic clock.
    """

    chosen: str | None = None
    labelled: str | None = None
    refused: str = ""
    ended: float = 0.0


def of(ticket_id: str) -> Choice:
    """This session's choice for the ticket."""
    choices: dict[str, Choice] = st.session_state.setdefault("choices", {})
    return choices.setdefault(ticket_id, Choice())


def show(decision: Decision, *, engine: Engine, operator: str, place: str = "") -> None:
    """What was chosen so far, and the buttons that choose; `place` tells two of them on one page apart."""
    own, id_ = of(decision.ticket_id), f"{decision.ticket_id}{place}"

    def choose(department: str, reason: str = "") -> None:
        _choose(own, Overrule(ticket_id=decision.ticket_id, department=department, by=operator, reason=reason), engine)

    if own.refused:
        st.error(f"Your choice was not stored: the ticket is still with {words.plain(own.chosen or decision.department)}.", icon=":material/block:")
        st.text(own.refused)
    if own.labelled is not None and own.chosen is None:
        st.info(f"A supervisor has labelled this ticket as {words.plain(own.labelled)}: that label stands.", icon=":material/rule:")
        return
    if own.chosen not in (None, decision.department):
        _told(own, f"sent it to {words.plain(str(own.chosen))}", "A supervisor will see that.", icon="swap_horiz")
        if own.labelled is None and st.button(f"Back to {words.plain(decision.department)}", key=f"back_{id_}", width="stretch", icon=":material/undo:"):
            choose(decision.department)
        return
    if own.chosen is not None:
        _told(own, f"confirmed {words.plain(own.chosen)}", icon="check_circle")
    elif decision.automation is Automation.PRESELECT:
        if st.button(
            f"Yes, it belongs to {words.plain(decision.department)}", key=f"confirm_{id_}", type="primary", width="stretch",
            icon=":material/check:", shortcut=None if place else "Ctrl+Shift+Enter",
        ):
            choose(decision.department)
    if own.chosen is None and decision.automation is Automation.SUGGEST:
        st.markdown("**Where does it belong?**")
        if _offered(Candidate(decision.department, decision.confidence), key=f"confirm_{id_}"):
            choose(decision.department)
    else:
        st.markdown("**Not right? Send it elsewhere**")
    # What belongs to one ticket bears its number: a click or a reason meant for another one must not reach it.
    for position, candidate in enumerate(decision.alternatives[1:]):
        if _offered(candidate, key=f"alternative_{position}_{id_}"):
            choose(candidate.department)
    others = [d.name for d in engine.state.current().departments if d.name != decision.department]
    with st.popover("Another department", icon=":material/more_horiz:", width="stretch"):
        wanted = st.selectbox("Department", others, index=None, key=f"overrule_department_{id_}")
        reason = st.text_input("Why? (optional, helps the supervisor)", key=f"overrule_reason_{id_}", max_chars=200)
        if st.button("Send it there", key=f"overrule_send_{id_}", disabled=wanted is None):
            choose(str(wanted), reason)


def _offered(candidate: Candidate, *, key: str) -> bool:
    label = f"{words.plain(candidate.department)} · {words.percent(candidate.confidence)}"
    return st.button(label, key=key, width="stretch", icon=":material/arrow_forward:")


def _told(own: Choice, deed: str, *more: str, icon: str) -> None:
    who = "You" if own.ended else "An agent"
    if own.labelled is None:
        st.success(" ".join((f"{who} {deed}.", *more)), icon=f":material/{icon}:")
    else:
        label = f"A supervisor has labelled this ticket already, as {words.plain(own.labelled)}: that label stands."
        st.info(f"{label} That {who.lower()} {deed} is noted beside it.", icon=":material/rule:")


def _choose(own: Choice, overrule: Overrule, engine: Engine) -> None:
    if own.chosen is not None and second_click.near(own.ended):
        # The buttons have changed places under a second click.
        return
    try:
        own.labelled = engine.router.overrule(overrule)
    except ConsoleError as error:
        own.refused = str(error)
    else:
        own.chosen, own.refused, own.ended = overrule.department, "", time.monotonic()
    st.rerun()
