"""How a decision is shown: department, confidence, why, alternatives, evidence."""
from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from engine.bootstrap import Engine
from engine.domain import Decision, Spooled, Ticket
from engine.errors import ConsoleError, NotAccepted, TicketRejected
from pages.parts import choice, mishap, words
from pages.parts.draft import LABELS, Desk, Sent, take_out

WITHOUT = "Decided without"
# As much of a ticket as tells which one is meant.
LINES, CHARACTERS = 4, 320


def answers(own: Desk, *, engine: Engine, operator: str) -> None:
    """What became of the tickets that were sent last: of the last one the whole answer, of any before it a few words."""
    if own.nothing:
        st.warning("There is no text to route. Type what the customer said.", icon=":material/edit_note:")
    if own.doubtful:
        st.warning(
            "Not sent yet: the text begins with all of the ticket that was sent before. If that was another customer's, take it out. "
            "If it belongs there, send it again.", icon=":material/content_copy:",
        )
        st.button("Take it out", key="take_out", icon=":material/content_cut:", on_click=take_out, args=(own,))
    for one in own.sent[:-1]:
        _failed(one) if one.error is not None else _briefly(one)
    if own.sent:
        last = own.sent[-1]
        if last.error is not None:
            _failed(last)
        elif isinstance(last.outcome, Spooled):
            show_spooled(last.outcome, last.ticket)
        elif last.outcome is not None:
            show(last.outcome, last.ticket, engine=engine, operator=operator)
    elif not own.nothing:
        st.info("The answer appears here: department, confidence, the reason, and what else it could be.", icon=":material/alt_route:")
    for one in own.sent:
        one.seen = True
    own.nothing = False


def asked(ticket: Ticket, *, whole: bool = False) -> None:
    """The beginning of a ticket's text or all of it, as what it is: nothing in it is read as markup."""
    lines = [line for line in ticket.text.split("\n") if line.strip()]
    if not lines:
        st.caption("The text was removed when it had been kept long enough.")
        return
    if whole:
        st.text(ticket.text)
        return
    short = "\n".join(lines[:LINES])
    short = short if len(short) <= CHARACTERS else short[:CHARACTERS].rstrip() + "…"
    st.text(short if len(lines) <= LINES or short.endswith("…") else f"{short}\n…")


def _briefly(one: Sent) -> None:
    with st.container(border=True):
        asked(one.ticket)
        if isinstance(one.outcome, Spooled):
            st.text(f"Stored before it, will be routed: ticket {one.outcome.ticket_id}.")
        elif one.outcome is not None:
            st.text(f"Routed before it: {one.outcome.department} ({words.percent(one.outcome.confidence)}), ticket {one.outcome.ticket_id}.")


def _failed(one: Sent) -> None:
    error = one.error
    where = "your text is still in the form" if one.returned else "your text is below"
    if isinstance(error, TicketRejected):
        # Named as the page names it: there is no "body" to be seen.
        st.error(f"The ticket was not accepted. “{LABELS.get(error.field, error.field)}”: {error.limit}.", icon=":material/block:")
        st.text(f"Found {error.found}. Nothing was stored; {where}.")
    elif isinstance(error, NotAccepted):
        mishap.told(f"The ticket was NOT accepted: it could be kept nowhere. {where.capitalize()}.", error, icon=":material/block:")
    elif one.uncertain:
        mishap.told(f"It is not certain whether the ticket was stored; {where}.", error, icon=":material/help:")
    else:
        mishap.told(f"The ticket was not stored. {where.capitalize()}; please send it again.", error)
    if not one.returned:
        st.code("\n".join(filter(None, (one.fields["subject"], one.fields["body"]))), language=None, wrap_lines=True)


def show(decision: Decision, ticket: Ticket, *, engine: Engine, operator: str, place: str = "") -> None:
    """The whole card, with the buttons to confirm or overrule it; `place` names that of an earlier ticket, which is shown with all its text."""
    with st.container(border=True, key=f"decision{place}"):
        asked(ticket, whole=bool(place))
        own = choice.known(decision.ticket_id, engine)
        text, icon, colour = words.standing(decision, chosen=own.chosen, labelled=own.labelled)
        st.badge(text, icon=f":material/{icon}:", color=colour)
        st.header(words.plain(decision.department), anchor=False)
        left, right = st.columns([1, 2], vertical_alignment="center")
        left.metric("Confidence", words.percent(decision.confidence), help=words.of_hundred(decision.confidence))
        right.progress(decision.confidence, text=words.confidence(decision.confidence).capitalize())
        st.text(decision.reason)
        st.caption(f"{words.METHOD[decision.method]} · ticket {words.plain(decision.ticket_id)} · {decision.timings.get('total', 0):.1f} ms")
        if decision.gated_by:
            st.info(words.plain(decision.gated_by), icon=":material/shield:")
        if decision.degraded_by:
            away = words.without(decision.degraded_by)
            st.warning(f"Decided without {away}, which did not answer. The confidence takes that into account.", icon=":material/cloud_off:")
    if ticket.text:
        # The pages' script (engine/web/page.js) finds by this name where the keyboard goes on after a choice.
        with st.container(key=f"rests_{decision.ticket_id}{place}"):
            choice.show(own, decision, engine=engine, operator=operator, place=place)
    _evidence(decision, engine)


def show_spooled(kept: Spooled, ticket: Ticket) -> None:
    """A ticket that waits for the database: what is certain, and what is only likely."""
    with st.container(border=True, key="spooled"):
        asked(ticket)
        st.badge("Stored, will be routed", icon=":material/schedule:", color="orange")
        st.text(f"Ticket {kept.ticket_id} is safe. It will be routed as soon as the database answers again; nothing is left to do.")
        if kept.likely is not None:
            st.text(f"Most likely department: {kept.likely.department} ({words.percent(kept.likely.confidence)}). This may still change.")


def _evidence(decision: Decision, engine: Engine) -> None:
    if decision.evidence:
        st.markdown("**Nearest labelled tickets**", help="Cosine similarity: 1.00 is the same text")
        texts = _texts(decision, engine)
        for neighbour in decision.evidence:
            with st.container(border=True):
                st.caption(f"{neighbour.similarity:.2f} · {words.plain(neighbour.department)}")
                st.text(texts.get(neighbour.exemplar_id, "(text not available)"))
    with st.expander("How long each step took, and which versions decided"):
        stages = [(words.STAGE.get(name, name), ms) for name, ms in decision.timings.items()]
        st.dataframe(pd.DataFrame(stages, columns=["Step", "ms"]), hide_index=True, column_config={
            "ms": st.column_config.NumberColumn(format="%.2f")
        })
        st.text(", ".join(f"{name} {value}" for name, value in decision.versions.items()))


def _texts(decision: Decision, engine: Engine) -> dict[int, str]:
    try:
        return engine.exemplars.texts([n.exemplar_id for n in decision.evidence])
    except ConsoleError:
        return {}


def table(decisions: Sequence[Decision], texts: Sequence[str]) -> pd.DataFrame:
    """Decisions as a table for many tickets at once; its last column is there where a service did not answer."""
    rows = [
        (
            d.ticket_id, text, d.department, 100 * d.confidence, words.AUTOMATION[d.automation][0], words.METHOD[d.method],
            words.without(d.degraded_by),
        )
        for d, text in zip(decisions, texts, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["Ticket", "Text", "Department", "Confidence", "Next step", "Method", WITHOUT])
    return frame if any(d.degraded_by for d in decisions) else frame.drop(columns=WITHOUT)


def as_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Such a table for the page, with the long words last; what is downloaded keeps its confidences as numbers."""
    shown = frame.assign(Confidence=words.percents(frame["Confidence"] / 100))
    return shown[[*shown.columns.drop("Text"), "Text"]]


def degraded_note(frame: pd.DataFrame) -> None:
    """How many of a table's tickets were decided without something, and without what."""
    if WITHOUT in frame:
        for away, count in frame[WITHOUT].value_counts().items():
            if away:
                st.warning(f"{count:,} of {len(frame):,} were decided without {away}, which did not answer.", icon=":material/cloud_off:")
