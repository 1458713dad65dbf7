"""Which settings belong together: of a group that is given by half, what is there and what is missing. Every check raises ValueError."""
from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

_PAIRS = (
    ("cloudwatch_access_key", "cloudwatch_secret_key"), ("embedder_model_path", "embedder_tokenizer_path"),
    ("admin_user", "admin_password"), ("smtp_user", "smtp_password"),
)
_OIDC = ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "PUBLIC_URL")


def check(settings: Any) -> None:
    """Refuse the first group of these `engine.settings.Settings` that is not whole."""
    for group in (_postgres, _redis, _pinecone, _gemini, _oidc, _cloudwatch, _mail, _pairs, _files, _lengths):
        group(settings)


def _needs(group: str, given: list[str], missing: list[str]) -> ValueError:
    return ValueError(f"{group}: {', '.join(given)} is set, so {' and '.join(missing)} must be set too")


def _given(settings: Any, names: Iterable[str]) -> list[str]:
    """Those of these settings that somebody has set, a default does not count, as they are written in the environment."""
    return [name.upper() for name in names if name in settings.model_fields_set and getattr(settings, name) is not None]


def _missing(settings: Any, names: Iterable[str]) -> list[str]:
    return [name.upper() for name in names if getattr(settings, name) is None]


def _postgres(settings: Any) -> None:
    given = _given(settings, sorted(name for name in settings.model_fields_set if name.startswith("postgres_")))
    missing = _missing(settings, ("postgres_host", "postgres_db", "postgres_user"))
    if given and missing and settings.database_url is None:
        raise _needs("Postgres", given, missing)


def _redis(settings: Any) -> None:
    given = _given(settings, ("redis_cluster", "redis_db", "redis_password", "redis_port", "redis_tls"))
    if given and settings.redis_url is None and settings.redis_host is None:
        raise _needs("Redis", given, ["REDIS_HOST (or REDIS_URL)"])
    if settings.redis_tls and settings.redis_url is not None and not settings.redis_url.get_secret_value().startswith("rediss://"):
        raise ValueError("Redis: REDIS_TLS is set, but REDIS_URL does not begin with rediss://; leave REDIS_TLS out, or begin the URL so")
    if settings.redis_ca_path is not None and not (settings.redis_address or "").startswith("rediss://"):
        raise _needs("Redis", ["REDIS_CA_PATH"], ["REDIS_TLS (or REDIS_URL with rediss://)"])


def _pinecone(settings: Any) -> None:
    given = _given(settings, ("pinecone_env", "pinecone_index", "pinecone_host"))
    if given and settings.pinecone_api_key is None and not settings.pinecone_off:
        raise _needs("Pinecone", given, ["PINECONE_API_KEY"])


def _gemini(settings: Any) -> None:
    given = _given(settings, ("gemini_model", "gemini_embedding_model", "google_api_endpoint"))
    if given and settings.google_api_key is None:
        raise _needs("Gemini", given, ["GOOGLE_API_KEY"])


def _oidc(settings: Any) -> None:
    missing = _missing(settings, (name.lower() for name in _OIDC))
    given = [name for name in _OIDC if name not in missing]
    # The address alone is for links in notices.
    if missing and given not in ([], ["PUBLIC_URL"]):
        raise _needs("OpenID Connect", given, missing)


def _cloudwatch(settings: Any) -> None:
    given = _given(settings, ("cloudwatch_region", "cloudwatch_endpoint"))
    if given and settings.cloudwatch_access_key is None:
        raise _needs("Cloudwatch", given, ["CLOUDWATCH_ACCESS_KEY", "CLOUDWATCH_SECRET_KEY"])


def _mail(settings: Any) -> None:
    names = (name for name in settings.model_fields_set if name.startswith("smtp_") or name in ("alert_mail_to", "alert_mail_from"))
    given, missing = _given(settings, sorted(names)), _missing(settings, ("smtp_host", "alert_mail_to"))
    if given and missing:
        raise _needs("Mail", given, missing)


def _pairs(settings: Any) -> None:
    for pair in _PAIRS:
        missing = _missing(settings, pair)
        if len(missing) == 1:
            raise _needs(pair[0].split("_")[0].capitalize(), [name.upper() for name in pair if name.upper() not in missing], missing)


def _files(settings: Any) -> None:
    for name in ("redis_ca_path", "embedder_model_path", "embedder_tokenizer_path"):
        path = getattr(settings, name)
        if path is not None and not os.path.isfile(path):
            raise ValueError(f"{name.upper()}: there is no file {path}")


def _lengths(settings: Any) -> None:
    if settings.ticket_min_characters > settings.ticket_max_characters:
        raise ValueError(
            f"TICKET_MIN_CHARACTERS: {settings.ticket_min_characters} is more than TICKET_MAX_CHARACTERS, "
            f"which is {settings.ticket_max_characters}"
        )
