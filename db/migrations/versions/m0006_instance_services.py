"""What each instance's breakers say, beside its sign of life."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("services", JSONB, server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("instances", "services")
