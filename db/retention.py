"""Removing the customers' words after a time, with everything that statistics need kept."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, text

from db.session import writing

_OLD = "select id from tickets where created_at < :before and text_removed_at is null"
_STEPS = (
    f"update outcomes set note = '' where note <> '' and ticket_id in ({_OLD})",
    f"update overrules set reason = '' where reason <> '' and ticket_id in ({_OLD})",
    # A vector can be turned back into much of its text, so it goes with the text.
    f"delete from exemplar_vectors where exemplar_id in (select id from exemplars where ticket_id in ({_OLD}))",
    f"update exemplars set text = '', active = false where ticket_id in ({_OLD})",
)
_TICKETS = text(
    "update tickets set subject = '', body = '', customer_ref = '', fingerprint = '', text_removed_at = :now "
    "where created_at < :before and text_removed_at is null"
)


class Retention:
    """Removes text; decisions, outcomes and counts stay."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def purge(self, *, before: datetime, now: datetime) -> int:
        """Remove the texts of tickets created before this time, in one transaction; their number."""
        with writing(self._engine) as connection:
            connection.execute(text("set local statement_timeout = 0"))
            for step in _STEPS:
                connection.execute(text(step), {"before": before})
            return connection.execute(_TICKETS, {"before": before, "now": now}).rowcount
