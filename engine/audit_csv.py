"""The audit log as CSV."""
from __future__ import annotations

import json
from typing import Any

from engine import export
from engine.audit import Audit

COLUMNS = ("number", "time", "who", "what", "kind", "object", "before", "after", "from", "hash")
MOST = 100_000


def content(audit: Audit, operator: str, **filters: Any) -> bytes:
    """The newest `MOST` rows that fit the filters of `Audit.find`, harmless in a spreadsheet; the export itself is noted.

    When more rows fit, a last line says that they are missing. Raises ServiceUnavailable.
    """
    rows = audit.find(limit=MOST + 1, **filters)
    more = len(rows) > MOST
    audit.record(operator, "audit_exported", "audit", "csv", after={"rows": min(len(rows), MOST), "complete": not more})
    cells = [_cells(row) for row in rows[:MOST]]
    if more:
        told = f"older rows fit too and are not in this file, which holds the newest {MOST:,}; choose filters to get them"
        cells.append((told, *[""] * (len(COLUMNS) - 1)))
    return export.csv_bytes(COLUMNS, cells)


def _cells(row: Any) -> tuple[Any, ...]:
    before, after = (json.dumps(value, sort_keys=True) if value is not None else "" for value in (row.before, row.after))
    return row.id, row.at, row.actor, row.action, row.kind, row.object, before, after, row.address, row.hash
