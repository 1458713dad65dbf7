"""The tables of statistics: rollups, services' minutes, alert rules and what came of them. On the metadata of `db.models`."""
from __future__ import annotations

from sqlalchemy import (
    BigInteger, Boolean, Column, DateTime, Float, ForeignKey, Identity, Index, Integer, SmallInteger, String, Table, Text,
    UniqueConstraint, func, text,
)
from sqlalchemy.dialects.postgresql import JSONB

from db import rollup_columns
from db.models import metadata

# Signed facts about decisions, written by triggers in the decision's own transaction; the roller takes them away.
rollup_pending = Table(
    "rollup_pending", metadata,
    Column("sign", SmallInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("department", String(120), nullable=False),
    Column("method", String(16), nullable=False),
    Column("policy", Integer, nullable=False),
    Column("channel", String(16), nullable=False),
    Column("demo", Boolean, nullable=False),
    Column("auto", Boolean, nullable=False),
    Column("degraded", Boolean, nullable=False),
    Column("audited", Boolean, nullable=False),
    Column("false_hit", Boolean, nullable=False),
    Column("us", BigInteger, nullable=False),
    Column("latency_bin", Integer, nullable=False),
    Column("confidence_bin", Integer, nullable=False),
    Column("actual", String(120)),
    Column("weight", BigInteger, nullable=False),
)

rollups = Table(
    "rollups", metadata,
    Column("cut", SmallInteger, primary_key=True, autoincrement=False),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("bucket", DateTime(timezone=True), primary_key=True),
    Column("department", String(120), primary_key=True),
    Column("method", String(16), primary_key=True),
    Column("policy", Integer, primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("demo", Boolean, primary_key=True),
    *(Column(name, BigInteger if name in rollup_columns.BIG else Integer) for name in rollup_columns.MEASURES),
)

rollup_flows = Table(
    "rollup_flows", metadata,
    Column("level", SmallInteger, primary_key=True),
    Column("bucket", DateTime(timezone=True), primary_key=True),
    Column("department", String(120), primary_key=True),
    Column("actual", String(120), primary_key=True),
    Column("method", String(16), primary_key=True),
    Column("policy", Integer, primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("demo", Boolean, primary_key=True),
    Column("n", Integer, nullable=False),
)

# Calls and errors of services per minute, added up over all instances: what alerts about services look at.
service_minutes = Table(
    "service_minutes", metadata,
    Column("bucket", DateTime(timezone=True), primary_key=True),
    Column("service", String(32), primary_key=True),
    Column("calls", Integer, nullable=False, server_default=text("0")),
    Column("errors", Integer, nullable=False, server_default=text("0")),
)

instances = Table(
    "instances", metadata,
    Column("name", String(120), primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("memory_share", Float, nullable=False),
    Column("spooled", Integer, nullable=False, server_default=text("0")),
    Column("set_aside", Integer, nullable=False, server_default=text("0")),
    # The states of its breakers by service, as `engine.reported` writes them.
    Column("services", JSONB, nullable=False, server_default=text("'{}'")),
    # Whether it is a worker, and whether it leaves its work to one.
    Column("worker", Boolean, nullable=False, server_default=text("false")),
    Column("needs_worker", Boolean, nullable=False, server_default=text("false")),
)

alert_rules = Table(
    "alert_rules", metadata,
    Column("name", String(64), primary_key=True),
    Column("config", JSONB, nullable=False),
    Column("updated_by", String(120), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

alert_pending = Table(
    "alert_pending", metadata,
    Column("rule", String(64), primary_key=True),
    Column("subject", String(120), primary_key=True),
    Column("since", DateTime(timezone=True), nullable=False),
)

alert_silences = Table(
    "alert_silences", metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("rule", String(64), nullable=False),
    Column("subject", String(120), nullable=False, server_default=""),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("by", String(120), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

alert_notices = Table(
    "alert_notices", metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("alert_id", BigInteger, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("event", String(16), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_try_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("error", Text, nullable=False, server_default=""),
    UniqueConstraint("alert_id", "event", "channel", name="uq_alert_notices_once"),
    Index("ix_alert_notices_waiting", "next_try_at", postgresql_where=text("sent_at is null")),
)
