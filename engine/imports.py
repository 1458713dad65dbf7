"""Tickets from a CSV file: checked as a whole before anything is stored, routed in batches, resumable."""
from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine import csv_table
from engine.domain import Channel, Decision, Origin, Priority, Ticket, TicketDraft
from engine.errors import Conflict, ImportRejected, TicketRejected
from engine.ports import DecisionStore
from engine.router import ConfidenceRouter
from engine.sanitize import remark

MAX_BYTES = 50_000_000
# A batch is about so long, so that whoever waits sees that it goes on; where a language model is asked, one ticket may take seconds.
FIRST, BATCH = 8, 128
SECONDS = 2.0
_NAMED_ERRORS = 5
# Beside the text's own.
_OPTIONAL = ("ticket_id", "subject", "channel", "customer_ref", "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFile:
    """A checked file: every ticket in it can be stored. `name` is for messages."""

    name: str
    tickets: tuple[Ticket, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an import did: decisions of this run, and how many tickets an earlier run had stored already."""

    decisions: tuple[Decision, ...]
    already_stored: int


def read(
    content: bytes, *, name: str, router: ConfidenceRouter, text_column: str = "body", created_by: str = "", most: int | None = None
) -> ImportFile:
    """Check a CSV with the column `body` (or `text_column`) and optionally ticket_id, subject, channel, customer_ref, priority.

    Capital letters and blanks around a column's name do not matter.
    A ticket without an id gets one from the file's content and its line, so that a second run of the same file finds
    what the first has stored. Raises ImportRejected that lists the lines to mend, or says that there are more than `most`
    tickets; nothing is stored.
    """
    expect_size(len(content), name=name)
    prefix = "I-" + hashlib.blake2b(content, digest_size=6).hexdigest()
    tickets, problems, lines, number = [], [], {}, 0
    text_column = csv_table.key(text_column)
    found = csv_table.rows(content, columns=(text_column,), refused=lambda problem: ImportRejected(f"{name}: {problem}. Nothing was stored."))
    for number, row in enumerate(found, start=1):
        if most is not None and number > most:
            raise ImportRejected(f"{name}: at most {most:,} tickets; found more. Split the file. Nothing was stored.")
        if row.problem:
            problems.append(f"line {row.line}: {row.problem}")
            continue
        cells = row.cells
        draft = TicketDraft(
            # Taken out: the text is not its own subject as well.
            body=cells.pop(text_column),
            subject=cells.get("subject", ""),
            channel=cells.get("channel") or Channel.OTHER,
            customer_ref=cells.get("customer_ref", ""),
            priority=cells.get("priority") or Priority.NORMAL,
            ticket_id=cells.get("ticket_id", "").strip() or f"{prefix}-{number}",
            created_by=created_by,
            origin=Origin.IMPORT,
        )
        if draft.ticket_id in lines:
            problems.append(f"line {row.line}: ticket_id {draft.ticket_id[:64]} is also on line {lines[draft.ticket_id]}")
            continue
        lines[draft.ticket_id] = row.line
        try:
            tickets.append(router.admit(draft))
        except TicketRejected as error:
            problems.append(f"line {row.line}: {error.field}: {error.limit}; found {error.found}")
    if problems:
        raise _refusal(problems, of=number, name=name)
    if not tickets:
        raise ImportRejected(f"{name}: there is no ticket in the file. Nothing was stored.")
    return ImportFile(name=name, tickets=tuple(tickets))


def _refusal(problems: Sequence[str], *, of: int, name: str) -> ImportRejected:
    whole, these = "line" if of == 1 else "lines", "this line" if len(problems) == 1 else "these lines"
    more = f" and {len(problems) - _NAMED_ERRORS:,} more" if len(problems) > _NAMED_ERRORS else ""
    return ImportRejected(
        f"{name}: {len(problems):,} of {of:,} {whole} cannot be stored, so nothing was: "
        f"{'; '.join(_few(problems))}{more}. Mend {these} and import the file again."
    )


def expect_size(size: int, *, name: str) -> None:
    """Raises ImportRejected where a file of so many bytes is more than `read` takes: whoever knows the size need not read it first."""
    if size > MAX_BYTES:
        raise ImportRejected(f"{name}: at most {MAX_BYTES:,} bytes; found {size:,}. Split the file. Nothing was stored.")


def unread(content: bytes, *, text_column: str = "body") -> tuple[str, ...]:
    """The names of the columns that `read` passes over, as plain text, in small letters and the file's order; none where it reads nothing.

    What stands in them is not stored, and cannot be added to a stored ticket: a name that is misspelt should be seen before.
    """
    wanted = csv_table.key(text_column)
    try:
        row = next(csv_table.rows(content, columns=(wanted,), refused=ImportRejected), None)
    except ImportRejected:
        return ()
    return () if row is None else tuple(filter(None, (remark(name, maximum=40) for name in row.cells if name not in {wanted, *_OPTIONAL})))


def run(
    file: ImportFile, *, router: ConfidenceRouter, store: DecisionStore, progress: Callable[[int, int], None] | None = None,
    take: Callable[[int], None] | None = None, stopwatch: Callable[[], float] = time.monotonic,
) -> ImportResult:
    """Route and store the tickets that are not stored yet, in batches of one transaction each.

    A batch is as large as can be expected to take SECONDS by the `stopwatch`, FIRST tickets to begin with and at least, BATCH at most.
    `progress(done, total)` is called after each. Interrupted, it can be run again: stored tickets are passed over,
    also those that another run of the same file stores at the same time.
    `take(tickets)` is asked once, before anything is stored, for as many as are to be routed; what it raises passes.
    Raises ImportRejected when an id of the file belongs to another ticket, ServiceUnavailable without the database.
    """
    stored = _already_stored(file, file.tickets, store)
    open_tickets = [ticket for ticket in file.tickets if ticket.id not in stored]
    if take is not None and open_tickets:
        take(len(open_tickets))
    decisions: list[Decision] = []
    start, size = 0, min(FIRST, BATCH)
    while start < len(open_tickets):
        batch, began = open_tickets[start:start + size], stopwatch()
        start += size
        while batch:
            try:
                decisions += router.route_tickets(batch)
                break
            except Conflict:
                # Somebody else is storing the same tickets: nothing of the batch is stored by us, the rest is routed again.
                found = _already_stored(file, batch, store, before=len(stored) + len(decisions))
                if not found:
                    raise
                stored |= found
                batch = [ticket for ticket in batch if ticket.id not in found]
        size = _next_size(size, took=stopwatch() - began)
        if progress is not None:
            progress(len(stored) + len(decisions), len(file.tickets))
    return ImportResult(decisions=tuple(decisions), already_stored=len(stored))


def _next_size(size: int, *, took: float) -> int:
    """Twice as many at most: what comes next may be slower than what came before. And never fewer than FIRST, of which several are asked
    of the language model at once while the others cost nothing to speak of.
    """
    return min(BATCH, 2 * size, max(FIRST, int(size * SECONDS / max(took, 1e-9))))


def _already_stored(file: ImportFile, tickets: Sequence[Ticket], store: DecisionStore, *, before: int = 0) -> set[str]:
    known = store.stored([ticket.id for ticket in tickets])
    other = [ticket.id for ticket in tickets if ticket.id in known and not ticket.repeats(known[ticket.id])]
    if other:
        are = "ticket of the file is" if before == 1 else "tickets of the file are"
        so_far = f"{before:,} {are} stored, the others are not" if before else "Nothing was stored"
        raise ImportRejected(
            f"{file.name}: ticket_id {', '.join(_few(other))} belongs to another ticket that is stored already. "
            f"{so_far}. Give these lines other ids."
        )
    return set(known)


def _few(names: Sequence[str]) -> Sequence[str]:
    return names[:_NAMED_ERRORS]
