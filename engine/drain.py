"""Takes tickets out of the spool when the database is back: routed and stored exactly once, by ticket id."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.background import Background
from engine.domain import Decision, Ticket
from engine.errors import Conflict, InputRejected, ServiceUnavailable
from engine.ports import DecisionLog, DecisionStore
from engine.spool import Spool

BATCH = 64
# Seconds until what could not be stored is tried again: doubled each time, up to the longest.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
# So many failures in a row are not these tickets' fault: the rest of their segment is left for the next time.
IN_A_ROW = 8


class Drainer:
    """Drains in the background while there is something to drain and the database may be asked.

    `route` decides and stores tickets in one transaction, like `ConfidenceRouter.route_tickets`; `open_for_calls` says
    whether the database is worth a try. Only a ticket that can never be stored as it is leaves the spool unstored, to be set
    aside: another ticket with its id is stored, or it breaks a rule. Whatever else goes wrong with a ticket, the others go
    on, and it is tried again behind them after a while.
    """

    def __init__(
        self, *, spool: Spool, route: Callable[[Sequence[Ticket]], list[Decision]], store: DecisionStore,
        open_for_calls: Callable[[], bool], log: DecisionLog, interval: float = 1.0, stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._route = route
        self._store = store
        self._open_for_calls = open_for_calls
        self._log = log
        self._stopwatch = stopwatch
        # By segment with a failure: how often it was tried, and when it may be again.
        self._later: dict[str, tuple[int, float]] = {}
        self._background = Background("spool", self._look, log=log, interval=interval)

    def start(self) -> None:
        """Look every `interval` seconds until `close`."""
        self._background.start()

    def close(self) -> None:
        """Stop after the batch that is under way."""
        self._background.close()

    def drain(self) -> int:
        """Store what may be stored now; the number of tickets. What has failed here before waits for its time.

        Raises ServiceUnavailable when the database goes away.
        """
        stored = 0
        with self._spool.draining() as segments:
            self._later = {path.name: self._later[path.name] for path in segments if path.name in self._later}
            for segment in segments:
                if self._stopwatch() >= self._later.get(segment.name, (0, 0.0))[1]:
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
        part = _Part(tickets)
        while part.untried and part.in_a_row < IN_A_ROW:
            if self._background.stopped:
                return part.stored
            self._batch(part, [part.untried.pop(0) for _ in range(min(BATCH, len(part.untried)))])
        left = part.untried + part.failed
        # Those that were not tried come first the next time: the ones that fail never keep the others waiting for ever.
        try:
            self._spool.remove(segment, but=left)
        except OSError as error:
            # A full disk: everything stays where it is, and what is stored is known by its id.
            left, part.error = tickets, type(error).__name__
        if left:
            tries = self._later.get(segment.name, (0, 0.0))[0] + 1
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 10))
            self._later[segment.name] = (tries, self._stopwatch() + wait)
            self._log.event("spooled_tickets_left", tickets=len(left), error=part.error, attempt=tries, again_in=wait)
        else:
            self._later.pop(segment.name, None)
        return part.stored

    def _batch(self, part: _Part, tickets: Sequence[Ticket]) -> None:
        try:
            fresh = self._fresh(tickets)
            part.stored += len(self._route(fresh)) if fresh else 0
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of the console must cost no accepted ticket
            self._apart(part, tickets, error)
        else:
            part.in_a_row = 0

    def _apart(self, part: _Part, tickets: Sequence[Ticket], error: Exception) -> None:
        """Tickets that could not be stored together: one after the other; a single one is set aside or left."""
        if len(tickets) > 1:
            for number, ticket in enumerate(tickets):
                if part.in_a_row >= IN_A_ROW:
                    part.untried[:0] = tickets[number:]
                    return
                self._batch(part, [ticket])
            return
        [ticket] = tickets
        try:
            if isinstance(error, InputRejected):
                self._set_aside(ticket, str(error), kind=type(error).__name__)
                return
            if isinstance(error, Conflict) and not self._fresh(tickets):
                # Another process has stored it meanwhile, or another ticket with its id; then it is set aside now.
                return
        except ServiceUnavailable:
            raise
        except Exception as another:  # noqa: BLE001 - as above
            error = another
        part.failed.append(ticket)
        part.in_a_row += 1
        part.error = type(error).__name__

    def _fresh(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Those that are not stored yet, each once; one whose id belongs to another ticket is set aside."""
        known = self._store.stored([ticket.id for ticket in tickets])
        fresh: dict[str, Ticket] = {}
        for ticket in tickets:
            first = known.get(ticket.id) or fresh.setdefault(ticket.id, ticket)
            if not ticket.repeats(first):
                self._set_aside(ticket, "another ticket with this id is stored", kind="conflict")
        return list(fresh.values())

    def _set_aside(self, ticket: Ticket, reason: str, *, kind: str) -> None:
        self._spool.set_aside.refuse(ticket, reason)
        self._log.event("spooled_ticket_refused", ticket_id=ticket.id, reason=kind)


class _Part:
    """A segment's tickets while it is drained: not tried yet, failed, how many of those in a row, and the last one's error."""

    def __init__(self, tickets: Sequence[Ticket]) -> None:
        self.untried = list(tickets)
        self.failed: list[Ticket] = []
        self.in_a_row = 0
        self.stored = 0
        self.error = ""
