"""The connection pool, and the one place where a driver's error becomes an error of the product."""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import psycopg2
from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from db.address import address_of
from db.pool import Pool
from db.watchdog import Silence, WatchedConnection, WatchedCursor, patient
from engine.errors import ServiceUnavailable, StatementRefused

T = TypeVar("T")

STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 5_000
# A client that vanished in the middle of a transaction must not keep its row locks: nobody here thinks for that long.
IDLE_IN_TRANSACTION_MS = 20_000
# On a ticket's path: with a database that says nothing, the ticket must still be kept elsewhere within its deadline.
TICKET_PATIENCE = 2.5
# Seconds of rest after which a connection is asked whether it still lives before it is used.
RESTED = 1.0
_ATTEMPTS = 5
_SERIALIZATION_FAILURES = {"40001", "40P01"}
_READ_ONLY = "25006"
UNIQUE_VIOLATION = "23505"
# The server answers, and stores nothing: its disk is full, or it is read-only. What is read goes on, so this has to be remembered.
_STORES_NOTHING = {"53100", _READ_ONLY}
# The server answered: these are errors of one statement and say nothing about the next one.
_ONE_STATEMENT = {"57014", "55P03", "25P03", *_SERIALIZATION_FAILURES}


class Gate(Protocol):
    """Who decides whether the database may be asked, and is told how it went: a circuit breaker. `service` is the database's name."""

    service: str

    def before(self) -> None:
        """Raises ServiceUnavailable when the database is to be left alone."""
        ...

    def succeeded(self) -> None: ...

    def failed(self, error: Exception, *, decisive: bool = False) -> None: ...


class _NoGate:
    """Lets everybody pass, and remembers nothing."""

    service = "database"

    def before(self) -> None: ...

    def succeeded(self) -> None: ...

    def failed(self, error: Exception, *, decisive: bool = False) -> None: ...


class NotConnected(psycopg2.OperationalError):
    """No connection could be made; the pool hands this out as it is to whoever asks it for a driver's connection."""


def connect(
    url: str, *, pool_size: int = 10, overflow: int = 10, name: str = "console", gate: Gate | None = None, setting: str = "DATABASE_URL"
) -> Engine:
    """A pool of `pool_size` to `pool_size + overflow` psycopg2 connections; nothing connects yet.

    Every connection runs in UTC and UTF-8, reads what is committed, and has a statement timeout of 15 s and a lock timeout of 5 s. A
    server that is there and says nothing counts as lost after 17 s, or what `reading` is told. Several hosts in the URL with
    `target_session_attrs=read-write` find the new primary after a failover. Raises ConfigurationError that names `setting` for
    a URL that is none.
    """
    address = address_of(url, setting)
    # Those of the URL come first: some providers tell their databases apart by them.
    given = address.query.get("options", "")
    options = (
        f"{given if isinstance(given, str) else ' '.join(given)} -c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS} "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} "
        # What waits for a lock has to see what was done meanwhile, and storing a ticket is not tried again.
        "-c default_transaction_isolation=read\\ committed "
        "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c hnsw.iterative_scan=strict_order "
        # For statements prepared by name, which are written so that no value changes their plan.
        "-c plan_cache_mode=force_generic_plan"
    )
    engine = create_engine(
        address,
        poolclass=Pool,
        pool_size=pool_size,
        max_overflow=overflow,
        pool_timeout=3,
        # The connection used last: its server process has everything at hand, and those not needed can rest.
        pool_use_lifo=True,
        pool_recycle=1800,
        executemany_mode="values_plus_batch",
        # Parameters are customers' words; an error's text may end in a log.
        hide_parameters=True,
        execution_options={"gate": gate, "doubt": threading.Event()},
        connect_args={
            "connect_timeout": 2, "application_name": name, "options": options, "tcp_user_timeout": 5_000, "client_encoding": "utf8",
            "connection_factory": WatchedConnection, "cursor_factory": WatchedCursor,
        },
    )
    event.listen(engine, "do_connect", _connected)
    event.listen(engine, "checkin", _left)
    event.listen(engine, "checkout", _asked_after_a_rest)
    return engine


def reach(url: str) -> None:
    """Return when the server lets us in. Raises ServiceUnavailable and ConfigurationError."""
    engine = connect(url, pool_size=1)
    try:
        with translated(), engine.connect():
            pass
    finally:
        engine.dispose()


def _connected(dialect: Dialect, _: object, arguments: Sequence[Any], named: dict[str, Any]) -> DBAPIConnection:
    try:
        made = dialect.connect(*arguments, **named)
        # The environment's PGTZ comes after the options and wins, and a pooler may pass the options over; the server has said what came of them.
        if made.info.parameter_status("TimeZone") != "UTC":
            with made.cursor() as cursor:
                cursor.execute("set timezone = 'UTC'")
            made.commit()
        return made
    except psycopg2.OperationalError as error:
        raise NotConnected(str(error)) from error


def _left(_: object, record: ConnectionPoolEntry) -> None:
    record.info["left"] = time.monotonic()


def _asked_after_a_rest(connection: WatchedConnection, record: ConnectionPoolEntry, _: object) -> None:
    """Ask a connection that has rested whether it still lives; where it is closed or does not answer the pool starts anew.

    One that was in use a moment ago is not asked: under load every ticket would pay a round trip for each statement.
    """
    if connection.closed:
        raise InvalidatePoolError
    left = record.info.get("left")
    if left is None or time.monotonic() - left < RESTED:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        connection.rollback()
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


@contextmanager
def translated(engine: Engine | None = None) -> Iterator[None]:
    """Turn lost connections, pool and statement timeouts into ServiceUnavailable, other refusals of the database into
    StatementRefused, which is told without its cause: that holds the refused row. Errors that are none of the database's pass.

    With `engine` its gate is asked before and told afterwards, and the error names the gate's service, else "database".
    """
    given = engine.get_execution_options().get("gate") if engine is not None else None
    gate: Gate = _NoGate() if given is None else given
    gate.before()
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        code = _code(error)
        _note(engine, code)
        if code in _ONE_STATEMENT:
            gate.succeeded()
        else:
            # Without a statement it was connecting, or asking whether the connection still lives, that failed. After one
            # silence, nobody else of this ticket's stages should wait as long.
            decisive = not isinstance(error, PoolTimeout) and (error.statement is None or isinstance(error.orig, Silence))
            gate.failed(ServiceUnavailable(gate.service, _first_line(error)), decisive=decisive)
        raise ServiceUnavailable(gate.service, _first_line(error), retryable=code in _SERIALIZATION_FAILURES) from error
    except DBAPIError as error:
        _note(engine, _code(error))
        if _code(error) == _READ_ONLY and engine is not None:
            # A failover has made this server a replica: the next connections must look for the new primary.
            engine.dispose()
        elif not error.connection_invalidated:
            gate.succeeded()
            raise StatementRefused(_code(error) or "", constraint=_constraint(error)) from None
        gate.failed(ServiceUnavailable(gate.service, _first_line(error)))
        raise ServiceUnavailable(gate.service, _first_line(error)) from error
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        # While a connection is made for the ticket's path or goes back into the pool, the driver's errors come as they are.
        gate.failed(ServiceUnavailable(gate.service, _first_line(error)), decisive=isinstance(error, NotConnected | Silence))
        raise ServiceUnavailable(gate.service, _first_line(error)) from error
    except psycopg2.Error as error:
        gate.succeeded()
        raise StatementRefused(error.pgcode or "", constraint=error.diag.constraint_name or "") from None
    except BaseException:
        gate.succeeded()
        raise
    gate.succeeded()


def doubt(engine: Engine) -> threading.Event:
    """Set when the database has refused to store anything at all; `db.trial` finds out whether it still does."""
    noted: threading.Event = engine.get_execution_options()["doubt"]
    return noted


def _note(engine: Engine | None, code: str | None) -> None:
    if engine is not None and code in _STORES_NOTHING:
        doubt(engine).set()


def _code(error: Exception) -> str | None:
    return getattr(getattr(error, "orig", None), "pgcode", None)


def _constraint(error: DBAPIError) -> str:
    return getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or ["the connection was lost"])[0]


@contextmanager
def reading(engine: Engine, *, patience: float | None = None) -> Iterator[Connection]:
    """A connection for reads, without a transaction block around them. `patience` in seconds as in `connect`."""
    with patient(patience), translated(engine), engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back by any exception."""
    with translated(engine), engine.begin() as connection:
        yield connection


def transact(engine: Engine, work: Callable[[Connection], T], *, isolation: str | None = None) -> T:
    """The result of `work` in one transaction, done again when Postgres could not serialise it or broke a deadlock.

    At most five attempts with up to 10, 20, 40 and 80 ms of jitter between; `work` must not have effects elsewhere.
    `isolation` is an SQLAlchemy isolation level for this transaction.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with translated(engine), engine.connect() as connection:
                if isolation is not None:
                    connection.execution_options(isolation_level=isolation)
                with connection.begin():
                    return work(connection)
        except ServiceUnavailable as error:
            if not error.retryable or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - spreads out those that collided
    raise AssertionError("unreachable: the last attempt returns or raises")
