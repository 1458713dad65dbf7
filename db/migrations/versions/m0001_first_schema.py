"""The first schema: tickets, decisions, outcomes, exemplars with vectors, policies, models and alerts."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects import postgresql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('create extension if not exists vector')
    op.create_table('alerts',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('rule', sa.String(length=64), nullable=False),
    sa.Column('subject', sa.String(length=120), server_default='', nullable=False),
    sa.Column('severity', sa.String(length=16), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.Column('value', sa.Float(), nullable=True),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('resolved_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('acknowledged_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('acknowledged_by', sa.String(length=120), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alerts'))
    )
    op.create_index('uq_alerts_open', 'alerts', ['rule', 'subject'], unique=True, postgresql_where=sa.text('resolved_at is null'))
    op.create_table('counters',
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('value', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_counters'))
    )
    op.create_table('departments',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('name', sa.String(length=120), nullable=False),
    sa.Column('purpose', sa.Text(), server_default='', nullable=False),
    sa.Column('triage', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('live', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_departments')),
    sa.UniqueConstraint('name', name=op.f('uq_departments_name'))
    )
    op.create_table('models',
    sa.Column('number', sa.Integer(), sa.Identity(always=False), nullable=False),
    sa.Column('embedder', sa.String(length=120), nullable=False),
    sa.Column('manifest', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('arrays', sa.LargeBinary(), nullable=False),
    sa.Column('live', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_models'))
    )
    op.create_index('uq_models_live', 'models', ['live'], unique=True, postgresql_where=sa.text('live'))
    op.create_table('policies',
    sa.Column('number', sa.Integer(), sa.Identity(always=False), nullable=False),
    sa.Column('config', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('author', sa.String(length=120), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('live', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_policies'))
    )
    op.create_index('uq_policies_live', 'policies', ['live'], unique=True, postgresql_where=sa.text('live'))
    op.create_table('routing_accuracy',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('department', sa.String(length=120), nullable=False),
    sa.Column('total_predictions', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('correct_predictions', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('accuracy_rate', sa.Numeric(precision=5, scale=4), server_default=sa.text('0'), nullable=False),
    sa.Column('last_updated', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_routing_accuracy')),
    sa.UniqueConstraint('department', name=op.f('uq_routing_accuracy_department'))
    )
    op.create_index('ix_routing_accuracy_last_updated', 'routing_accuracy', ['last_updated'], unique=False)
    op.create_table('tickets',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('subject', sa.Text(), server_default='', nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('channel', sa.String(length=16), nullable=False),
    sa.Column('customer_ref', sa.String(length=64), server_default='', nullable=False),
    sa.Column('priority', sa.String(length=16), nullable=False),
    sa.Column('fingerprint', sa.String(length=32), nullable=False),
    sa.Column('origin', sa.String(length=16), nullable=False),
    sa.Column('created_by', sa.String(length=120), server_default='', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tickets'))
    )
    op.create_index(op.f('ix_tickets_fingerprint'), 'tickets', ['fingerprint'], unique=False)
    op.create_table('exemplars',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('department', sa.String(length=120), nullable=False),
    sa.Column('topic', sa.String(length=120), server_default='', nullable=False),
    sa.Column('source', sa.String(length=16), nullable=False),
    sa.Column('ticket_id', sa.String(length=64), nullable=True),
    sa.Column('active', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['ticket_id'], ['tickets.id'], name=op.f('fk_exemplars_ticket_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_exemplars'))
    )
    op.create_index(op.f('ix_exemplars_department'), 'exemplars', ['department'], unique=False)
    op.create_index(op.f('ix_exemplars_ticket_id'), 'exemplars', ['ticket_id'], unique=False)
    op.create_table('outcomes',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('ticket_id', sa.String(length=64), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('predicted', sa.String(length=120), nullable=False),
    sa.Column('actual', sa.String(length=120), nullable=False),
    sa.Column('resolution_time_hours', sa.Numeric(precision=8, scale=2), nullable=True),
    sa.Column('customer_satisfaction', sa.Numeric(precision=3, scale=1), nullable=True),
    sa.Column('labelled_by', sa.String(length=120), nullable=False),
    sa.Column('note', sa.Text(), server_default='', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['ticket_id'], ['tickets.id'], name=op.f('fk_outcomes_ticket_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outcomes'))
    )
    op.create_index(op.f('ix_outcomes_ticket_id'), 'outcomes', ['ticket_id'], unique=False)
    op.create_table('overrules',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('ticket_id', sa.String(length=64), nullable=False),
    sa.Column('department', sa.String(length=120), nullable=False),
    sa.Column('by', sa.String(length=120), nullable=False),
    sa.Column('reason', sa.Text(), server_default='', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['ticket_id'], ['tickets.id'], name=op.f('fk_overrules_ticket_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_overrules'))
    )
    op.create_index(op.f('ix_overrules_ticket_id'), 'overrules', ['ticket_id'], unique=False)
    op.create_table('routing_history',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('ticket_id', sa.String(length=64), nullable=False),
    sa.Column('department', sa.String(length=120), nullable=False),
    sa.Column('confidence', sa.Numeric(precision=5, scale=4), nullable=False),
    sa.Column('method', sa.String(length=16), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('actual_outcome', sa.String(length=120), nullable=True),
    sa.Column('resolution_time_hours', sa.Numeric(precision=8, scale=2), nullable=True),
    sa.Column('customer_satisfaction', sa.Numeric(precision=3, scale=1), nullable=True),
    sa.Column('outcome', sa.String(length=16), nullable=True),
    sa.Column('reviewed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('reviewed_by', sa.String(length=120), nullable=True),
    sa.Column('raw_score', sa.Float(), nullable=False),
    sa.Column('automation', sa.String(length=16), nullable=False),
    sa.Column('topic', sa.String(length=120), server_default='', nullable=False),
    sa.Column('source', sa.String(length=120), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('alternatives', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('evidence', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('timings', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('total_ms', sa.Float(), nullable=False),
    sa.Column('versions', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('policy', sa.Integer(), nullable=False),
    sa.Column('degraded_by', postgresql.ARRAY(sa.String(length=32)), nullable=False),
    sa.Column('gated_by', sa.Text(), server_default='', nullable=False),
    sa.Column('audit_department', sa.String(length=120), nullable=True),
    sa.Column('review_wanted', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('review_probability', sa.Float(), server_default=sa.text('1'), nullable=False),
    sa.Column('overruled_to', sa.String(length=120), nullable=True),
    sa.Column('channel', sa.String(length=16), nullable=False),
    sa.Column('demo', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('arm', sa.String(length=64), server_default='', nullable=False),
    sa.CheckConstraint("automation in ('auto', 'preselect', 'suggest')", name=op.f('ck_routing_history_automation')),
    sa.CheckConstraint("method in ('cached', 'learned', 'rag_llm', 'fallback')", name=op.f('ck_routing_history_method')),
    sa.CheckConstraint("outcome in ('confirmed', 'corrected')", name=op.f('ck_routing_history_outcome')),
    sa.CheckConstraint('confidence between 0 and 1', name=op.f('ck_routing_history_confidence')),
    sa.ForeignKeyConstraint(['ticket_id'], ['tickets.id'], name=op.f('fk_routing_history_ticket_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_routing_history')),
    sa.UniqueConstraint('ticket_id', name=op.f('uq_routing_history_ticket_id'))
    )
    op.create_index('ix_routing_history_created_at', 'routing_history', ['created_at'], unique=False)
    op.create_index(op.f('ix_routing_history_department'), 'routing_history', ['department'], unique=False)
    op.create_index('ix_routing_history_reviewed', 'routing_history', ['reviewed_at'], unique=False, postgresql_where=sa.text('actual_outcome is not null'))
    op.create_index('ix_routing_history_waiting', 'routing_history', ['created_at'], unique=False,
                    postgresql_where=sa.text('review_wanted and actual_outcome is null'))
    op.create_table('topics',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('name', sa.String(length=120), nullable=False),
    sa.Column('department', sa.String(length=120), nullable=False),
    sa.Column('purpose', sa.Text(), server_default='', nullable=False),
    sa.Column('live', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.ForeignKeyConstraint(['department'], ['departments.name'], name=op.f('fk_topics_department'), onupdate='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_topics')),
    sa.UniqueConstraint('name', name=op.f('uq_topics_name'))
    )
    op.create_index(op.f('ix_topics_department'), 'topics', ['department'], unique=False)
    op.create_table('exemplar_vectors',
    sa.Column('exemplar_id', sa.BigInteger(), nullable=False),
    sa.Column('embedder', sa.String(length=120), nullable=False),
    sa.Column('embedding', Vector(), nullable=False),
    sa.ForeignKeyConstraint(['exemplar_id'], ['exemplars.id'], name=op.f('fk_exemplar_vectors_exemplar_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('exemplar_id', 'embedder', name=op.f('pk_exemplar_vectors'))
    )
    for dimensions in (384, 768):
        op.execute(
            f'create index ix_exemplar_vectors_{dimensions} on exemplar_vectors '
            f'using hnsw ((embedding::vector({dimensions})) vector_cosine_ops) where vector_dims(embedding) = {dimensions}'
        )


def downgrade() -> None:
    op.drop_table('exemplar_vectors')
    op.drop_index(op.f('ix_topics_department'), table_name='topics')
    op.drop_table('topics')
    op.drop_index('ix_routing_history_waiting', table_name='routing_history', postgresql_where=sa.text('review_wanted and actual_outcome is null'))
    op.drop_index('ix_routing_history_reviewed', table_name='routing_history', postgresql_where=sa.text('actual_outcome is not null'))
    op.drop_index(op.f('ix_routing_history_department'), table_name='routing_history')
    op.drop_index('ix_routing_history_created_at', table_name='routing_history')
    op.drop_table('routing_history')
    op.drop_index(op.f('ix_overrules_ticket_id'), table_name='overrules')
    op.drop_table('overrules')
    op.drop_index(op.f('ix_outcomes_ticket_id'), table_name='outcomes')
    op.drop_table('outcomes')
    op.drop_index(op.f('ix_exemplars_ticket_id'), table_name='exemplars')
    op.drop_index(op.f('ix_exemplars_department'), table_name='exemplars')
    op.drop_table('exemplars')
    op.drop_index(op.f('ix_tickets_fingerprint'), table_name='tickets')
    op.drop_table('tickets')
    op.drop_index('ix_routing_accuracy_last_updated', table_name='routing_accuracy')
    op.drop_table('routing_accuracy')
    op.drop_index('uq_policies_live', table_name='policies', postgresql_where=sa.text('live'))
    op.drop_table('policies')
    op.drop_index('uq_models_live', table_name='models', postgresql_where=sa.text('live'))
    op.drop_table('models')
    op.drop_table('departments')
    op.drop_table('counters')
    op.drop_index('uq_alerts_open', table_name='alerts', postgresql_where=sa.text('resolved_at is null'))
    op.drop_table('alerts')
