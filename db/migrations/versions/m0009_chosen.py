"""What an agent chose last beside each decision, and an index of the decisions that wait for somebody."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("routing_history", sa.Column("chosen", sa.String(120)))
    op.execute("""
        update routing_history h set chosen = last.department
        from (select distinct on (ticket_id) ticket_id, department from overrules order by ticket_id, id desc) last
        where last.ticket_id = h.ticket_id
    """)
    op.create_index(
        "ix_routing_history_open", "routing_history", ["created_at"],
        postgresql_where=sa.text("automation <> 'auto' and actual_outcome is null and chosen is null"),
    )


def downgrade() -> None:
    op.drop_index("ix_routing_history_open", "routing_history")
    op.drop_column("routing_history", "chosen")
