"""Indexes for what the Review and the Accuracy page look for in all decisions: what waits for a label, in its order, and confident mistakes."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_routing_history_review", "routing_history", [sa.text("(overruled_to is null)"), sa.text("md5(ticket_id)"), "id"],
        postgresql_include=["ticket_id", "department", "demo", "review_wanted"],
        postgresql_where=sa.text("(review_wanted or overruled_to is not null) and actual_outcome is null"),
    )
    op.create_index("ix_routing_history_mistakes", "routing_history", ["confidence", "id"], postgresql_where=sa.text("actual_outcome <> department"))
    op.create_index("ix_tickets_removed", "tickets", ["id"], postgresql_where=sa.text("text_removed_at is not null"))


def downgrade() -> None:
    op.drop_index("ix_tickets_removed", "tickets")
    op.drop_index("ix_routing_history_mistakes", "routing_history")
    op.drop_index("ix_routing_history_review", "routing_history")
