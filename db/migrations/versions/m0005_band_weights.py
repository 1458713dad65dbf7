"""Weighted labels per band of confidence in the rollups, filled from the labels that are stored."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

# Lowest and first higher twentieth of confidence.
BANDS = {"high": (17, 20), "medium": (12, 17), "low": (0, 12)}
NAMES = tuple(f"{kind}_{band}" for band in BANDS for kind in ("weight", "correct", "squared"))
KEYS = "department, method, policy, channel, demo"
# The key of the one that may move facts into rollups.
LOCK = 7_203_812


def _sums() -> str:
    """Weighted labels, right ones, squares; `decided` is the department of the decision in every cut."""
    found = []
    for band, (low, high) in BANDS.items():
        inside = f"confidence_bin >= {low} and confidence_bin < {high}"
        found += [
            f"nullif(sum(case when {inside} then sign * weight end), 0)::bigint as weight_{band}",
            f"nullif(sum(case when {inside} and actual = decided then sign * weight end), 0)::bigint as correct_{band}",
            f"nullif(sum(case when {inside} then sign * (weight * weight / 1000) end), 0)::bigint as squared_{band}",
        ]
    return ", ".join(found)


def upgrade() -> None:
    for name in NAMES:
        op.add_column("rollups", sa.Column(name, sa.BigInteger))
    op.execute(f"select pg_advisory_xact_lock({LOCK})")
    # Facts that wait are added when they are rolled; until then they must not be counted twice.
    op.execute(f"""
        with labels as materialized (
            select created_at, {KEYS}, 1 as sign, least(floor(confidence * 20), 19)::int as confidence_bin, actual_outcome as actual,
                round(1000 / greatest(review_probability, 0.0001))::bigint as weight
            from routing_history where actual_outcome is not null and review_wanted
            union all
            select created_at, {KEYS}, -sign, confidence_bin, actual, weight from rollup_pending where actual is not null and weight > 0
        ),
        levels (level, width) as (values
            (1::smallint, interval '1 minute'), (2::smallint, interval '30 minutes'), (3::smallint, interval '4 hours'),
            (4::smallint, interval '1 day'), (5::smallint, interval '1 day')
        ),
        cells as (
            select cut, level,
                case when level = 5 then date_trunc('month', created_at)
                    else date_bin(width, created_at, timestamptz '2000-01-01 00:00:00+00')
                end as bucket,
                case when cut < 2 then department else '' end as department, method,
                case when cut = 0 then policy else 0 end as policy, case when cut = 0 then channel else '' end as channel, demo,
                department as decided, sign, confidence_bin, actual, weight
            from labels cross join levels cross join (values (0::smallint), (1::smallint), (2::smallint)) as cuts (cut)
        ),
        sums as (
            select cut, level, bucket, {KEYS}, {_sums()}
            from cells group by cut, level, bucket, {KEYS}
        )
        update rollups as r set {', '.join(f'{name} = s.{name}' for name in NAMES)}
        from sums as s
        where (r.cut, r.level, r.bucket, r.department, r.method, r.policy, r.channel, r.demo)
            = (s.cut, s.level, s.bucket, s.department, s.method, s.policy, s.channel, s.demo)
    """)


def downgrade() -> None:
    for name in NAMES:
        op.drop_column("rollups", name)
