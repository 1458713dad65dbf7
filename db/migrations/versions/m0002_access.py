"""Users, sessions, API tokens, wrong passwords and the audit log; the mark of removed texts."""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=sa.text('now()') if now else None)


def upgrade() -> None:
    op.add_column('tickets', _time('text_removed_at', nullable=True))
    op.create_index('ix_tickets_created_at', 'tickets', ['created_at'])
    op.create_index('ix_tickets_created_by', 'tickets', ['created_by', 'created_at'])
    op.create_table(
        'users',
        sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column('name', sa.String(length=120), nullable=False),
        sa.Column('role', sa.String(length=16), nullable=False),
        sa.Column('password_hash', sa.String(length=256), nullable=True),
        sa.Column('must_change', sa.Boolean(), server_default=sa.text('false'), nullable=False),
        sa.Column('source', sa.String(length=16), server_default='local', nullable=False),
        sa.Column('subject', sa.String(length=512), nullable=True),
        _time('disabled_at', nullable=True),
        _time('signed_in_at', nullable=True),
        _time('created_at', now=True),
        sa.CheckConstraint("role in ('agent', 'supervisor', 'manager', 'admin')", name=op.f('ck_users_role')),
        sa.CheckConstraint('name = lower(name)', name=op.f('ck_users_name')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
        sa.UniqueConstraint('name', name=op.f('uq_users_name')),
        sa.UniqueConstraint('subject', name=op.f('uq_users_subject')),
    )
    op.create_table(
        'sessions',
        sa.Column('key', sa.String(length=64), nullable=False),
        sa.Column('user_id', sa.BigInteger(), nullable=False),
        _time('seen_at'),
        _time('expires_at'),
        sa.Column('address', sa.String(length=64), server_default='', nullable=False),
        sa.Column('browser', sa.String(length=200), server_default='', nullable=False),
        _time('created_at', now=True),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_sessions_user_id'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('key', name=op.f('pk_sessions')),
    )
    op.create_index(op.f('ix_sessions_user_id'), 'sessions', ['user_id'])
    op.create_index('ix_sessions_expires_at', 'sessions', ['expires_at'])
    op.create_table(
        'sign_in_attempts',
        sa.Column('key', sa.String(length=64), nullable=False),
        sa.Column('failures', sa.Integer(), nullable=False),
        _time('locked_until'),
        _time('last_at'),
        sa.PrimaryKeyConstraint('key', name=op.f('pk_sign_in_attempts')),
    )
    op.create_table(
        'tokens',
        sa.Column('id', sa.String(length=16), nullable=False),
        sa.Column('user_id', sa.BigInteger(), nullable=False),
        sa.Column('name', sa.String(length=120), nullable=False),
        sa.Column('secret_hash', sa.String(length=64), nullable=False),
        sa.Column('scopes', postgresql.ARRAY(sa.String(length=32)), nullable=False),
        _time('expires_at', nullable=True),
        _time('used_at', nullable=True),
        _time('revoked_at', nullable=True),
        _time('created_at', now=True),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_tokens_user_id'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_tokens')),
    )
    op.create_index(op.f('ix_tokens_user_id'), 'tokens', ['user_id'])
    op.create_table(
        'audit_log',
        sa.Column('id', sa.BigInteger(), autoincrement=False, nullable=False),
        _time('at'),
        sa.Column('actor', sa.String(length=120), nullable=False),
        sa.Column('action', sa.String(length=64), nullable=False),
        sa.Column('kind', sa.String(length=32), nullable=False),
        sa.Column('object', sa.String(length=200), nullable=False),
        sa.Column('before', postgresql.JSONB(), nullable=True),
        sa.Column('after', postgresql.JSONB(), nullable=True),
        sa.Column('address', sa.String(length=64), server_default='', nullable=False),
        sa.Column('previous', sa.String(length=64), nullable=False),
        sa.Column('hash', sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_log')),
    )
    op.create_index('ix_audit_log_at', 'audit_log', ['at'])
    op.create_index('ix_audit_log_actor', 'audit_log', ['actor'])
    op.create_table(
        'audit_head',
        sa.Column('one', sa.Boolean(), server_default=sa.text('true'), nullable=False),
        sa.Column('id', sa.BigInteger(), nullable=False),
        sa.Column('hash', sa.String(length=64), nullable=False),
        sa.CheckConstraint('one', name=op.f('ck_audit_head_one')),
        sa.PrimaryKeyConstraint('one', name=op.f('pk_audit_head')),
    )
    op.execute("insert into audit_head (id, hash) values (0, repeat('0', 64))")
    op.execute(
        """
        create function audit_log_is_append_only() returns trigger language plpgsql as
        $$ begin raise exception 'the audit log is append-only'; end $$
        """
    )
    op.execute(
        "create trigger audit_log_append_only before update or delete or truncate on audit_log "
        "for each statement execute function audit_log_is_append_only()"
    )


def downgrade() -> None:
    op.drop_table('audit_head')
    op.drop_table('audit_log')
    op.execute('drop function audit_log_is_append_only()')
    for name in ('tokens', 'sign_in_attempts', 'sessions', 'users'):
        op.drop_table(name)
    op.drop_index('ix_tickets_created_by', table_name='tickets')
    op.drop_index('ix_tickets_created_at', table_name='tickets')
    op.drop_column('tickets', 'text_removed_at')
