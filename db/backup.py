"""A database as it is at one moment, and a dump of just that."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from db import migrate
from db.audit import AuditTable
from db.programs import ProgramFailed, Programs
from db.session import translated
from engine.errors import Conflict, ConsoleError, NotFound

# A migration that holds a table for longer is not waited for, nor anybody who waits behind this.
_LOCK_WAIT = "60s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in a database: its schema's revision, the server's major version, how many tickets and how many of them labelled."""

    schema: str
    server: int
    tickets: int
    labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A database at one moment. `audit` reads the audit log of that moment, and appends to the one of now."""

    contents: Contents
    audit: AuditTable
    database: Engine
    snapshot: str

    def dump(self, file: Path, programs: Programs) -> None:
        """Write all of the moment into the file, in pg_dump's custom format, while others read and write.

        Raises ConsoleError when pg_dump fails, ConfigurationError where none fits the server, Conflict when a migration changed
        the schema meanwhile.
        """
        program = programs.dumping(server=self.contents.server)
        # Into a file by its name: on standard output pg_dump cannot go back and note where each table begins.
        arguments = ["--format=custom", f"--file={file}", f"--snapshot={self.snapshot}", f"--lock-wait-timeout={_LOCK_WAIT}"]
        try:
            programs.run(program, arguments, database=self.database)
        except ProgramFailed as error:
            raise ConsoleError(f"no backup was made: {error}") from error
        # Rows are of the moment, but what Postgres says of indexes and constraints is of the time it is asked.
        if (now := migrate.current(self.database)) != self.contents.schema:
            raise Conflict(f"no backup was made: a console migrated the database meanwhile, to schema {now}. Run this again")


@contextmanager
def moment(database: Engine, *, seal: Callable[[str, dict[str, Any]], str]) -> Iterator[Moment]:
    """The database as it is now, for as long as the block runs; nobody is kept from writing. `seal` as of AuditTable.

    Raises ServiceUnavailable, NotFound for a database that is none of the console, ConfigurationError for one of a newer version.
    """
    with translated(database), database.connect() as connection:
        connection.execute(text("set transaction isolation level repeatable read, read only"))
        connection.execute(text("set local statement_timeout = 0"))
        connection.execute(text("set local idle_in_transaction_session_timeout = 0"))
        snapshot = connection.execute(text("select pg_export_snapshot()")).scalar_one()
        found = contents(connection)
        yield Moment(contents=found, audit=AuditTable(database, seal=seal, snapshot=snapshot), database=database, snapshot=snapshot)


def contents(connection: Connection) -> Contents:
    """What the database holds. Raises NotFound and ConfigurationError as `moment`."""
    schema = migrate.revision(connection)
    if schema is None:
        raise NotFound("the database holds nothing of the console: it has no schema. Nothing was done")
    migrate.expect_known(schema, holder="the database")
    tickets, labels = connection.execute(
        text("select (select count(*) from tickets), (select count(*) from routing_history where actual_outcome is not null)")
    ).one()
    return Contents(schema=schema, server=server(connection), tickets=tickets, labels=labels)


def server(connection: Connection) -> int:
    """The server's major version."""
    return int(connection.execute(text("show server_version_num")).scalar_one()) // 10_000
