"""Users of the console. Names are lower case; a user is disabled, never deleted, so that history keeps its names."""
from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, text, update

from db.locks import Lock
from db.models_access import users
from db.session import UNIQUE_VIOLATION, reading, writing
from engine.errors import AccountRejected, Conflict, NotFound, StatementRefused

Noted = Callable[[Connection, Row | None, Row], None]


class Users:
    """`noted(connection, before, after)` runs in the transaction of every change: the audit log's row and the change stand or fall together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, values: dict[str, Any], *, noted: Noted, only_first: bool = False) -> Row | None:
        """Store a new user; with `only_first` only when there is none yet, else None. Raises Conflict for a taken name."""
        try:
            with writing(self._engine) as connection:
                connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.ADMINS})
                if only_first and connection.execute(select(users.c.id).limit(1)).first() is not None:
                    return None
                row = connection.execute(insert(users).values(**values).returning(users)).one()
                noted(connection, None, row)
                return row
        except StatementRefused as error:
            if error.code != UNIQUE_VIOLATION:
                raise
            raise Conflict(f"user {values['name']} exists already. Choose another name.") from error

    def change(self, user_id: int, values: dict[str, Any], *, noted: Noted) -> Row:
        """Change some columns. Raises NotFound, and AccountRejected when no admin who can sign in would be left."""
        with writing(self._engine) as connection:
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.ADMINS})
            before = connection.execute(select(users).where(users.c.id == user_id)).first()
            if before is None:
                raise NotFound("this user does not exist.")
            after = connection.execute(update(users).where(users.c.id == user_id).values(**values).returning(users)).one()
            if _is_admin(before) and not _is_admin(after):
                left = select(func.count()).select_from(users).where(users.c.role == "admin", users.c.disabled_at.is_(None))
                if connection.execute(left).scalar_one() == 0:
                    raise AccountRejected(f"{before.name} is the last admin. Make somebody else an admin first. Nothing was changed.")
            noted(connection, before, after)
            return after

    def signed_in(self, user_id: int, at: datetime) -> None:
        """Note the time of a sign-in."""
        with writing(self._engine) as connection:
            connection.execute(update(users).where(users.c.id == user_id).values(signed_in_at=at))

    def by_name(self, name: str) -> Row | None:
        """The user of this lower-case name."""
        return self._one(users.c.name == name)

    def by_subject(self, subject: str) -> Row | None:
        """The user whom an identity provider knows by this subject."""
        return self._one(users.c.subject == subject)

    def all(self) -> list[Row]:
        """Everybody, by name."""
        with reading(self._engine) as connection:
            return list(connection.execute(select(users).order_by(users.c.name)).all())

    def _one(self, condition: Any) -> Row | None:
        with reading(self._engine) as connection:
            return connection.execute(select(users).where(condition)).first()


def _is_admin(row: Row) -> bool:
    return row.role == "admin" and row.disabled_at is None
