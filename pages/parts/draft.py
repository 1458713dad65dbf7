"""The ticket that is being typed on the Submit page, and those that were sent, until it is known and shown what became of them.

A click anywhere ends the run of the page's script at its next `st.` line, and with it whatever that run had yet to do. What must
not be lost with it is kept in one object of the session, which is changed without such lines.
"""
from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import streamlit as st

from engine.bootstrap import Engine
from engine.domain import Channel, Decision, Priority, Spooled, Ticket, TicketDraft
from engine.errors import Conflict, ConsoleError, InvariantBroken
from pages.parts import second_click

# What the form holds at first. Text belongs to one customer and goes with the ticket; channel and priority stay.
FIELDS = {"subject": "", "body": "", "channel": Channel.WEB, "priority": Priority.NORMAL, "customer_ref": ""}
# The fields' names on the page. The dashboard has a filter called `channel`, which a value set here under that name would reach.
KEYS = {name: name for name in FIELDS} | {"channel": "ticket_channel"}
CLEARED = ("subject", "body", "customer_ref")
# What is written above the texts, and so what a refusal calls them.
LABELS = {"subject": "Subject (optional)", "body": "What did the customer say?", "customer_ref": "Customer reference"}
# Two customers begin with the same few letters, not with so many.
TELLING = 20


@dataclass(slots=True)
class Sent:
    """A ticket that somebody sent. Once it is known what became of it, `outcome` or `error` is set; `ticket` is what was accepted.

    `ended` is the time of that, in seconds of the monotonic clock. `returned`: its text is back in the form; `seen`: the page has shown
    what became of it. `uncertain`: a fault that nobody foresaw, so that it may be stored all the same.
    """

    fields: dict[str, str]
    ticket: Ticket | None = None
    outcome: Decision | Spooled | None = None
    error: ConsoleError | None = None
    ended: float = 0.0
    returned: bool = False
    seen: bool = False
    uncertain: bool = False

    @property
    def open(self) -> bool:
        """True until it is known what became of it."""
        return self.outcome is None and self.error is None


@dataclass(slots=True)
class Desk:
    """What lies on an operator's desk. `typed` is what the form holds, `wanted` what it is to hold from the next time it is drawn.
    `held`: the text that was not taken at once, because it begins with all of the ticket that was sent before, which is `before`; `at`: when
    that was, in seconds of the monotonic clock.
    """

    typed: dict[str, str] = field(default_factory=lambda: dict(FIELDS))
    wanted: dict[str, str] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    nothing: bool = False
    held: str = ""
    before: str = ""
    at: float = 0.0

    @property
    def doubtful(self) -> bool:
        """True while the form holds a text that was not taken, also when something in it was changed since."""
        return bool(self.before) and self.typed["body"].startswith(self.before)

    @property
    def waiting(self) -> list[Sent]:
        """Those of which it is not known yet what became of them."""
        return [one for one in self.sent if one.open]


def desk() -> Desk:
    """The session's desk."""
    own: Desk = st.session_state.setdefault("desk", Desk())
    return own


def form(own: Desk) -> None:
    """The fields, as they were left when somebody has looked at another page, and the button.

    No `st.form`: the browser would keep what is typed to itself until it is sent.
    """
    if any(one.error is None and not one.seen and _same(own.typed, one.fields) for one in own.sent):
        # A click that came before the browser knew that the form is empty has brought the text back.
        own.wanted |= dict.fromkeys(CLEARED, "")
    if "route" not in st.session_state:
        # Another page was there in between, which drops the button; the fields, which the browser may have reported late, are drawn empty.
        own.wanted = own.typed | own.wanted
    for name, value in own.wanted.items():
        st.session_state[KEYS[name]] = value
    kept = {"on_change": _keep, "args": (own,)}
    st.text_input(LABELS["subject"], key="subject", max_chars=200, **kept)
    st.text_area(LABELS["body"], key="body", height=220, placeholder="you took the money twice for my october bill", **kept)
    one, two, three = st.columns(3)
    one.selectbox("Channel", list(Channel), format_func=str.capitalize, key=KEYS["channel"], **kept)
    two.selectbox("Priority", list(Priority), format_func=str.capitalize, key="priority", **kept)
    three.text_input(LABELS["customer_ref"], key="customer_ref", max_chars=64, **kept)
    st.button(
        "Route it", type="primary", key="route", shortcut="Ctrl+Enter", width="stretch", icon=":material/alt_route:",
        on_click=_send, args=(own,),
    )
    # Not before it is drawn: a run that ends earlier has not told the browser.
    own.typed |= own.wanted
    own.wanted.clear()


def accept(own: Desk, *, engine: Engine, operator: str) -> None:
    """Check what was sent, before the form is drawn: what is accepted leaves it, so that the next ticket can be typed; the rest stays."""
    for one in own.waiting:
        if one.ticket is None:
            with _told(own, one):
                ticket = engine.router.admit(TicketDraft(**one.fields, created_by=operator))
                engine.limits.take("submit", operator)
                one.ticket = ticket


def route(own: Desk, *, engine: Engine) -> None:
    """Route what was accepted. A run that is ended by a click in between is followed by one that goes on here."""
    for one in own.waiting:
        with _told(own, one):
            try:
                one.outcome = engine.router.route(TicketDraft(**one.fields, ticket_id=one.ticket.id, created_by=one.ticket.created_by))
            except Conflict:
                # The id was made here for this ticket alone: an earlier run has stored it, and ended before it could tell.
                _, one.outcome = engine.decisions.find(one.ticket.id)
            one.ended = time.monotonic()


@contextmanager
def _told(own: Desk, one: Sent) -> Iterator[None]:
    try:
        yield
    except ConsoleError as error:
        one.error, one.ended = error, time.monotonic()
        _back(own, one)
    except Exception:
        # Otherwise every run would begin with the same fault.
        one.error, one.ended = InvariantBroken("the console failed; look among the latest tickets before you send it again."), time.monotonic()
        one.uncertain = True
        _back(own, one)
        raise


def _back(own: Desk, one: Sent) -> None:
    """Put a ticket that was not stored back into the form, unless the next one is being typed there."""
    held = own.typed | own.wanted
    if not held["body"].strip() and not held["subject"].strip():
        own.wanted |= one.fields
        one.returned = True


def _goes_on(last: Sent | None, body: str) -> str:
    """The text of the ticket before, where this one was typed right behind it, else "": a browser that is typed in does not empty the
    field, so that who goes on before it is empty writes the next customer's words behind the last one's.
    """
    before = "" if last is None or last.error is not None else last.fields["body"]
    rest = body[len(before):] if len(before.strip()) >= TELLING and body.startswith(before) else ""
    return before if rest and not rest[0].isspace() else ""


def take_out(own: Desk) -> None:
    """Leave in the form what was typed behind the ticket before."""
    if own.doubtful:
        own.wanted["body"] = own.typed["body"][len(own.before):]
    own.held = own.before = ""


def _same(one: dict[str, str], other: dict[str, str]) -> bool:
    return all(one[name] == other[name] for name in CLEARED)


# Called by the browser's reports, before the page's script and its guard. `to_dict` is no line at which a waiting click ends them.

def _keep(own: Desk) -> None:
    now = st.session_state.to_dict()
    own.typed |= {name: now[key] for name, key in KEYS.items() if key in now}


def _send(own: Desk) -> None:
    _keep(own)
    fields = dict(own.typed)
    own.nothing = not any(fields[name].strip() for name in CLEARED)
    if own.nothing:
        return
    last = own.sent[-1] if own.sent else None
    before = _goes_on(last, fields["body"])
    if before and (fields["body"] != own.held or second_click.near(own.at)):
        own.held, own.before, own.at = fields["body"], before, time.monotonic()
        return
    own.held = own.before = ""
    own.wanted = dict.fromkeys(CLEARED, "")
    twice = last is not None and last.error is None and last.fields == fields
    if not twice or not (last.open or second_click.near(last.ended)):
        own.sent = [one for one in own.sent if not one.seen] + [Sent(fields)]
