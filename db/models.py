"""The tables, as SQLAlchemy Core. The migrations create them; a test compares the two."""
from __future__ import annotations

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    BigInteger, Boolean, CheckConstraint, Column, DateTime, Float, ForeignKey, Identity, Index, Integer, LargeBinary,
    MetaData, Numeric, String, Table, Text, func, text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(), primary_key=True)


def _time(name: str = "created_at", *, nullable: bool = False) -> Column:
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=None if nullable else func.now())


departments = Table(
    "departments", metadata,
    _id(),
    Column("name", String(120), nullable=False, unique=True),
    Column("purpose", Text, nullable=False, server_default=""),
    Column("triage", Boolean, nullable=False, server_default=text("false")),
    Column("live", Boolean, nullable=False, server_default=text("true")),
    _time(),
)

topics = Table(
    "topics", metadata,
    _id(),
    Column("name", String(120), nullable=False, unique=True),
    Column("department", String(120), ForeignKey("departments.name", onupdate="CASCADE"), nullable=False, index=True),
    Column("purpose", Text, nullable=False, server_default=""),
    Column("live", Boolean, nullable=False, server_default=text("true")),
)

tickets = Table(
    "tickets", metadata,
    Column("id", String(64), primary_key=True),
    Column("subject", Text, nullable=False, server_default=""),
    Column("body", Text, nullable=False),
    Column("channel", String(16), nullable=False),
    Column("customer_ref", String(64), nullable=False, server_default=""),
    Column("priority", String(16), nullable=False),
    Column("fingerprint", String(32), nullable=False, index=True),
    Column("origin", String(16), nullable=False),
    Column("created_by", String(120), nullable=False, server_default=""),
    _time(),
    Column("text_removed_at", DateTime(timezone=True)),
    Index("ix_tickets_created_at", "created_at"),
    Index("ix_tickets_created_by", "created_by", "created_at"),
    Index("ix_tickets_removed", "id", postgresql_where=text("text_removed_at is not null")),
)

routing_history = Table(
    "routing_history", metadata,
    _id(),
    Column("ticket_id", String(64), ForeignKey("tickets.id"), nullable=False, unique=True),
    Column("department", String(120), nullable=False, index=True),
    Column("confidence", Numeric(5, 4), nullable=False),
    Column("method", String(16), nullable=False),
    _time(),
    Column("actual_outcome", String(120)),
    Column("resolution_time_hours", Numeric(8, 2)),
    Column("customer_satisfaction", Numeric(3, 1)),
    Column("outcome", String(16)),
    Column("reviewed_at", DateTime(timezone=True)),
    Column("reviewed_by", String(120)),
    Column("raw_score", Float, nullable=False),
    Column("automation", String(16), nullable=False),
    Column("topic", String(120), nullable=False, server_default=""),
    Column("source", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("alternatives", JSONB, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("timings", JSONB, nullable=False),
    Column("total_ms", Float, nullable=False),
    Column("versions", JSONB, nullable=False),
    Column("policy", Integer, nullable=False),
    Column("degraded_by", ARRAY(String(32)), nullable=False),
    Column("gated_by", Text, nullable=False, server_default=""),
    Column("audit_department", String(120)),
    Column("review_wanted", Boolean, nullable=False, server_default=text("true")),
    Column("review_probability", Float, nullable=False, server_default=text("1")),
    Column("overruled_to", String(120)),
    Column("chosen", String(120)),
    Column("channel", String(16), nullable=False),
    Column("demo", Boolean, nullable=False, server_default=text("false")),
    Column("arm", String(64), nullable=False, server_default=""),
    CheckConstraint("confidence between 0 and 1", name="confidence"),
    CheckConstraint("method in ('cached', 'learned', 'rag_llm', 'fallback')", name="method"),
    CheckConstraint("automation in ('auto', 'preselect', 'suggest')", name="automation"),
    CheckConstraint("outcome in ('confirmed', 'corrected')", name="outcome"),
    Index("ix_routing_history_created_at", "created_at"),
    Index("ix_routing_history_reviewed", "reviewed_at", postgresql_where=text("actual_outcome is not null")),
    Index("ix_routing_history_labelled", "created_at", postgresql_where=text("review_wanted and actual_outcome is not null")),
    Index(
        "ix_routing_history_open", "created_at", postgresql_where=text("automation <> 'auto' and actual_outcome is null and chosen is null")
    ),
    Index("ix_routing_history_waiting", "created_at", postgresql_where=text("review_wanted and actual_outcome is null")),
    # The review queue in its order; with what is counted of it, so that counting reads no row.
    Index(
        "ix_routing_history_review", text("(overruled_to is null)"), text("md5(ticket_id)"), "id",
        postgresql_include=["ticket_id", "department", "demo", "review_wanted"],
        postgresql_where=text("(review_wanted or overruled_to is not null) and actual_outcome is null"),
    ),
    Index("ix_routing_history_mistakes", "confidence", "id", postgresql_where=text("actual_outcome <> department")),
)

routing_accuracy = Table(
    "routing_accuracy", metadata,
    _id(),
    Column("department", String(120), nullable=False, unique=True),
    Column("total_predictions", Integer, nullable=False, server_default=text("0")),
    Column("correct_predictions", Integer, nullable=False, server_default=text("0")),
    Column("accuracy_rate", Numeric(5, 4), nullable=False, server_default=text("0")),
    _time("last_updated"),
    Index("ix_routing_accuracy_last_updated", "last_updated"),
)

outcomes = Table(
    "outcomes", metadata,
    _id(),
    Column("ticket_id", String(64), ForeignKey("tickets.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("predicted", String(120), nullable=False),
    Column("actual", String(120), nullable=False),
    Column("resolution_time_hours", Numeric(8, 2)),
    Column("customer_satisfaction", Numeric(3, 1)),
    Column("labelled_by", String(120), nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    _time(),
)

overrules = Table(
    "overrules", metadata,
    _id(),
    Column("ticket_id", String(64), ForeignKey("tickets.id"), nullable=False, index=True),
    Column("department", String(120), nullable=False),
    Column("by", String(120), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    _time(),
)

exemplars = Table(
    "exemplars", metadata,
    _id(),
    Column("text", Text, nullable=False),
    Column("department", String(120), nullable=False, index=True),
    Column("topic", String(120), nullable=False, server_default=""),
    Column("source", String(16), nullable=False),
    Column("ticket_id", String(64), ForeignKey("tickets.id"), index=True),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    _time(),
)

exemplar_vectors = Table(
    "exemplar_vectors", metadata,
    Column("exemplar_id", BigInteger, ForeignKey("exemplars.id", ondelete="CASCADE"), primary_key=True),
    Column("embedder", String(120), primary_key=True),
    Column("embedding", Vector(), nullable=False),
)

# Embedders whose vectors are copied to a remote index, and where to.
index_targets = Table(
    "index_targets", metadata,
    Column("embedder", String(120), primary_key=True),
    Column("place", String(200), nullable=False),
)

# Exemplars whose copy in the remote index must be brought up to date; written by triggers; what to send is read when it is sent.
index_outbox = Table(
    "index_outbox", metadata,
    _id(),
    Column("exemplar_id", BigInteger, nullable=False),
    Column("embedder", String(120), nullable=False),
    _time(),
    Index("ix_index_outbox_embedder", "embedder", "id"),
)

policies = Table(
    "policies", metadata,
    Column("number", Integer, Identity(), primary_key=True),
    Column("config", JSONB, nullable=False),
    Column("author", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("live", Boolean, nullable=False, server_default=text("false")),
    _time(),
    Index("uq_policies_live", "live", unique=True, postgresql_where=text("live")),
)

models = Table(
    "models", metadata,
    Column("number", Integer, Identity(), primary_key=True),
    Column("embedder", String(120), nullable=False),
    Column("manifest", JSONB, nullable=False),
    Column("arrays", LargeBinary, nullable=False),
    Column("live", Boolean, nullable=False, server_default=text("false")),
    _time(),
    Index("uq_models_live", "embedder", unique=True, postgresql_where=text("live")),
)

alerts = Table(
    "alerts", metadata,
    _id(),
    Column("rule", String(64), nullable=False),
    Column("subject", String(120), nullable=False, server_default=""),
    Column("severity", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("value", Float),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("resolved_at", DateTime(timezone=True)),
    Column("acknowledged_at", DateTime(timezone=True)),
    Column("acknowledged_by", String(120)),
    Column("threshold", Float),
    Column("sample", Integer, nullable=False, server_default=text("0")),
    Column("last_seen_at", DateTime(timezone=True)),
    Index("ix_alerts_opened_at", "opened_at"),
    Index("uq_alerts_open", "rule", "subject", unique=True, postgresql_where=text("resolved_at is null")),
)

counters = Table(
    "counters", metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False, server_default=text("0")),
)

from db import models_access, models_statistics  # noqa: E402, F401 - more tables on the same metadata
