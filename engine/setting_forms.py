"""Which form the value of a setting must have. Every check raises ValueError with an example; none repeats the value, which may
hold a password.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit


def http_url(example: str) -> Callable[[str], None]:
    """A check for an http or https URL with a host."""
    def check(text: str) -> None:
        parts = _split(text)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in text):
            raise ValueError(f"is not an http or https URL like {example}")

    return check


def redis_url(text: str) -> None:
    """The three schemes that the client's library knows, and a port that exists; what else it refuses is found when it is made."""
    parts = _split(text)
    # The library compares the schemes' letters as they are.
    known = text.startswith(("redis://", "rediss://", "unix://"))
    if parts is None or not known or (parts.scheme == "unix" and not parts.path):
        raise ValueError("is not a URL like redis://:password@host:6379/0, rediss://host:6379/0 or unix:///run/redis.sock")


def is_host(text: str) -> bool:
    """True for what can stand between a scheme and a port."""
    parts = _split(f"redis://{text}:1/")
    return parts is not None and parts.netloc == f"{text}:1" and parts.path == "/" and "@" not in text and bool(parts.hostname)


def database_url(text: str) -> None:
    """The scheme alone: whoever connects knows how the rest is read."""
    if not text.startswith(("postgres://", "postgresql://", "postgresql+psycopg2://")):
        raise ValueError("is not a database URL like postgresql://user:password@host:5432/name")


def networks(text: str) -> None:
    """Addresses and networks, separated by commas, or `*` for all. The web server would take anything else for a name that no
    connection ever has.
    """
    if text.strip() == "*":
        return
    for part in text.split(","):
        try:
            if part.strip():
                ipaddress.ip_network(part.strip())
        except ValueError:
            raise ValueError("is not a list of addresses and networks like 127.0.0.1,10.0.0.0/8, or *") from None


def _split(text: str) -> SplitResult | None:
    """The parts of a URL; None where it has none, or a port that does not exist."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is no number up to 65535
    except ValueError:
        return None
    return parts


CHECKS: dict[str, Callable[[str], None]] = {
    "database_url": database_url,
    "analytics_database_url": database_url,
    "redis_url": redis_url,
    "public_url": http_url("https://console.example"),
    "alert_webhook_url": http_url("https://chat.example/hooks/abc"),
    "alertmanager_url": http_url("http://alertmanager.example:9093"),
    "otel_endpoint": http_url("http://collector.example:4318"),
    "trusted_proxies": networks,
}
