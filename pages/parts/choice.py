"""What an agent does with a decision: confirm it, send the ticket elsewhere, think better of it."""
from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import streamlit as st

from engine.bootstrap import Engine
from engine.domain import Automation, Candidate, Decision, Overrule
from engine.errors import ConsoleError
from pages.parts import second_click, words


# Seconds in which the page must come to a click. A later one is for a card that has gone, and must not wait until its ticket is opened.
WAITS = 10.0


@dataclass(slots=True)
class Choice:
    """What was chosen for a ticket, as far as the page knows. `chosen`: the department, None for nothing yet; `by`: who chose it;
    `labelled`: what a supervisor has labelled the ticket as, which stands.

    One object of the session, changed without a line that touches the session: a click that is waiting ends the run at such a line.
    `asked`: a click that is not dealt with, what `chosen` was when the page showed the button, and when it came. `refused`: why the last
    click was not taken; `ended`: the time of the last that was. Times are in seconds of the monotonic clock.
    """

    chosen: str | None = None
    by: str = ""
    labelled: str | None = None
    asked: tuple[Overrule, str | None, float] | None = None
    refused: str = ""
    ended: float = 0.0

    def take(self, row: Any) -> None:
        """Know what the history's row says; why an earlier click was not taken goes with what it was about."""
        if (row.chosen, row.actual_outcome) != (self.chosen, self.labelled):
            self.chosen, self.labelled, self.refused, self.by = row.chosen, row.actual_outcome, "", ""


def known(ticket_id: str, engine: Engine) -> Choice:
    """What was chosen for the ticket, whoever did, once a click of this session is dealt with; while the database is away as it was last."""
    choices: dict[str, Choice] = st.session_state.setdefault("choices", {})
    own = choices.setdefault(ticket_id, Choice())
    asked, own.asked = own.asked, None
    if asked is not None and time.monotonic() - asked[2] < WAITS:
        _choose(own, asked[0], asked[1], engine=engine)
        st.rerun()
    try:
        own.take(engine.decisions.rows([ticket_id])[0])
        if own.chosen is not None and not own.by:
            last = engine.outcomes.last_choice(ticket_id)
            own.by = last.by if last is not None else ""
    except ConsoleError:
        pass
    return own


def show(own: Choice, decision: Decision, *, engine: Engine, operator: str, place: str = "") -> None:
    """What was chosen so far, and the buttons that choose; `place` tells two of them on one page apart."""
    id_ = f"{decision.ticket_id}{place}"

    def asking(department: str) -> dict[str, Any]:
        overrule = Overrule(ticket_id=decision.ticket_id, department=department, by=operator)
        return {"on_click": _ask, "args": (own, overrule, own.chosen), "width": "stretch"}

    def offer(candidate: Candidate, key: str) -> None:
        label = f"{words.plain(candidate.department)} · {words.percent(candidate.confidence)}"
        st.button(label, key=f"{key}_{id_}", icon=":material/arrow_forward:", **asking(candidate.department))

    if own.refused:
        where = own.labelled or own.chosen or decision.department
        st.error(f"Your choice was not stored: the ticket is with {words.plain(where)}.", icon=":material/block:")
        st.text(own.refused)
    if own.chosen is not None:
        _told(own, decision, operator)
    if own.labelled is not None:
        if own.chosen is None:
            st.info(f"A supervisor has labelled this ticket as {words.plain(own.labelled)}: that label stands.", icon=":material/rule:")
        return
    live = [department.name for department in engine.state.current().departments]
    decided = Candidate(decision.department, decision.confidence)
    open_ = own.chosen is None and decision.automation is not Automation.AUTO
    if open_ and decision.automation is Automation.PRESELECT and decided.department in live:
        st.button(
            f"Yes, it belongs to {words.plain(decided.department)}", key=f"confirm_{id_}", type="primary", icon=":material/check:",
            shortcut=None if place else "Ctrl+Shift+Enter", **asking(decided.department),
        )
    choosing = open_ and decision.automation is Automation.SUGGEST
    st.markdown("**Where does it belong?**" if choosing else "**Not right? Send it elsewhere**")
    if (choosing or own.chosen not in (None, decided.department)) and decided.department in live:
        offer(decided, "confirm")
    # What belongs to one ticket bears its number: a click or a reason meant for another one must not reach it.
    for position, candidate in enumerate(decision.alternatives[1:]):
        if candidate.department in live and candidate.department != own.chosen:
            offer(candidate, f"alternative_{position}")
    with st.popover("Another department", icon=":material/more_horiz:", width="stretch"):
        others = [name for name in live if name not in (decided.department, own.chosen)]
        wanted = st.selectbox("Department", others, index=None, key=f"overrule_department_{id_}")
        st.text_input("Why? (optional, helps the supervisor)", key=f"overrule_reason_{id_}", max_chars=200)
        st.button(
            "Send it there", key=f"overrule_send_{id_}", disabled=wanted is None, on_click=_ask_there,
            args=(own, decision.ticket_id, operator, own.chosen, id_),
        )


def _told(own: Choice, decision: Decision, operator: str) -> None:
    who = "You" if own.by == operator else "An agent"
    confirmed = own.chosen == decision.department
    deed = f"{'confirmed' if confirmed else 'sent it to'} {words.plain(str(own.chosen))}"
    if own.labelled is not None:
        label = f"A supervisor has labelled this ticket already, as {words.plain(own.labelled)}: that label stands."
        st.info(f"{label} That {who[0].lower()}{who[1:]} {deed} is noted beside it.", icon=":material/rule:")
    elif confirmed:
        st.success(f"{who} {deed}.", icon=":material/check_circle:")
    else:
        st.success(f"{who} {deed}. A supervisor will see that.", icon=":material/swap_horiz:")


def _choose(own: Choice, overrule: Overrule, seen: str | None, *, engine: Engine) -> None:
    try:
        now, again = engine.decisions.rows([overrule.ticket_id])[0], own.ended > 0.0 and second_click.near(own.ended)
        if again and overrule.department == own.chosen:
            return
        if again and seen == own.chosen:
            # The buttons have changed places under the pointer.
            own.refused = "This click came within two seconds of the one before. Click again if you mean it."
        elif now.chosen != seen:
            own.take(now)
            own.refused = "Somebody has chosen for it meanwhile. Choose again if that is not right."
        else:
            own.labelled = engine.router.overrule(overrule)
            own.chosen, own.by, own.refused, own.ended = overrule.department, overrule.by, "", time.monotonic()
    except ConsoleError as error:
        own.refused = str(error)


# Called by the browser's reports, before the page's script and its guard, which decides whether anything comes of it.

def _ask(own: Choice, overrule: Overrule, seen: str | None) -> None:
    own.asked = (overrule, seen, time.monotonic())


def _ask_there(own: Choice, ticket_id: str, operator: str, seen: str | None, id_: str) -> None:
    # No line at which a waiting click ends the run.
    entered = st.session_state.to_dict()
    if (department := entered[f"overrule_department_{id_}"]) is not None:
        _ask(own, Overrule(ticket_id=ticket_id, department=department, by=operator, reason=entered[f"overrule_reason_{id_}"]), seen)
