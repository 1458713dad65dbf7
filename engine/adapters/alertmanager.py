"""Notices to Prometheus' Alertmanager, or anything else that takes its version 2 interface."""
from __future__ import annotations

from datetime import timedelta

from engine.adapters.http_post import post_json
from engine.notice import Notice

# Alertmanager ends an alert that nobody repeats; the console says itself when one is over.
AS_LONG_AS = timedelta(days=7)


class Alertmanager:
    """Pushes each notice to `url` (without a path)."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/api/v2/alerts"

    def send(self, notice: Notice) -> None:
        """Raises ServiceUnavailable."""
        labels = {"alertname": notice.rule, "severity": notice.severity, "service": "routing-console"}
        if notice.subject:
            labels["subject"] = notice.subject
        ends = notice.resolved_at or notice.opened_at + (timedelta(minutes=1) if notice.event == "test" else AS_LONG_AS)
        post_json(self._url, [{
            "labels": labels, "annotations": {"summary": notice.headline}, "startsAt": notice.opened_at.isoformat(),
            "endsAt": ends.isoformat(), "generatorURL": notice.link,
        }])
