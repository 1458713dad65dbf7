"""Sessions in Postgres, found by a hash of the secret that the browser holds."""
from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, delete, insert, select, update

from db.models_access import sessions, users
from db.session import reading, writing

_WITH_USER = select(sessions, users.c.name, users.c.role, users.c.must_change, users.c.source, users.c.disabled_at).join(
    users, users.c.id == sessions.c.user_id
)


class SessionTable:
    """One row for each signed-in browser."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, values: dict[str, Any], *, now: datetime) -> None:
        """Store a session and remove those that have expired."""
        with writing(self._engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(insert(sessions).values(**values))

    def find(self, key: str) -> Row | None:
        """The session with its user's name, role, must_change, source and disabled_at."""
        with reading(self._engine) as connection:
            return connection.execute(_WITH_USER.where(sessions.c.key == key)).first()

    def of_user(self, user_id: int) -> list[Row]:
        """A user's sessions, the last seen first."""
        with reading(self._engine) as connection:
            return list(connection.execute(_WITH_USER.where(sessions.c.user_id == user_id).order_by(sessions.c.seen_at.desc())).all())

    def seen(self, key: str, at: datetime) -> None:
        """Note that the session was used."""
        with writing(self._engine) as connection:
            connection.execute(update(sessions).where(sessions.c.key == key).values(seen_at=at))

    def remove(self, key: str) -> None:
        """End one session."""
        with writing(self._engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.key == key))

    def remove_user(self, user_id: int, *, but: str = "") -> int:
        """End all sessions of a user, but one if named; their number."""
        with writing(self._engine) as connection:
            return connection.execute(delete(sessions).where(sessions.c.user_id == user_id, sessions.c.key != but)).rowcount
