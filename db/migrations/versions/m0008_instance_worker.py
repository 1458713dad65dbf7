"""Which instances are workers, and which leave their work to one."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("worker", sa.Boolean, server_default=sa.false(), nullable=False))
    op.add_column("instances", sa.Column("needs_worker", sa.Boolean, server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("instances", "needs_worker")
    op.drop_column("instances", "worker")
