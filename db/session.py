"""The connection pool, and the one place where a driver's error becomes an error of the product."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.errors import ServiceUnavailable

STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 5_000


def connect(url: str, *, pool_size: int = 10, overflow: int = 10, name: str = "console") -> Engine:
    """A pool of `pool_size` to `pool_size + overflow` psycopg2 connections; nothing connects yet.

    Every connection runs in UTC with a statement timeout of 15 s and a lock timeout of 5 s.
    """
    options = (
        f"-c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS} "
        "-c hnsw.iterative_scan=strict_order"
    )
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=overflow,
        pool_timeout=5,
        pool_pre_ping=True,
        pool_recycle=1800,
        executemany_mode="values_plus_batch",
        connect_args={"connect_timeout": 3, "application_name": name, "options": options},
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn lost connections, pool and statement timeouts into ServiceUnavailable("database"); other errors pass."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise ServiceUnavailable("database", _first_line(error)) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise ServiceUnavailable("database", _first_line(error)) from error
        raise


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for reads, without a transaction block around them."""
    with translated(), engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back by any exception."""
    with translated(), engine.begin() as connection:
        yield connection
