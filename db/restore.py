"""A dump becomes a database: one that was empty before, as a whole or not at all."""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, text

from db import migrate
from db.backup import server
from db.dump import Dump
from db.embedded import EmbeddedServers
from db.locks import Lock
from db.programs import ProgramFailed, Programs
from db.session import connect, translated
from engine.errors import Conflict, ConfigurationError, ConsoleError

# Who owns what, who else may read it and what is said about an extension belong to a server, not to the console's data.
_ARGUMENTS = (
    "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments", "--no-publications", "--no-subscriptions",
)
_SOMETHING = """
    select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
      and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    order by 1 limit 1
"""

# What it makes is seen by nobody until it commits.
_FILLING = "select exists (select from pg_stat_activity where datname = current_database() and application_name = 'pg_restore')"


@contextmanager
def into_own(url: str, dump: Dump, programs: Programs) -> Iterator[Engine]:
    """The dump in the database behind the URL, migrated. Raises Conflict unless that is empty, ServiceUnavailable,
    ConfigurationError where no pg_restore fits, ConsoleError when the dump cannot be restored.
    """
    database = connect(url, name="console-restore")
    try:
        _fill(database, dump, programs)
        try:
            migrate.upgrade(database)
            yield database
        except ConsoleError as error:
            raise ConsoleError(
                f"the dump is in the database as a whole, but what follows could not be done: {str(error).rstrip('. ')}. Do not restore it "
                "again: run `python -m engine migrate` and `python -m engine audit verify`"
            ) from error
    finally:
        database.dispose()


@contextmanager
def into_embedded(
    data_dir: Path, dump: Dump, programs: Programs, *, aside: datetime | None, environment: Mapping[str, str] | None = None
) -> Iterator[Engine]:
    """The dump in an embedded database of its own, migrated. When the block ends it becomes the one of `data_dir`; after any
    exception, and after a crash before that, `data_dir` has the database it had.

    With `aside` an earlier database is kept beside, as `aside_folder` of that time; without, an earlier one raises Conflict.
    `environment` as of EmbeddedServers. Raises Conflict also while a process uses the database, and otherwise as `into_own`.
    """
    home = EmbeddedServers(data_dir, valkey=False)
    place = home.postgres_folder
    with home.vacated():
        if aside is None and place.exists() and any(place.iterdir()):
            raise Conflict(
                f"{place} holds a database already. Add --put-aside to keep that one beside the restored one. Nothing was changed"
            )
        stage = EmbeddedServers(place.with_name("restoring"), valkey=False, environment=environment)
        _clear(stage)
        # Its log is named where that fails, so it stays until the next time.
        stage.start()
        try:
            database = connect(stage.postgres_url, name="console-restore")
            try:
                _fill(database, dump, programs)
                migrate.upgrade(database)
                yield database
            finally:
                database.dispose()
                stage.close()
            with stage.vacated():
                _swap(stage.postgres_folder, place, before=aside_folder(place, aside) if aside is not None else None)
        finally:
            _clear(stage)


def aside_folder(place: Path, at: datetime) -> Path:
    """Where the database's folder is put aside to at this time; `at` is in UTC."""
    return place.with_name(f"{place.name}.before-{at:%Y%m%dT%H%M%SZ}")


def _fill(database: Engine, dump: Dump, programs: Programs) -> None:
    with translated(database), database.connect() as connection:
        connection.execute(text("set local idle_in_transaction_session_timeout = 0"))
        # A console that starts meanwhile waits here with its migrations, instead of making tables among these.
        if not connection.execute(text("select pg_try_advisory_xact_lock(:key)"), {"key": Lock.MIGRATING}).scalar_one():
            raise Conflict("a console is migrating this database. Stop it, and restore into an empty one. Nothing was changed")
        if connection.execute(text(_FILLING)).scalar_one():
            raise Conflict(
                "a pg_restore is filling this database; one outlives the command that began it where that is killed. Wait until it has ended: "
                "the dump is in the database as a whole then, or nothing is. Nothing was changed"
            )
        something = connection.execute(text(_SOMETHING)).scalar()
        if something is not None:
            raise Conflict(
                f"the database is not empty: it has {something}. Make a new one and set DATABASE_URL to that. Nothing was changed"
            )
        here = server(connection)
        if here < dump.server:
            raise ConfigurationError(
                f"{dump.path}: is of Postgres {dump.server}, and this server is {here}. Use a newer server. Nothing was changed"
            )
        fitting = [program for program in programs.restoring(server=here) if dump.readable_by(program)]
        if not fitting:
            raise ConfigurationError(
                f"PATH: no pg_restore here both reads {dump.path} and fits a server of version {here}. Put that of its version on PATH. "
                "Nothing was changed"
            )
        dump.expect_whole()
        try:
            programs.run(fitting[0], [*_ARGUMENTS, "--", str(dump.path)], database=database)
        except ProgramFailed as error:
            raise ConsoleError(f"{dump.path}: cannot be restored: {error}. Nothing was changed") from error


def _swap(new: Path, place: Path, *, before: Path | None) -> None:
    try:
        if before is not None and place.exists():
            os.rename(place, before)
        # An empty folder gives way.
        os.rename(new, place)
    except OSError as error:
        if before is not None and before.exists() and not place.exists():
            os.rename(before, place)
        raise ConsoleError(
            f"the restored database cannot take the place of {place}: {error.strerror}. A volume can be mounted at DATA_DIR, not at a folder "
            "in it. Nothing was changed"
        ) from error


def _clear(stage: EmbeddedServers) -> None:
    """Away with the folder that a restore works in, also with what a killed one has left behind and still runs there."""
    folder = stage.postgres_folder.parent
    if folder.exists():
        with stage.vacated():
            shutil.rmtree(folder)
