"""Alembic's entry: runs on the connection that `db.migrate` hands over, never on one of its own."""
from __future__ import annotations

from alembic import context

from db.models import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, compare_server_default=False)
with context.begin_transaction():
    context.run_migrations()
