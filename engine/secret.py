"""The secret that signs cookies: given, or made once and kept in the data folder."""
from __future__ import annotations

import os
import secrets

from engine.errors import ConfigurationError
from engine.settings import Settings

_MIN = 32


def cookie_secret(settings: Settings) -> str:
    """COOKIE_SECRET, or the one of `DATA_DIR/cookie.secret` (readable by its owner alone), made at first need.

    Several instances need one and the same secret, so they need the setting. Raises ConfigurationError.
    """
    if settings.cookie_secret is not None:
        return settings.cookie_secret.get_secret_value()
    path = settings.data_dir.resolve() / "cookie.secret"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"cookie.secret.{secrets.token_hex(8)}")
        if not path.exists():
            with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
            try:
                # Only one of several processes that start at once wins, and nobody reads half a secret.
                os.link(own, path)
            except FileExistsError:
                pass
            finally:
                own.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"COOKIE_SECRET: {path} cannot be used: {error.strerror or error}") from error
    if len(secret) < _MIN:
        raise ConfigurationError(f"COOKIE_SECRET: {path} holds fewer than {_MIN} characters; remove it or set COOKIE_SECRET")
    return secret
