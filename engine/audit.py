"""The audit log: who did what to which object, before and after, from where; each row sealed with the one before it."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.ports import Clock, DecisionLog

GENESIS = "0" * 64
_FIELDS = ("id", "actor", "action", "kind", "object", "before", "after", "address", "previous")

# Where the current request or page run comes from; the guard, the API, the files and the sign-in pages set it.
_address: ContextVar[str] = ContextVar("audit_address", default="")


def coming_from(address: str) -> None:
    """Say where what follows in this thread comes from."""
    _address.set(address[:64])


def seal(previous: str, row: dict[str, Any]) -> str:
    """SHA-256 over the previous row's hash and this row's columns in canonical JSON; 64 hex digits."""
    content = {name: row[name] for name in _FIELDS} | {"at": row["at"].astimezone(UTC).isoformat(timespec="microseconds")}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a check of the chain found. `broken_at` is the first bad row's number, None when all rows fit."""

    rows: int
    head: str
    broken_at: int | None = None
    problem: str = ""


class AuditStore(Protocol):
    """Append-only rows. Raises ServiceUnavailable."""

    def add(self, row: dict[str, Any]) -> tuple[int, str]: ...

    def add_to(self, connection: Any, row: dict[str, Any], *, stored: Callable[[int, str], None]) -> None: ...

    def find(
        self, *, limit: int, actor: str = "", action: str = "", words: str = "", since: datetime | None = None
    ) -> Sequence[Any]: ...

    def actions(self) -> list[str]: ...

    def actors(self) -> list[str]: ...

    def chain(self) -> Any: ...


class Audit:
    """Records and checks. Each row's number and hash also go to the log, where they stand as a witness outside the database."""

    def __init__(self, store: AuditStore, *, clock: Clock, log: DecisionLog) -> None:
        self._store = store
        self._clock = clock
        self._log = log

    def record(
        self, actor: str, action: str, kind: str, object_: str, *, before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None, connection: Any = None,
    ) -> None:
        """Append one row, in the caller's transaction when its connection is given.

        `before` and `after` hold plain JSON values and never a secret or a customer's words. Raises ServiceUnavailable.
        """
        row = {
            "at": self._clock(), "actor": actor[:120], "action": action[:64], "kind": kind[:32], "object": object_[:200],
            "before": before, "after": after, "address": _address.get(),
        }
        def stored(number: int, hash_: str) -> None:
            self._log.event("audit", number=number, action=action, hash=hash_)

        if connection is None:
            stored(*self._store.add(row))
        else:
            # A witness of a row that was rolled back would look like a log that was replaced.
            self._store.add_to(connection, row, stored=stored)

    def find(
        self, *, limit: int = 200, actor: str = "", action: str = "", words: str = "", since: datetime | None = None
    ) -> Sequence[Any]:
        """Rows, newest first: of this actor, with this action, whose object holds the words, since this time (inclusive)."""
        return self._store.find(limit=limit, actor=_plain(actor), action=_plain(action), words=_plain(words), since=since)

    def actions(self) -> list[str]:
        """The actions that occur, sorted."""
        return self._store.actions()

    def actors(self) -> list[str]:
        """Everybody and everything that did something, sorted; not only users."""
        return self._store.actors()

    def verify(self, *, witness: str = "") -> Verified:
        """Walk the whole chain; says where it is broken first. `witness` is a hash noted earlier that must occur."""
        with self._store.chain() as (rows, head):
            return checked(rows, head_id=head.id, head_hash=head.hash, witness=witness)


def checked(rows: Iterable[Any], *, head_id: int, head_hash: str, witness: str = "") -> Verified:
    """Check rows in order against their seals and the head. Rows have the columns of the audit log."""
    # What was noted of a log without rows is where every log begins.
    previous, count, seen = GENESIS, 0, witness in ("", GENESIS)
    for row in rows:
        if row.id != count + 1:
            return Verified(rows=count, head=previous, broken_at=count + 1, problem=f"row {count + 1} is missing")
        values = {name: getattr(row, name) for name in (*_FIELDS, "at")}
        if row.previous != previous or seal(previous, values) != row.hash:
            return Verified(rows=count, head=previous, broken_at=row.id, problem=f"row {row.id} was altered")
        previous, count, seen = row.hash, count + 1, seen or row.hash == witness
    if count != head_id or previous != head_hash:
        return Verified(rows=count, head=previous, broken_at=count + 1, problem=f"rows after {count} were removed")
    if not seen:
        return Verified(rows=count, head=previous, broken_at=1, problem="the log was replaced: the noted hash does not occur")
    return Verified(rows=count, head=previous)


def _plain(text: str) -> str:
    # Postgres refuses NUL in text; nothing stored can hold one.
    return text.replace("\x00", "")
