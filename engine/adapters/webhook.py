"""Notices to a webhook that understands Slack's message format (Slack, Mattermost, Rocket.Chat and others do)."""
from __future__ import annotations

from datetime import timedelta

from engine.adapters.http_post import post_json
from engine.notice import Notice

COLOUR = {"opened": "#d1603d", "resolved": "#2a9d8f", "test": "#3b82d6"}


class Webhook:
    """Posts each notice to one address."""

    every: timedelta | None = None

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, notice: Notice) -> None:
        """Raises ServiceUnavailable."""
        fields = [
            {"title": "Severity", "value": notice.severity, "short": True},
            {"title": "Since", "value": f"{notice.opened_at:%Y-%m-%d %H:%M} UTC", "short": True},
        ]
        if notice.resolved_at is not None:
            fields.append({"title": "Until", "value": f"{notice.resolved_at:%Y-%m-%d %H:%M} UTC", "short": True})
        headline = _plain(notice.headline)
        body = {
            "text": headline,
            "attachments": [{
                "color": COLOUR[notice.event], "fallback": headline, "title": "Open the console", "title_link": notice.link, "fields": fields,
            }],
        }
        post_json(self._url, body, headers={"Idempotency-Key": notice.key})


def _plain(text: str) -> str:
    """Names of departments are data: no mention and no link may come out of one."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
