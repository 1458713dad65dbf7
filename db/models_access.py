"""The tables of who may come in and what they did. On the metadata of `db.models`."""
from __future__ import annotations

from sqlalchemy import (
    BigInteger, Boolean, CheckConstraint, Column, DateTime, ForeignKey, Identity, Index, Integer, String, Table, func, text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from db.models import metadata


def _time(name: str = "created_at") -> Column:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


users = Table(
    "users", metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", String(120), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", String(256)),
    Column("must_change", Boolean, nullable=False, server_default=text("false")),
    Column("source", String(16), nullable=False, server_default="local"),
    Column("subject", String(512), unique=True),
    Column("disabled_at", DateTime(timezone=True)),
    Column("signed_in_at", DateTime(timezone=True)),
    _time(),
    CheckConstraint("role in ('agent', 'supervisor', 'manager', 'admin')", name="role"),
    CheckConstraint("name = lower(name)", name="name"),
)

sessions = Table(
    "sessions", metadata,
    Column("key", String(64), primary_key=True),
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("address", String(64), nullable=False, server_default=""),
    Column("browser", String(200), nullable=False, server_default=""),
    _time(),
    Index("ix_sessions_expires_at", "expires_at"),
)

sign_in_attempts = Table(
    "sign_in_attempts", metadata,
    Column("key", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("locked_until", DateTime(timezone=True), nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
)

tokens = Table(
    "tokens", metadata,
    Column("id", String(16), primary_key=True),
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(120), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", ARRAY(String(32)), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    _time(),
)

# Rows are only ever added: a trigger refuses everything else, and each row's hash covers the row before it.
audit_log = Table(
    "audit_log", metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", String(120), nullable=False),
    Column("action", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("object", String(200), nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("address", String(64), nullable=False, server_default=""),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_audit_log_at", "at"),
    Index("ix_audit_log_actor", "actor"),
)

# The newest row's number and hash, so that rows cut off the end are missed too.
audit_head = Table(
    "audit_head", metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("id", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    CheckConstraint("one", name="one"),
)
