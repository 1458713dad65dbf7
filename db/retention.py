"""Removing the customers' words after a time, with everything that statistics need kept."""
from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine, text

from db.session import writing

# Tickets of one transaction: long enough to be quick, short enough that nobody waits for its locks.
BATCH = 2_000
_NEXT = text(
    "select id, created_at from tickets where created_at < :before and text_removed_at is null "
    "and (created_at, id) > (:created_at, :id) order by created_at, id limit :batch"
)
_STEPS = (
    # Who labels or overrules one of them at this moment is waited for, or waits: its words are found below, or gone when they are read.
    "select from routing_history where ticket_id = any(:ids) order by ticket_id for update",
    "update outcomes set note = '' where note <> '' and ticket_id = any(:ids)",
    "update overrules set reason = '' where reason <> '' and ticket_id = any(:ids)",
    # A language model says in its own words what the customer wants.
    "update routing_history set reason = 'The text of this ticket was removed.' where method = 'rag_llm' and ticket_id = any(:ids)",
    "update exemplars set text = '', active = false where ticket_id = any(:ids)",
    # A vector can be turned back into much of its text, so it goes with the text; after it, since who is just storing one holds the exemplar.
    "delete from exemplar_vectors where exemplar_id in (select id from exemplars where ticket_id = any(:ids))",
    "update tickets set subject = '', body = '', customer_ref = '', fingerprint = '', text_removed_at = :now where id = any(:ids)",
)
# What is said of a ticket after it has lost its text is older than the limit itself one day.
_LATER_NOTES = text("update outcomes set note = '' where note <> '' and created_at < :before")


class Retention:
    """Removes text; decisions, outcomes and counts stay."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def purge(self, *, before: datetime, now: datetime) -> int:
        """Remove the texts of tickets created before this time (aware), oldest first; their number.

        Each batch is a transaction, with everything of its tickets. Broken off, it can be called again: what is gone is gone.
        Notes of before this time go too where a ticket got them after its text was removed.
        Raises ServiceUnavailable.
        """
        removed, last = 0, {"created_at": datetime.min.replace(tzinfo=UTC), "id": ""}
        while True:
            with writing(self._engine) as connection:
                # The first look of a later purge passes over all that is removed already.
                connection.execute(text("set local statement_timeout = 0"))
                rows = connection.execute(_NEXT, {"before": before, "batch": BATCH, **last}).all()
                for step in _STEPS if rows else ():
                    connection.execute(text(step), {"ids": [row.id for row in rows], "now": now})
            removed += len(rows)
            if len(rows) < BATCH:
                break
            last = {"created_at": rows[-1].created_at, "id": rows[-1].id}
        with writing(self._engine) as connection:
            connection.execute(text("set local statement_timeout = 0"))
            connection.execute(_LATER_NOTES, {"before": before})
        return removed
