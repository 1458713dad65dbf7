"""A ticket as one line of a file: a CRC-32 in eight hex digits and a JSON object. A torn or altered line fails its checksum."""
from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from engine.domain import Channel, Origin, Priority, Ticket


def written(ticket: Ticket) -> bytes:
    """The ticket's line, its end included."""
    # ASCII only, so that a line end can never be part of a record.
    body = json.dumps(as_json(ticket)).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def read(line: bytes) -> Ticket | None:
    """The ticket of a line without its end, None when the line is not whole or not as it was written."""
    try:
        return from_json(json.loads(line[9:])) if int(line[:8], 16) == zlib.crc32(line[9:]) else None
    except ValueError:
        return None


def as_json(ticket: Ticket) -> dict[str, str]:
    """The ticket's fields."""
    return asdict(ticket) | {"created_at": ticket.created_at.isoformat()}


def from_json(fields: Mapping[str, str]) -> Ticket | None:
    """The ticket of these fields, None when they make none."""
    try:
        return Ticket(
            id=fields["id"], subject=fields["subject"], body=fields["body"], channel=Channel(fields["channel"]),
            customer_ref=fields["customer_ref"], priority=Priority(fields["priority"]),
            created_at=datetime.fromisoformat(fields["created_at"]), created_by=fields["created_by"],
            origin=Origin(fields["origin"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
