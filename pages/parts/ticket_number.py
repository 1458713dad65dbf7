"""The number of a ticket, as somebody typed it."""
from __future__ import annotations

from engine.bootstrap import Engine
from engine.sanitize import TICKET_ID_MAX, remark


def meant(entered: str, *, engine: Engine) -> str:
    """The number of the stored ticket that is meant, as typed where there is none. Raises ServiceUnavailable.

    Numbers are read out on the phone and typed in small letters; those that the console gives hold none.
    """
    number = remark(entered, maximum=TICKET_ID_MAX)
    in_capitals = number.upper()
    there = engine.decisions.existing([number, in_capitals])
    return in_capitals if number not in there and in_capitals in there else number
