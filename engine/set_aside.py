"""Accepted tickets that cannot be stored as they are, kept for a person to look at, with a way back into the spool."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from engine import spool_record
from engine.domain import Ticket
from engine.safe_file import sync_folder, write_safely
from engine.sanitize import TICKET_ID_MAX


@dataclass(frozen=True, slots=True)
class Record:
    """One record that was set aside: `ticket_id` is empty where it cannot be read. `file` is its name in the folder."""

    ticket_id: str
    reason: str
    file: str


class SetAside:
    """A folder with a file for each ticket that was refused, and one for the broken records of each segment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def refuse(self, ticket: Ticket, reason: str) -> None:
        """Keep a ticket that can never be stored as it is. Raises OSError; the caller still has it then."""
        content = json.dumps({"reason": reason, "ticket": spool_record.as_json(ticket)}, ensure_ascii=False).encode()
        self._write(f"{_digest(spool_record.written(ticket))}.json", content)

    def broken(self, segment: str, lines: Sequence[bytes]) -> None:
        """Keep torn or altered records: one torn by a crash was never accepted, an altered one was. Raises OSError."""
        content = b"\n".join(lines)
        self._write(f"{segment}-{_digest(content)[:8]}.torn", content)

    def records(self) -> list[Record]:
        """What lies here, by file name."""
        return [record for path in self._files() for record in _records(path)]

    def __len__(self) -> int:
        # Asked for at every scrape: only what may hold several records is read.
        return sum(1 if path.suffix == ".json" else len(_records(path)) for path in self._files())

    def put_back(self, keep: Callable[[Ticket], None], *, new_ids: bool = False) -> int:
        """Give every ticket that can be read to `keep`, which may raise, and forget it here; their number.

        With `new_ids` they get ids of their own, the same ones when it is done again: for ids that other tickets have.
        """
        back = 0
        for path in self._files():
            tickets, left = _read(path)
            for ticket in tickets:
                keep(replace(ticket, id=_own_id(ticket)) if new_ids else ticket)
            back += len(tickets)
            if left and tickets:
                self._write(path.name, b"\n".join(left))
            elif not left:
                path.unlink(missing_ok=True)
        return back

    def forget(self, *, before: datetime) -> int:
        """Remove tickets that were accepted before this time (aware); what cannot be read goes by the time it was set aside.

        The number of files.
        """
        old = [path for path in self._files() if _since(path) < before]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if path.suffix in {".json", ".torn"}) if self._folder.is_dir() else []

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_safely(self._folder / name, content)
        # Its own name too: whoever hands a record over removes it where it was.
        sync_folder(self._folder.parent)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _read(path: Path) -> tuple[list[Ticket], list[bytes]]:
    """The tickets of a file, and what makes none."""
    content = _content(path)
    if content is None:
        return [], []
    if path.suffix == ".torn":
        lines = [line for line in content.split(b"\n") if line]
        found = [(line, spool_record.read(line)) for line in lines]
    else:
        found = [(content, spool_record.from_json(_parsed(content).get("ticket", {})))]
    return [ticket for _, ticket in found if ticket is not None], [line for line, ticket in found if ticket is None]


def _since(path: Path) -> datetime:
    tickets, _ = _read(path)
    if path.suffix == ".json" and tickets:
        return tickets[0].created_at
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return datetime.max.replace(tzinfo=UTC)


def _records(path: Path) -> list[Record]:
    if path.suffix == ".torn":
        tickets, left = _read(path)
        return [Record(t.id, "this version reads it", path.name) for t in tickets] + [Record("", "torn or altered", path.name)] * len(left)
    content = _content(path)
    if content is None:
        return []
    found = _parsed(content)
    ticket = spool_record.from_json(found.get("ticket", {}))
    return [Record(ticket.id if ticket else "", str(found.get("reason", "unreadable")), path.name)]


def _parsed(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _own_id(ticket: Ticket) -> str:
    mark = _digest(spool_record.written(ticket))[:12]
    return f"{ticket.id[:TICKET_ID_MAX - 13]}-{mark}"
