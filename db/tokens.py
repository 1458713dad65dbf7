"""API tokens, kept as hashes."""
from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, update

from db.models_access import tokens, users
from db.session import reading, writing
from engine.errors import NotFound

_WITH_USER = select(tokens, users.c.name.label("user_name"), users.c.role, users.c.disabled_at, users.c.must_change).join(
    users, users.c.id == tokens.c.user_id
)


class TokenTable:
    """`noted(connection, row)` runs in the same transaction as the change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, values: dict[str, Any], *, noted: Callable[[Connection, Row], None]) -> Row:
        """Store a token."""
        with writing(self._engine) as connection:
            row = connection.execute(insert(tokens).values(**values).returning(tokens)).one()
            noted(connection, row)
            return row

    def find(self, token_id: str) -> Row | None:
        """The token with its owner's user_name, role, must_change and disabled_at."""
        with reading(self._engine) as connection:
            return connection.execute(_WITH_USER.where(tokens.c.id == token_id)).first()

    def all(self, *, user_id: int | None = None) -> list[Row]:
        """Tokens with their owners, newest first; all, or one user's."""
        query = _WITH_USER.order_by(tokens.c.created_at.desc(), tokens.c.id)
        if user_id is not None:
            query = query.where(tokens.c.user_id == user_id)
        with reading(self._engine) as connection:
            return list(connection.execute(query).all())

    def used(self, token_id: str, at: datetime) -> None:
        """Note the last use."""
        with writing(self._engine) as connection:
            connection.execute(update(tokens).where(tokens.c.id == token_id).values(used_at=at))

    def revoke(self, token_id: str, at: datetime, *, user_id: int | None, noted: Callable[[Connection, Row], None]) -> None:
        """Revoke a token, of this user only if given. Raises NotFound."""
        query = update(tokens).where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None)).values(revoked_at=at).returning(tokens)
        if user_id is not None:
            query = query.where(tokens.c.user_id == user_id)
        with writing(self._engine) as connection:
            row = connection.execute(query).first()
            if row is None:
                raise NotFound("this token does not exist or is revoked already.")
            noted(connection, row)
