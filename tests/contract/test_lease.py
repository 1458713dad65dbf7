"""One ticket's connection: taken once, used by the statements of whoever is in the block, given back whatever happens."""
from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, event, text

from db.lease import ConnectionLease
from db.prepared import Prepared
from db.session import connect, reading
from engine.errors import ServiceUnavailable

WHO = Prepared("whose_connection", "select pg_backend_pid(), $1", types=("text",))


def _pid(database: Engine) -> int:
    return WHO.run(database, ["x"], patience=5)[0][0]


def test_statements_of_two_threads_share_the_leased_connection(database: Engine) -> None:
    lease, seen = ConnectionLease(database), []
    lease.take()
    assert database.pool.checkedout() == 1

    def elsewhere() -> None:
        with lease:
            seen.append(_pid(database))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    with reading(database) as other, lease:
        seen.append(_pid(database))
        assert other.execute(text("select pg_backend_pid()")).scalar_one() != seen[0]
    assert len(set(seen)) == 1
    lease.release()
    assert database.pool.checkedout() == 0


def test_outside_its_block_and_for_another_pool_nobody_uses_it(database: Engine) -> None:
    """A second pool to the same server is another owner."""
    other = connect(database.url.render_as_string(hide_password=False), pool_size=1)
    lease = ConnectionLease(database)
    with lease:
        mine, theirs = _pid(database), _pid(other)
        # The leased connection is not in the pool, so whoever is outside the block gets another one.
        outside: list[int] = []
        thread = threading.Thread(target=lambda: outside.append(_pid(database)))
        thread.start()
        thread.join()
    assert len({mine, theirs, outside[0]}) == 3
    lease.release()
    other.dispose()


def test_released_it_takes_another_one_when_it_is_needed_again(database: Engine) -> None:
    lease = ConnectionLease(database)
    lease.take()
    lease.release()
    lease.release()
    assert database.pool.checkedout() == 0
    with lease:
        assert _pid(database) > 0
        assert database.pool.checkedout() == 1
    lease.release()
    assert database.pool.checkedout() == 0


def test_a_connection_the_server_ended_is_replaced_and_never_returned_to_the_pool(database: Engine) -> None:
    lease = ConnectionLease(database)
    with lease:
        first = _pid(database)
    with reading(database) as other:
        other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": first})
    with lease, pytest.raises(ServiceUnavailable):
        _pid(database)
    with lease:
        assert _pid(database) != first
    lease.release()
    assert database.pool.checkedout() == 0


def test_the_connection_comes_back_without_autocommit(database: Engine) -> None:
    """Others use transactions on it."""
    lease = ConnectionLease(database)
    with lease:
        _pid(database)
    lease.release()
    connection = database.raw_connection()
    assert connection.driver_connection.autocommit is False
    connection.close()


def test_without_a_database_the_statement_says_so_itself() -> None:
    nowhere = connect("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    lease = ConnectionLease(nowhere)
    lease.take()
    with lease, pytest.raises(ServiceUnavailable):
        _pid(nowhere)
    lease.release()
    nowhere.dispose()


@pytest.mark.parametrize("deed", ["take", "release"])
def test_whoever_enters_or_gives_it_back_waits_for_the_thread_that_uses_it(database: Engine, deed: str) -> None:
    lease = ConnectionLease(database)
    other = threading.Thread(target=getattr(lease, deed))
    with lease:
        other.start()
        other.join(0.2)
        assert other.is_alive() and database.pool.checkedout() == 1
        assert _pid(database) > 0
    other.join()
    lease.release()
    assert database.pool.checkedout() == 0


def test_a_block_that_cannot_begin_holds_neither_the_connection_nor_those_who_come_next(database: Engine) -> None:
    """By an error that is none of the database's."""
    lease = ConnectionLease(database)

    def odd(*_: object) -> None:
        raise RuntimeError("an error that nobody foresaw")

    event.listen(database, "checkout", odd)
    with pytest.raises(RuntimeError):
        lease.take()
    event.remove(database, "checkout", odd)
    assert not lease._lock.locked() and database.pool.checkedout() == 0
    with lease:
        assert _pid(database) > 0
    lease.release()


def test_a_connection_found_closed_is_left_to_nobody_and_nothing_is_complained_about(database: Engine, caplog: pytest.LogCaptureFixture) -> None:
    lease = ConnectionLease(database)
    with lease:
        _pid(database)
    lease._connection.driver_connection.close()
    lease.release()
    assert database.pool.checkedout() == 0
    assert _pid(database) > 0
    assert caplog.records == []


def test_a_connection_that_was_closed_under_the_pool_is_never_handed_out_again(database: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Its server has rolled back already: giving it back is no error, and the next one to ask gets another connection."""
    taken = database.raw_connection()
    taken.driver_connection.close()
    taken.close()
    with reading(database) as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1
    assert caplog.records == []
