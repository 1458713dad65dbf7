"""Rollups kept by triggers, services' minutes, alert rules, silences and notices."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

EDGES = "array[" + ", ".join(repr(0.5 * 2 ** (i / 4)) for i in range(65)) + "]::float8[]"
DIMENSIONS = ("department", "method", "policy", "channel", "demo")
FACT = (
    *DIMENSIONS, "auto", "degraded", "audited", "false_hit", "us", "latency_bin", "confidence_bin", "actual", "weight",
)
# What of a decision is counted. A change of anything else does not touch the rollups.
COUNTED = (
    "created_at", *DIMENSIONS, "automation", "degraded_by", "audit_department", "total_ms", "confidence", "actual_outcome", "review_wanted",
    "review_probability",
)


def fact(row: str) -> str:
    """The values of a fact, from a row of routing_history."""
    return f"""
        {row}.created_at, {", ".join(f"{row}.{name}" for name in DIMENSIONS)},
        {row}.automation = 'auto', cardinality({row}.degraded_by) > 0, {row}.audit_department is not null,
        coalesce({row}.audit_department <> {row}.department, false), round({row}.total_ms * 1000)::bigint,
        width_bucket({row}.total_ms, {EDGES}), least(floor({row}.confidence * 20), 19)::int, {row}.actual_outcome,
        (case when {row}.review_wanted then round(1000 / greatest({row}.review_probability, 0.0001)) else 0 end)::bigint
    """


INTO = f"insert into rollup_pending (sign, created_at, {', '.join(FACT)})"


def _keys() -> list[sa.Column]:
    return [
        sa.Column("department", sa.String(120), nullable=False), sa.Column("method", sa.String(16), nullable=False),
        sa.Column("policy", sa.Integer, nullable=False), sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("demo", sa.Boolean, nullable=False),
    ]


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    big = ("n", "auto", "degraded", "audited", "false_hits", "total_us", "weight", "weight_correct", "weight_squared")
    small = (*(f"l{i:02}" for i in range(66)), *(f"{kind}{i:02}" for kind in "crk" for i in range(20)))
    op.create_table(
        "rollups", sa.Column("cut", sa.SmallInteger, nullable=False), sa.Column("level", sa.SmallInteger, nullable=False),
        sa.Column("bucket", time, nullable=False),
        *_keys(),
        *(sa.Column(name, sa.BigInteger) for name in big), *(sa.Column(name, sa.Integer) for name in small),
        sa.PrimaryKeyConstraint("cut", "level", "bucket", *DIMENSIONS, name="pk_rollups"),
    )
    op.create_table(
        "rollup_flows", sa.Column("level", sa.SmallInteger, nullable=False), sa.Column("bucket", time, nullable=False),
        *_keys(), sa.Column("actual", sa.String(120), nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("level", "bucket", "department", "actual", *DIMENSIONS[1:], name="pk_rollup_flows"),
    )
    op.create_table(
        "rollup_pending", sa.Column("sign", sa.SmallInteger, nullable=False), sa.Column("created_at", time, nullable=False),
        *_keys(),
        *(sa.Column(name, sa.Boolean, nullable=False) for name in ("auto", "degraded", "audited", "false_hit")),
        sa.Column("us", sa.BigInteger, nullable=False), sa.Column("latency_bin", sa.Integer, nullable=False),
        sa.Column("confidence_bin", sa.Integer, nullable=False), sa.Column("actual", sa.String(120)),
        sa.Column("weight", sa.BigInteger, nullable=False),
    )
    # Rows come and go all the time: a vacuum soon keeps the table at a few pages. Rollups are updated in place.
    op.execute("alter table rollup_pending set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)")
    op.execute("alter table rollups set (fillfactor = 80)")
    op.execute(f"""
        create function rollup_added() returns trigger language plpgsql as $$
        begin
            {INTO} select 1, {fact("added")} from added;
            return null;
        end $$
    """)
    op.execute("""
        create trigger rollup_added after insert on routing_history
        referencing new table as added for each statement execute function rollup_added()
    """)
    op.execute(f"""
        create function rollup_changed() returns trigger language plpgsql as $$
        begin
            {INTO} values (-1, {fact("old")}), (1, {fact("new")});
            return null;
        end $$
    """)
    changed = " or ".join(f"old.{name} is distinct from new.{name}" for name in COUNTED)
    op.execute(f"""
        create trigger rollup_changed after update on routing_history
        for each row when ({changed}) execute function rollup_changed()
    """)
    op.execute(f"{INTO} select 1, {fact('h')} from routing_history h")
    op.create_table(
        "service_minutes", sa.Column("bucket", time, nullable=False), sa.Column("service", sa.String(32), nullable=False),
        sa.Column("calls", sa.Integer, server_default="0", nullable=False), sa.Column("errors", sa.Integer, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("bucket", "service", name="pk_service_minutes"),
    )
    op.create_table(
        "instances", sa.Column("name", sa.String(120), nullable=False), sa.Column("seen_at", time, nullable=False),
        sa.Column("memory_share", sa.Float, nullable=False), sa.Column("spooled", sa.Integer, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_instances"),
    )
    _alerts(time)


def _alerts(time: sa.DateTime) -> None:
    op.add_column("alerts", sa.Column("threshold", sa.Float))
    op.add_column("alerts", sa.Column("sample", sa.Integer, server_default="0", nullable=False))
    op.add_column("alerts", sa.Column("last_seen_at", time))
    op.create_index("ix_alerts_opened_at", "alerts", ["opened_at"])
    op.create_table(
        "alert_rules", sa.Column("name", sa.String(64), nullable=False), sa.Column("config", JSONB, nullable=False),
        sa.Column("updated_by", sa.String(120), nullable=False),
        sa.Column("updated_at", time, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_alert_rules"),
    )
    op.create_table(
        "alert_pending", sa.Column("rule", sa.String(64), nullable=False), sa.Column("subject", sa.String(120), nullable=False),
        sa.Column("since", time, nullable=False), sa.PrimaryKeyConstraint("rule", "subject", name="pk_alert_pending"),
    )
    op.create_table(
        "alert_silences", sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False), sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(120), server_default="", nullable=False), sa.Column("until", time, nullable=False),
        sa.Column("by", sa.String(120), nullable=False), sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column("created_at", time, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_silences"),
    )
    op.create_table(
        "alert_notices", sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("alert_id", sa.BigInteger, nullable=False), sa.Column("event", sa.String(16), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False), sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("next_try_at", time, nullable=False), sa.Column("sent_at", time),
        sa.Column("error", sa.Text, server_default="", nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_alert_notices_alert_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_alert_notices"),
        sa.UniqueConstraint("alert_id", "event", "channel", name="uq_alert_notices_once"),
    )
    op.create_index("ix_alert_notices_waiting", "alert_notices", ["next_try_at"], postgresql_where=sa.text("sent_at is null"))


def downgrade() -> None:
    for name in ("alert_notices", "alert_silences", "alert_pending", "alert_rules", "instances", "service_minutes"):
        op.drop_table(name)
    op.drop_index("ix_alerts_opened_at", table_name="alerts")
    for name in ("threshold", "sample", "last_seen_at"):
        op.drop_column("alerts", name)
    for name in ("rollup_added", "rollup_changed"):
        op.execute(f"drop trigger {name} on routing_history")
        op.execute(f"drop function {name}")
    for name in ("rollup_pending", "rollup_flows", "rollups"):
        op.drop_table(name)
