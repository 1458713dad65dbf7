"""Notices to Prometheus' Alertmanager, or anything else that takes its version 2 interface."""
from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from engine.adapters.http_post import post_json
from engine.notice import Notice

# Its interface wants open alerts again and again, and ends what nobody repeats: a console that died leaves no alert behind.
EVERY = timedelta(minutes=2)
AS_LONG_AS = timedelta(minutes=10)


class Alertmanager:
    """Pushes each notice to `url` (without a path), open alerts every two minutes."""

    every: timedelta | None = EVERY

    def __init__(self, url: str, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._url = url.rstrip("/") + "/api/v2/alerts"
        self._clock = clock

    def send(self, notice: Notice) -> None:
        """Raises ServiceUnavailable."""
        labels = {"alertname": notice.rule, "severity": notice.severity, "service": "routing-console"}
        if notice.subject:
            labels["subject"] = notice.subject
        ends = notice.resolved_at or self._clock() + (timedelta(minutes=1) if notice.event == "test" else AS_LONG_AS)
        post_json(self._url, [{
            "labels": labels, "annotations": {"summary": notice.headline}, "startsAt": notice.opened_at.isoformat(),
            "endsAt": ends.isoformat(), "generatorURL": notice.link,
        }])
