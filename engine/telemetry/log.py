"""The decision log: one JSON object per line, to standard error and, when asked for, to a rotating file.

Lines hold names, numbers and ids, never ticket text.
"""
from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

import structlog

from engine.domain import Decision, Ticket

MAX_BYTES = 50_000_000
BACKUPS = 5


class DecisionLog:
    """Writes decisions and events. `close` flushes and closes the file."""

    def __init__(self, path: Path | None = None, *, stream: TextIO | None = sys.stderr) -> None:
        self._logger = logging.Logger("routing", level=logging.INFO)
        self._handlers: list[logging.Handler] = []
        if stream is not None:
            self._handlers.append(logging.StreamHandler(stream))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handlers.append(RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8"))
        for handler in self._handlers:
            self._logger.addHandler(handler)
        self._log = structlog.wrap_logger(
            self._logger,
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp"),
                structlog.processors.EventRenamer("event_type"),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )

    def decision(self, ticket: Ticket, decision: Decision) -> None:
        """One line for a stored decision."""
        self._log.info(
            "routing_decision",
            ticket_id=decision.ticket_id,
            channel=ticket.channel.value,
            department=decision.department,
            topic=decision.topic,
            method=decision.method.value,
            automation=decision.automation.value,
            confidence=round(decision.confidence, 4),
            raw_score=round(decision.raw_score, 6),
            total_ms=decision.timings.get("total"),
            timings_ms=decision.timings,
            versions=decision.versions,
            degraded_by=list(decision.degraded_by),
        )

    def event(self, name: str, **fields: object) -> None:
        """One line for anything else that an operator should be able to look up later."""
        self._log.info(name, **fields)

    def close(self) -> None:
        """Flush and close."""
        for handler in self._handlers:
            handler.flush()
            if isinstance(handler, RotatingFileHandler):
                handler.close()
