"""Bring a database to the newest schema. Safe to call from several processes at once."""
from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from db.locks import Lock
from db.session import translated
from engine.errors import ConfigurationError, StatementRefused

_NO_EXTENSION = "this server lacks the extension `vector` (pgvector); install it on the server's machine, or use a server that has it"
# By SQLSTATE, what an administrator of Postgres has to do before the schema can be made.
_WANTING = {
    "42501": (
        "its role may not use, make or change the tables, or the extension `vector`. A superuser has to run, in this database, "
        "`create extension if not exists vector` and `grant create on schema public to ROLE`; tables that are there already must belong to ROLE"
    ),
    "0A000": _NO_EXTENSION,
    "58P01": _NO_EXTENSION,
    "42704": (
        "the extension `vector` lies in a schema where its role does not look; `alter role ROLE set search_path = public, SCHEMA` names that one too"
    ),
}
_ENCODING = "UTF8"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(
    engine: Engine, revision: str = "head", *, begun: Callable[[str, str], None] | None = None
) -> tuple[str | None, str | None]:
    """Run the missing migrations in one transaction; the revisions before and after.

    `begun` hears which schema there is and which is to be, before that takes its time on tables that are not empty.

    Raises ServiceUnavailable, and ConfigurationError for a database that a newer version of the product has migrated, that lacks
    what its administrator has to give, or that is new and not in UTF-8.
    """
    try:
        return _upgraded(engine, revision, begun)
    except StatementRefused as error:
        if error.code not in _WANTING:
            raise
        raise ConfigurationError(f"DATABASE_URL: the schema cannot be made: {_WANTING[error.code]}. Nothing was changed.") from error


def _upgraded(engine: Engine, revision: str, begun: Callable[[str, str], None] | None) -> tuple[str | None, str | None]:
    with translated(), engine.begin() as connection:
        connection.execute(text("set local statement_timeout = 0"))
        connection.execute(text("set local lock_timeout = 0"))
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.MIGRATING})
        before = MigrationContext.configure(connection).get_current_revision()
        if before is not None:
            expect_known(before, holder="the database")
            if begun is not None and before != newest():
                begun(before, newest())
        elif (encoding := connection.execute(text("show server_encoding")).scalar_one()) != _ENCODING:
            raise ConfigurationError(
                f"DATABASE_URL: the database's encoding is {encoding}, and customers write in every script, which UTF8 alone holds. "
                "Make one with `create database NAME encoding 'UTF8' template template0`; nothing was changed."
            )
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
    # Alembic makes its table anew for each question, and SQLAlchemy would keep the statement of each: health asks every 15 s.
    return MigrationContext.configure(connection.execution_options(compiled_cache=None)).get_current_revision()


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
