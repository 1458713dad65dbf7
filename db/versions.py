"""What a database says of itself when its health is asked for. Every function raises ServiceUnavailable when it does not answer."""
from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Engine, text

from db import migrate, trial
from db.exemplars import Exemplars
from db.replica import REPLICA
from db.session import reading
from engine.errors import ServiceUnavailable


def of_database(engine: Engine) -> str:
    """What answers, and which schema it holds. Raises ServiceUnavailable also when it answers and stores nothing."""
    found = "PostgreSQL {}, schema {}".format(*_version_and_schema(engine))
    trial.settle(engine)
    return found


def identity(engine: Engine) -> str:
    """What tells this database from others: its cluster's identifier and its number there.

    A standby has the same one and keeps it when it takes over; so does any copy of the cluster's files, unlike a dump that was
    restored elsewhere. A role that may not ask for the cluster's identifier gets the number alone.
    """
    with reading(engine) as connection:
        number = connection.execute(text("select oid from pg_database where datname = current_database()")).scalar_one()
        if not connection.execute(text("select has_function_privilege('pg_control_system()', 'execute')")).scalar_one():
            return str(number)
        cluster = connection.execute(text("select system_identifier from pg_control_system()")).scalar_one()
    return f"{cluster}/{number}"


def of_replica(engine: Engine, *, behind: Callable[[], timedelta]) -> str:
    """As of the primary, and how far it lags where that is much. Raises ServiceUnavailable also when it has not got the tables
    that charts are read from.
    """
    version, schema = _version_and_schema(engine)
    if schema != migrate.newest():
        raise ServiceUnavailable(REPLICA, f"its schema is {schema or 'missing'}, charts need {migrate.newest()}: is it a replica of this database?")
    late = behind()
    return f"PostgreSQL {version}, schema {schema}" + (f", {late.total_seconds() / 60:,.0f} min behind" if late else "")


def of_vectors(engine: Engine, exemplars: Exemplars) -> str:
    """pgvector's version, and how many vectors there are."""
    with reading(engine) as connection:
        version = connection.execute(text("select extversion from pg_extension where extname = 'vector'")).scalar_one()
    return f"pgvector {version}, {exemplars.embedded():,} vectors"


def _version_and_schema(engine: Engine) -> tuple[str, str | None]:
    with reading(engine) as connection:
        version = connection.execute(text("select split_part(version(), ' ', 2)")).scalar_one()
        return version, migrate.revision(connection)
