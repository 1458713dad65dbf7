"""The decision log: one JSON object per line, to a stream and, when asked for, to a rotating file.

The console that is served writes to standard output; one-off commands print their result there, and their log goes to the
file alone.

Names are those of the Elastic Common Schema where it has one (`@timestamp`, `event.*`, `service.*`, `error.type`,
`user.name`), else they are the console's own; `docs/decision-log.md` describes all of them and
`docs/decision-log.schema.json` checks them. Lines hold names, numbers and ids, never ticket text.
"""
from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import structlog

from engine.domain import Decision, Ticket
from engine.privacy import masked
from engine.telemetry.rotating import RotatingLines

MAX_BYTES = 50_000_000
BACKUPS = 5
SCHEMA = "1.0"
SERVICE = "routing-console"
# Fields that could carry what a customer wrote; nothing under these names is ever written.
NEVER = frozenset({"text", "body", "subject_text", "customer_ref", "query", "prompt", "message_text"})
# Made by the engine itself; an id may look like a phone number.
MADE_HERE = frozenset({"ticket_id", "hash"})
# Something is lost or broken until a person looks at it; and: something did not go as it should, and the console went on.
ERRORS = frozenset({"database_outage", "log_lines_lost", "model_unreadable", "spool_records_broken", "spooled_ticket_refused", "upkeep_failed"})
WARNINGS = frozenset({
    "alert_opened", "data_went_back", "embedded_servers_started", "export_failed", "index_not_configured", "notice_failed", "rate_limit_unchecked",
    "service_unavailable", "sign_in_refused", "spooled_tickets_left",
    "ticket_spooled",
})
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str, separators=(",", ":"))


class DecisionLog:
    """Writes decisions and events. `close` flushes and closes the file."""

    def __init__(
        self, path: Path | None = None, *, stream: TextIO | None = sys.stderr, max_bytes: int = MAX_BYTES, backups: int = BACKUPS
    ) -> None:
        self._stream = stream
        self._file = RotatingLines(path, max_bytes=max_bytes, backups=backups) if path is not None else None
        self._silent = stream is None and path is None
        self._losing = False
        # What every line says is encoded once, and the part of a time that is the same for a second once a second: a line
        # is written by code that left the processor's caches while the ticket was decided, so less code is less time.
        self._same = {
            level: _ENCODER.encode({
                "event.kind": "event", "log.level": level, "ecs.version": "8.17", "log.schema": SCHEMA, "service.name": SERVICE,
                "process.pid": os.getpid(),
            })[1:-1]
            for level in ("info", "warning", "error")
        }
        self._second = (0, "")
        self._log = structlog.wrap_logger(
            _Lines(self), wrapper_class=structlog.make_filtering_bound_logger(logging.INFO), processors=[self._line],
        )

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None:
        """One line for a stored decision."""
        if self._silent:
            return
        timings = decision.timings
        self._log.info("routing_decision", **{
            "event.dataset": "routing.decision",
            "event.duration": round(1e6 * timings.get("total", 0.0)),
            "ticket_id": decision.ticket_id,
            "channel": ticket.channel,
            "priority": ticket.priority,
            "origin": ticket.origin,
            "department": decision.department,
            "topic": decision.topic,
            "method": decision.method,
            "automation": decision.automation,
            "confidence": round(decision.confidence, 4),
            "raw_score": round(decision.raw_score, 6),
            "source": decision.source,
            "alternatives": [{"department": c.department, "confidence": round(c.confidence, 4)} for c in decision.alternatives],
            "total_ms": timings.get("total", 0.0),
            "store_ms": None if store_ms is None else round(store_ms, 3),
            "timings_ms": {stage: value for stage, value in timings.items() if stage != "total"},
            "versions": decision.versions,
            "degraded_by": list(decision.degraded_by),
            "gated": bool(decision.gated_by),
            "audited": decision.audit_department is not None,
            "audit_agrees": None if decision.audit_department is None else decision.audit_department == decision.department,
            "review_wanted": decision.review_wanted,
        })

    def event(self, name: str, **fields: object) -> None:
        """One line for anything else that an operator should be able to look up later."""
        if self._silent:
            return
        kept = {
            key: masked(value) if isinstance(value, str) and key not in MADE_HERE else value
            for key, value in fields.items() if key not in NEVER
        }
        if "by" in kept:
            kept["user.name"] = kept.pop("by")
        write = self._log.error if name in ERRORS else self._log.warning if name in WARNINGS else self._log.info
        write(name, **{"event.dataset": "routing.event", **kept})

    @property
    def lost(self) -> int:
        """How many lines the file has not taken since the start."""
        return 0 if self._file is None else self._file.lost

    def close(self) -> None:
        """Flush and close."""
        # What is lost from now on is nobody's fault.
        self._losing = True
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()
        if self._file is not None:
            self._file.close()

    def write(self, line: str) -> None:
        """One finished line to every place."""
        # A closed terminal must not end a ticket.
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(line + "\n")
                # A pipe or a file is buffered in blocks otherwise: lines would come late, and be lost with a killed process.
                self._stream.flush()
        if self._file is None or self._file.write(line):
            self._losing = False
        elif not self._losing:
            # Once, until the file takes lines again; this line is for the stream alone.
            self._losing = True
            DecisionLog(stream=self._stream).event("log_lines_lost", lines=self.lost)

    def _line(self, _: Any, level: str, fields: dict[str, Any]) -> str:
        name = _ENCODER.encode(fields.pop("event"))
        return f'{{"@timestamp":"{self._now()}","event_type":{name},{self._same[level]},{_ENCODER.encode(fields)[1:]}'

    def _now(self) -> str:
        """UTC with milliseconds."""
        now = time.time()
        whole = int(now)
        second, shown = self._second
        if second != whole:
            shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._second = (whole, shown)
        return f"{shown}.{int(1000 * (now - whole)):03d}Z"


class _Lines:
    """What structlog writes to."""

    def __init__(self, log: DecisionLog) -> None:
        self._log = log

    def info(self, line: str) -> None:
        self._log.write(line)

    warning = error = critical = info
