"""Bring a database to the newest schema. Safe to call from several processes at once."""
from __future__ import annotations

import warnings
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from db.locks import Lock
from db.session import translated
from engine.errors import ConfigurationError


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> tuple[str | None, str | None]:
    """Run the missing migrations in one transaction; the revisions before and after.

    Raises ServiceUnavailable, and ConfigurationError for a database that a newer version of the product has migrated.
    """
    with translated(), engine.begin() as connection:
        connection.execute(text("set local statement_timeout = 0"))
        connection.execute(text("set local lock_timeout = 0"))
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.MIGRATING})
        before = MigrationContext.configure(connection).get_current_revision()
        if before is not None:
            expect_known(before, holder="the database")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*expression-based index.*")
            command.upgrade(_config(connection), revision)
        return before, MigrationContext.configure(connection).get_current_revision()


def current(engine: Engine) -> str | None:
    """The database's revision, None when it has no schema yet."""
    with translated(), engine.connect() as connection:
        return revision(connection)


def revision(connection: Connection) -> str | None:
    """The revision of the database behind the connection, None when it has no schema yet."""
    return MigrationContext.configure(connection).get_current_revision()


def expect_known(revision: str, *, holder: str) -> None:
    """Raise ConfigurationError for the schema of a newer version of the product; `holder` is what has it."""
    if revision not in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}:
        raise ConfigurationError(
            f"{holder} has schema {revision}, and this version of the console knows up to {newest()}. "
            "Use the version that it comes from, or a newer one; nothing was changed."
        )


def newest() -> str:
    """The newest revision that this version of the product knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""
