"""An index of the decisions that have a label and were chosen by chance, by when they were made."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_routing_history_labelled", "routing_history", ["created_at"],
        postgresql_where=sa.text("review_wanted and actual_outcome is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_routing_history_labelled", "routing_history")
