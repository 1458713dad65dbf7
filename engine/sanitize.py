"""The one way in for text: what a stranger sent becomes plain text within limits, or a clear refusal.

The result is plain text, not HTML: `a < b & c` and `List<String>` stay as they are, and escaping happens once, where the
text is shown. Only markup of known HTML elements goes away, script and style together with their content.
"""
from __future__ import annotations

import os
import random
import re
import secrets
from datetime import datetime

from engine import markup
from engine.domain import Channel, Priority, Ticket, TicketDraft
from engine.errors import TicketRejected
from engine.unicode_forms import normal_form

SUBJECT_MAX = 200
CUSTOMER_REF_MAX = 64
TICKET_ID_MAX = 64
_BINARY_SHARE = 0.1
# Markup within markup is taken apart this often; nobody nests deeper by accident.
_ROUNDS = 8
# Cc except tab and newline, lone surrogates, bidi embeddings, overrides and isolates, zero-width space, word joiner, BOM.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff]")
_BLANKS = re.compile(r"[ \t\u00a0]+")
_EMPTY_LINES = re.compile(r"\n{3,}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:#/-]*")

# Ids must differ, not be secret; asking the system for chance takes longer than the rest of the check.
_CHANCE = random.Random(secrets.randbits(256))
os.register_at_fork(after_in_child=lambda: _CHANCE.seed(secrets.randbits(256)))


def plain_text(text: str) -> str:
    """Unicode NFC without invisible control characters and without HTML markup. Never raises on a str; idempotent."""
    for _ in range(_ROUNDS):
        text = _tidied(text)
        if "<" not in text or ">" not in text or not markup.found(text):
            return text
        text = markup.without(text)
    return _tidied(text.replace("<", " "))


def _tidied(text: str) -> str:
    if not text.isprintable() or not text.isascii():
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        text = normal_form("NFC", _INVISIBLE.sub("", text))
    text = _BLANKS.sub(" ", text)
    if "\n" in text:
        text = _EMPTY_LINES.sub("\n\n", "\n".join(line.strip() for line in text.split("\n")))
    return text.strip()


def _checked_size(field: str, text: object, maximum: int) -> str:
    if not isinstance(text, str):
        raise TicketRejected(field, limit="must be text", found=type(text).__name__)
    if len(text) > maximum:
        raise TicketRejected(field, limit=f"at most {maximum:,} characters", found=f"{len(text):,} characters")
    return text


def _short(field: str, text: object, maximum: int) -> str:
    return _BLANKS.sub(" ", plain_text(_checked_size(field, text, maximum)).replace("\n", " "))


def one_line(text: str) -> str:
    """As plain text without breaks and double blanks: names that look the same are the same."""
    return " ".join(plain_text(text).split())


def remark(text: str, *, maximum: int = 500) -> str:
    """What an operator writes beside a ticket (a note, a reason, a name): plain text on one line, at most `maximum` characters.

    Of a longer text only the first hundred times as many are looked at: megabytes of markup take minutes to clean.
    """
    return one_line(text[: 100 * maximum])[:maximum].rstrip()


def body_text(body: object, *, minimum: int, maximum: int, field: str = "body") -> str:
    """The ticket's text as plain text of `minimum` to `maximum` characters. Raises TicketRejected naming `field`."""
    raw = _checked_size(field, body, maximum)
    if not raw.strip():
        raise TicketRejected(field, limit=f"at least {minimum} characters", found="an empty text")
    hidden = 0 if raw.isprintable() else len(_INVISIBLE.findall(raw.replace("\r\n", "\n")))
    if hidden > 3 and hidden > _BINARY_SHARE * len(raw):
        raise TicketRejected(field, limit="must be readable text", found=f"binary data ({hidden:,} control characters)")
    text = plain_text(raw)
    if not text:
        what = "nothing but markup" if "<" in raw else "nothing but invisible characters"
        raise TicketRejected(field, limit="must hold text beside markup", found=what)
    if len(text) < minimum:
        raise TicketRejected(field, limit=f"at least {minimum} characters", found=f"{len(text)} character")
    if not any(map(str.isalnum, text)):
        raise TicketRejected(field, limit="must hold at least one word or number", found=f"only symbols ({text[:20]})")
    return text


def _choice(field: str, value: str, kind: type[Channel] | type[Priority]) -> Channel | Priority:
    try:
        return kind(str(value).strip().lower())
    except ValueError:
        allowed = ", ".join(kind)
        raise TicketRejected(field, limit=f"must be one of {allowed}", found=repr(str(value)[:40])) from None


def new_ticket_id(now: datetime) -> str:
    """A ticket id that sorts by time and can be read out on the phone: T-20260131-7F3K9Q2M5R."""
    return f"T-{now:%Y%m%d}-{''.join(_CHANCE.choices('23456789ABCDEFGHJKMNPQRSTVWXYZ', k=10))}"


def admit(draft: TicketDraft, *, now: datetime, minimum: int = 2, maximum: int = 20_000) -> Ticket:
    """Check and clean a draft. `now` is timezone-aware. Raises TicketRejected naming field, limit and value found."""
    body = body_text(draft.body, minimum=minimum, maximum=maximum)
    ticket_id = draft.ticket_id.strip() if draft.ticket_id else new_ticket_id(now)
    if len(ticket_id) > TICKET_ID_MAX or not _ID.fullmatch(ticket_id):
        raise TicketRejected(
            "ticket_id", limit=f"1 to {TICKET_ID_MAX} letters, digits and . _ : # / -", found=repr(ticket_id[:80])
        )
    return Ticket(
        id=ticket_id,
        subject=_short("subject", draft.subject, SUBJECT_MAX),
        body=body,
        channel=Channel(_choice("channel", draft.channel, Channel)),
        customer_ref=_short("customer_ref", draft.customer_ref, CUSTOMER_REF_MAX),
        priority=Priority(_choice("priority", draft.priority, Priority)),
        created_at=now,
        created_by=draft.created_by,
        origin=draft.origin,
    )
