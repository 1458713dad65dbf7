"""Which form the value of a setting must have. Every check raises ValueError with an example; none repeats the value, which may
hold a password.
"""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit


# Names under which programs are handed what is secret.
SECRET = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|(^|_)KEY(_|$)", re.IGNORECASE)


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
    whole = parts is not None and parts.netloc == f"{text}:1" and parts.path == "/" and bool(parts.hostname)
    return whole and "@" not in text and not any(letter.isspace() for letter in text)


def host(example: str) -> Callable[[str], None]:
    """A check for a host's name or address, one of version 6 in brackets."""
    def check(text: str) -> None:
        if not is_host(text):
            raise ValueError(f"is not a host's name or address like {example}, 10.0.0.5 or [::1]")

    return check


def postgres_host(text: str) -> None:
    """The same; a socket's folder has its place in the URL alone."""
    if not is_host(text):
        raise ValueError(
            "is not a host's name or address like db.example, 10.0.0.5 or [::1]; for a socket set DATABASE_URL, "
            "as postgresql://user:password@/name?host=/run/postgresql"
        )


def database_name(text: str) -> None:
    """What ends a URL's path would be read as options."""
    if not text.strip() or any(letter in "/?#" or letter.isspace() for letter in text):
        raise ValueError("is not a database's name like console, without blanks and / ? #")


def database_url(text: str) -> None:
    """Scheme and ports, as whoever connects reads them: a password may hold what ends a host elsewhere. The rest is told there."""
    scheme, _, rest = text.partition("://")
    before, at, behind = rest.partition("@")
    place = re.match(r"(?:\[[^/?]*\]|[^/:?]*)(?::([^/?]*))?", behind if at else before)
    ports = [place[1]] if place is not None and place[1] is not None else []
    for name, _, value in (option.partition("=") for option in text.partition("?")[2].split("&")):
        ports += value.split(",") if name == "port" else []
    if scheme not in ("postgres", "postgresql", "postgresql+psycopg2") or not all(map(_is_port, ports)):
        raise ValueError("is not a database URL like postgresql://user:password@host:5432/name with a port from 1 to 65535")


def key(text: str) -> None:
    """What goes into a header of a request: one that was copied with a line break fails at each call otherwise."""
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("holds a blank, a line break or a letter that no key has; copy it again")


def mail_login(text: str) -> None:
    """What the mail library can send: it signs in with these letters alone."""
    if not text.isascii():
        raise ValueError("holds a letter that is not ASCII, with which no mail can be sent; choose another one at the mail server")


def mail_address(text: str) -> None:
    """One address. It is first used when the first alert is told."""
    if not re.fullmatch(r"[!#-'*+/-9=?A-Z^-~-]+(\.[!#-'*+/-9=?A-Z^-~-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", text):
        raise ValueError("is not a mail address like console@call-centre.example")


def mail_addresses(text: str) -> None:
    """At least one address; several are separated by commas."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        for part in parts or [""]:
            mail_address(part)
    except ValueError:
        raise ValueError("is not a list of mail addresses like ops@call-centre.example,chief@call-centre.example") from None


def region(text: str) -> None:
    """A region of the cloud, which becomes a part of a host's name."""
    if not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)+", text) or len(text) > 63:
        raise ValueError("is not a region like eu-central-1")


def index_name(text: str) -> None:
    """A name of at most 45 characters that keeps something when all but letters, digits and hyphens is replaced."""
    if len(text) > 45 or not re.search(r"[A-Za-z0-9]", text):
        raise ValueError("is not an index's name like call-centre-tickets, of at most 45 letters, digits and hyphens")


def control_plane(text: str) -> None:
    """A URL, or a host alone, to which the client says https."""
    http_url("https://pinecone.example")(text if "://" in text else f"https://{text}")


def filled(text: str) -> None:
    """More than blanks: what they would name is found by nobody."""
    if not text.strip():
        raise ValueError("holds nothing but blanks; leave it out or give it a value")


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


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


def _split(text: str) -> SplitResult | None:
    """The parts of a URL; None where it has none, or a port that does not exist."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is no number up to 65535
    except ValueError:
        return None
    return parts


CHECKS: dict[str, Callable[[str], None]] = {
    "data_dir": filled,
    "routing_log_path": filled,
    "prometheus_multiproc_dir": filled,
    "database_url": database_url,
    "analytics_database_url": database_url,
    "postgres_host": postgres_host,
    "postgres_db": database_name,
    "postgres_user": filled,
    "redis_url": redis_url,
    "redis_host": host("cache.example"),
    "pinecone_api_key": key,
    "pinecone_env": filled,
    "pinecone_index": index_name,
    "pinecone_host": control_plane,
    "google_api_key": key,
    "google_api_endpoint": http_url("https://gemini.example"),
    "gemini_model": filled,
    "gemini_embedding_model": filled,
    "cloudwatch_access_key": key,
    "cloudwatch_secret_key": key,
    "cloudwatch_region": region,
    "cloudwatch_endpoint": http_url("https://monitoring.example"),
    "public_url": http_url("https://console.example"),
    "oidc_issuer": http_url("https://identity.example"),
    "oidc_client_id": filled,
    "oidc_client_secret": filled,
    "oidc_name_claim": filled,
    "oidc_role_claim": filled,
    "alert_webhook_url": http_url("https://chat.example/hooks/abc"),
    "alertmanager_url": http_url("http://alertmanager.example:9093"),
    "alert_mail_to": mail_addresses,
    "alert_mail_from": mail_address,
    "smtp_host": host("mail.example"),
    "smtp_user": mail_login,
    "smtp_password": mail_login,
    "otel_endpoint": http_url("http://collector.example:4318"),
    "trusted_proxies": networks,
    "host": filled,
}
