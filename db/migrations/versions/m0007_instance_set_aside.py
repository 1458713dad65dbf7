"""How many tickets each instance has set aside, beside its sign of life."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("set_aside", sa.Integer, server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("instances", "set_aside")
