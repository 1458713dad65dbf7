"""No statement and no commit waits for ever for a server that says nothing, and what may take long is not cut short."""
from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from db.session import connect
from db.watchdog import PATIENCE, Silence, _patience, _Watchdog, patient

# Seconds: what a busy machine takes for an answer that comes at once is less. `LONGER` is what somebody may take nevertheless.
SHORT, LONGER = 1.0, 3.0
# The server's own limit of fifteen seconds would end it otherwise, with another error.
SLEEP = text("select pg_sleep(60)")
SLOW_COMMIT = """
    create table kept (n int);
    create function slowly() returns trigger language plpgsql as $$ begin perform pg_sleep({seconds}); return null; end $$;
    create constraint trigger late after insert on kept deferrable initially deferred for each row execute function slowly()
"""


@pytest.fixture
def one(database: Engine) -> Iterator[Engine]:
    """A pool of one connection, so that each block has that of the block before."""
    engine = connect(database.url.render_as_string(hide_password=False), pool_size=1, overflow=0)
    yield engine
    engine.dispose()


def silent(connection: Connection) -> None:
    with patient(SHORT), pytest.raises(DBAPIError) as failed:
        connection.execute(SLEEP)
    assert isinstance(failed.value.orig, Silence) and f"no answer within {SHORT:.1f} s" in str(failed.value.orig)


def test_a_statement_without_an_answer_ends_as_a_lost_connection_and_the_next_one_is_made(one: Engine) -> None:
    for _ in range(2):
        with one.connect() as connection:
            silent(connection)
    with one.connect() as connection, patient(SHORT):
        assert connection.execute(text("select 1")).scalar_one() == 1


def test_what_the_server_itself_refuses_is_no_silence(one: Engine) -> None:
    with one.connect() as connection, patient(SHORT), pytest.raises(DBAPIError) as failed:
        connection.execute(text("select 1 / 0"))
    assert not isinstance(failed.value.orig, Silence) and failed.value.orig.pgcode == "22012"


def test_a_connection_that_has_had_its_answer_may_rest(one: Engine) -> None:
    with one.connect() as connection:
        with patient(SHORT):
            before = connection.execute(text("select pg_backend_pid()")).scalar_one()
        time.sleep(LONGER)
        assert connection.execute(text("select pg_backend_pid()")).scalar_one() == before


@pytest.mark.parametrize("ended", ["commit", "rollback"])
def test_a_transaction_that_lifts_the_servers_limit_may_take_its_time_and_the_next_one_may_not(one: Engine, ended: str) -> None:
    with one.connect() as connection:
        with patient(SHORT):
            connection.execute(text("set local statement_timeout = 0"))
            before = connection.execute(text("select pg_backend_pid(), pg_sleep(:seconds)"), {"seconds": LONGER}).one()[0]
            getattr(connection, ended)()
        assert connection.execute(text("select pg_backend_pid()")).scalar_one() == before
        silent(connection)


def test_a_commit_without_an_answer_ends_as_well(one: Engine) -> None:
    with one.begin() as connection:
        connection.execute(text(SLOW_COMMIT.format(seconds=60)))
    with one.connect() as connection, patient(SHORT):
        connection.execute(text("insert into kept values (1)"))
        with pytest.raises(DBAPIError) as failed:
            connection.commit()
    assert isinstance(failed.value.orig, Silence)


def test_the_commit_of_a_transaction_that_lifts_the_servers_limit_may_take_its_time_as_well(one: Engine) -> None:
    with one.begin() as connection:
        connection.execute(text(SLOW_COMMIT.format(seconds=LONGER)))
    with patient(SHORT):
        with one.begin() as connection:
            connection.execute(text("set local statement_timeout = 0"))
            connection.execute(text("insert into kept values (1)"))
        with one.connect() as connection:
            assert connection.execute(text("select count(*) from kept")).scalar_one() == 1


def test_patience_is_that_of_the_innermost_block_that_asks_for_one() -> None:
    assert _patience.get() == PATIENCE
    with patient(2.0):
        with patient(None):
            assert _patience.get() == 2.0
        with patient(1.0):
            assert _patience.get() == 1.0
        assert _patience.get() == 2.0
    assert _patience.get() == PATIENCE


def test_a_machine_that_gives_no_thread_once_is_asked_again_by_the_next_statement() -> None:
    watchdog = _Watchdog()
    here, there = socket.socketpair()
    here.settimeout(30)

    def waits() -> None:
        assert here.recv(1) == b""
        raise psycopg2.OperationalError("connection lost")

    with here, there:
        # No address space holds such a stack.
        threading.stack_size(1 << 47)
        try:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                watchdog.call(here.fileno(), SHORT, waits)
        finally:
            threading.stack_size(0)
        with pytest.raises(Silence):
            watchdog.call(here.fileno(), SHORT, waits)
