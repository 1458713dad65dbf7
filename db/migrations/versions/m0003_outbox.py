"""The outbox towards the remote vector index, filled by triggers; one live model for each embedder."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


# Whoever changes vectors, in whatever way, leaves a note in the same transaction, but only for embedders with a remote index.
VECTORS = """
create function note_vectors() returns trigger language plpgsql as $$
begin
    insert into index_outbox (exemplar_id, embedder)
    select changed.exemplar_id, changed.embedder
    from changed join index_targets using (embedder) order by changed.exemplar_id;
    return null;
end $$
"""
EXEMPLARS = """
create function note_exemplars() returns trigger language plpgsql as $$
begin
    insert into index_outbox (exemplar_id, embedder)
    select changed.id, index_targets.embedder
    from changed cross join index_targets
    where exists (select 1 from exemplar_vectors v where v.exemplar_id = changed.id and v.embedder = index_targets.embedder)
    order by changed.id;
    return null;
end $$
"""


def upgrade() -> None:
    op.create_table(
        'index_targets',
        sa.Column('embedder', sa.String(length=120), nullable=False),
        sa.Column('place', sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint('embedder', name='pk_index_targets'),
    )
    op.create_table(
        'index_outbox',
        sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column('exemplar_id', sa.BigInteger(), nullable=False),
        sa.Column('embedder', sa.String(length=120), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_index_outbox'),
    )
    op.create_index('ix_index_outbox_embedder', 'index_outbox', ['embedder', 'id'])
    op.execute(VECTORS)
    op.execute(EXEMPLARS)
    for event, rows in (('insert', 'new'), ('update', 'new'), ('delete', 'old')):
        op.execute(
            f'create trigger note_vectors_{event} after {event} on exemplar_vectors '
            f'referencing {rows} table as changed for each statement execute function note_vectors()'
        )
    op.execute(
        'create trigger note_exemplars_update after update on exemplars '
        'referencing new table as changed for each statement execute function note_exemplars()'
    )
    op.drop_index('uq_models_live', table_name='models', postgresql_where=sa.text('live'))
    op.create_index('uq_models_live', 'models', ['embedder'], unique=True, postgresql_where=sa.text('live'))


def downgrade() -> None:
    op.drop_index('uq_models_live', table_name='models', postgresql_where=sa.text('live'))
    op.execute('update models set live = false where number <> (select max(number) from models where live)')
    op.create_index('uq_models_live', 'models', ['live'], unique=True, postgresql_where=sa.text('live'))
    op.execute('drop trigger note_exemplars_update on exemplars')
    for event in ('insert', 'update', 'delete'):
        op.execute(f'drop trigger note_vectors_{event} on exemplar_vectors')
    op.execute('drop function note_exemplars()')
    op.execute('drop function note_vectors()')
    op.drop_index('ix_index_outbox_embedder', table_name='index_outbox')
    op.drop_table('index_outbox')
    op.drop_table('index_targets')
