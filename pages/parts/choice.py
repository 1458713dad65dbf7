"""What an agent does with a decision: confirm it, send the ticket elsewhere, think better of it."""
from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import streamlit as st

from engine.access import Permission
from engine.bootstrap import Engine
from engine.domain import Automation, Candidate, Decision
from engine.errors import Conflict, ConsoleError
from engine.outcome import Overrule
from engine.standing import Standing
from pages.parts import guard, second_click, words
from pages.parts.guard import Operator


@dataclass(slots=True)
class Choice:
    """What was chosen for a ticket, as far as the page knows. `chosen`: the department, None for nothing yet; `by`: who chose it;
    `labelled`: what a supervisor has labelled the ticket as, which stands.

    One object of the session, changed without a line that touches the session: a click that is waiting ends the run at such a line.
    `ended`: when the last click was taken; `refused`: why one after it was not, `at`: when that was, `told` once it was shown. Times are in
    seconds of the monotonic clock.
    """

    chosen: str | None = None
    by: str = ""
    labelled: str | None = None
    ended: float | None = None
    refused: str = ""
    at: float = 0.0
    told: bool = False

    def take(self, row: Any) -> None:
        """Know what the history's row says."""
        if (row.chosen, row.actual_outcome) != (self.chosen, self.labelled):
            self.chosen, self.labelled, self.by = row.chosen, row.actual_outcome, ""

    def refuse(self, why: str) -> None:
        """Keep why a click was not taken, until it was shown."""
        self.refused, self.at, self.told = why, time.monotonic(), False


def known(ticket_id: str, engine: Engine) -> Choice:
    """What was chosen for the ticket, whoever did; while the database is away as this session knew it last."""
    choices: dict[str, Choice] = st.session_state.setdefault("choices", {})
    own = choices.setdefault(ticket_id, Choice())
    try:
        for row in engine.decisions.rows([ticket_id]):
            own.take(row)
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
        return {"on_click": _choose, "args": (own, overrule, own.chosen, engine), "width": "stretch"}

    def offer(candidate: Candidate, key: str) -> None:
        label = f"{words.plain(candidate.department)} · {words.percent(candidate.confidence)}"
        st.button(label, key=f"{key}_{id_}", icon=":material/arrow_forward:", **asking(candidate.department))

    if own.refused and (not own.told or second_click.near(own.at)):
        own.told = True
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
            "Send it there", key=f"overrule_send_{id_}", disabled=wanted is None, on_click=_choose_there,
            args=(own, decision.ticket_id, operator, own.chosen, id_, engine),
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


# Called by the browser's reports, before the page's script and its guard, so that no other click takes a choice away.

def _choose(own: Choice, overrule: Overrule, seen: str | None, engine: Engine) -> None:
    """Store the choice; `seen` is what was chosen when the page showed the button."""
    try:
        operator, row = guard.who(), next(iter(engine.decisions.rows([overrule.ticket_id])), None)
        if operator is None or row is None or not _may(operator, row):
            own.refuse("You may not choose for this ticket any more. Ask a supervisor if that is wrong.")
        elif own.ended is not None and second_click.near(own.ended):
            # The buttons have changed places under the pointer, or two clicks came at once.
            if overrule.department != own.chosen:
                own.refuse("This click came within two seconds of the one that counted. Click again if you mean it.")
        else:
            own.labelled = engine.router.overrule(overrule, based_on=Standing(chosen=seen, labelled_at=row.reviewed_at))
            own.chosen, own.by, own.refused, own.ended = overrule.department, overrule.by, "", time.monotonic()
    except Conflict as error:
        own.take(row)
        own.refuse(str(error))
    except ConsoleError as error:
        own.refuse(str(error))


def _choose_there(own: Choice, ticket_id: str, operator: str, seen: str | None, id_: str, engine: Engine) -> None:
    # No line at which a waiting click ends the run.
    entered = st.session_state.to_dict()
    if (department := entered[f"overrule_department_{id_}"]) is not None:
        _choose(own, Overrule(ticket_id=ticket_id, department=department, by=operator, reason=entered[f"overrule_reason_{id_}"]), seen, engine)


def _may(operator: Operator, row: Any) -> bool:
    return operator.may(Permission.OVERRULE) and (row.created_by == operator.name or operator.may(Permission.ALL_TICKETS))
