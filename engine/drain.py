"""Takes tickets out of the spool when the database is back: routed and stored exactly once, by ticket id."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from engine.background import Background
from engine.domain import Decision, Ticket
from engine.errors import Conflict, ServiceUnavailable
from engine.ports import DecisionLog, DecisionStore
from engine.spool import Spool

BATCH = 64


class Drainer:
    """Drains in the background while there is something to drain and the database may be asked.

    `route` decides and stores tickets in one transaction, like `ConfidenceRouter.route_tickets`; `open_for_calls` says
    whether the database is worth a try.
    """

    def __init__(
        self, *, spool: Spool, route: Callable[[Sequence[Ticket]], list[Decision]], store: DecisionStore,
        open_for_calls: Callable[[], bool], log: DecisionLog, interval: float = 1.0,
    ) -> None:
        self._spool = spool
        self._route = route
        self._store = store
        self._open_for_calls = open_for_calls
        self._log = log
        self._background = Background("spool", self._look, log=log, interval=interval)

    def start(self) -> None:
        """Look every `interval` seconds until `close`."""
        self._background.start()

    def close(self) -> None:
        """Stop after the batch that is under way."""
        self._background.close()

    def drain(self) -> int:
        """Store what may be stored now; the number of tickets. Raises ServiceUnavailable when the database goes away."""
        stored = 0
        with self._spool.draining() as segments:
            for segment in segments:
                stored += self._segment(segment)
        return stored

    def _look(self) -> None:
        # When it fails, nothing was removed: the next look tries again.
        if self._open_for_calls() and not self._spool.empty():
            stored = self.drain()
            if stored:
                self._log.event("spool_drained", tickets=stored)

    def _segment(self, segment: Path) -> int:
        tickets, broken = self._spool.read(segment)
        if broken:
            self._log.event("spool_records_broken", segment=segment.name, records=len(broken))
        stored = 0
        for start in range(0, len(tickets), BATCH):
            if self._background.stopped:
                return stored
            stored += self._batch(tickets[start:start + BATCH])
        self._spool.remove(segment)
        return stored

    def _batch(self, tickets: Sequence[Ticket]) -> int:
        known = self._store.bodies([ticket.id for ticket in tickets])
        fresh: dict[str, Ticket] = {}
        for ticket in tickets:
            body = known.get(ticket.id, fresh[ticket.id].body if ticket.id in fresh else None)
            if body is None:
                fresh[ticket.id] = ticket
            elif body != ticket.body:
                self._spool.refuse(ticket, "another ticket with this id is stored")
                self._log.event("spooled_ticket_refused", ticket_id=ticket.id, reason="conflict")
        if not fresh:
            return 0
        try:
            return len(self._route(list(fresh.values())))
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one bad ticket must not keep the others from being stored
            if len(tickets) > 1:
                return sum(self._batch([ticket]) for ticket in fresh.values())
            if not isinstance(error, Conflict) or not self._store.bodies([tickets[0].id]):
                self._spool.refuse(tickets[0], f"{type(error).__name__}: it could not be routed")
                self._log.event("spooled_ticket_refused", ticket_id=tickets[0].id, reason=type(error).__name__)
            return 0
