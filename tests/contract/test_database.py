"""The connection pool against a real Postgres: limits, retries, silence, and another host after a failover."""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import urlparse

import pytest
from sqlalchemy import Engine, create_engine, text

from db import session, versions
from db.prepared import Prepared
from db.session import connect, doubt, reading, transact, writing
from engine.breaker import Breaker, Circuit
from engine.errors import ServiceUnavailable
from tests.contract.test_index import wait_until
from tests.faults.conftest import socket_of, through
from tests.servers.proxy import FaultyProxy


def breaker() -> Breaker:
    return Breaker("database", stopwatch=time.monotonic, clock=lambda: datetime.now(UTC), chance=random.Random(1), failures=2, pause=60)


@pytest.fixture(autouse=True)
def every_connection_has_rested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "RESTED", 0.0)


@pytest.fixture
def url(databases, migrated: str) -> Iterator[str]:  # noqa: ANN001
    made = databases.make(migrated)
    yield made
    databases.drop(made)


@pytest.fixture
def gate() -> Breaker:
    return breaker()


@pytest.fixture
def pool(url: str, gate: Breaker) -> Iterator[Engine]:
    made = connect(url, gate=gate)
    yield made
    made.dispose()


def test_every_connection_has_its_limits_and_lives_in_utc(pool: Engine) -> None:
    wanted = {"statement_timeout": "15s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "20s", "TimeZone": "UTC"}
    with reading(pool) as connection:
        assert {name: connection.execute(text(f"show {name}")).scalar_one() for name in wanted} == wanted


@pytest.mark.parametrize(("setting", "value"), [("default_transaction_isolation", "serializable"), ("client_encoding", "latin1")])
def test_what_is_set_for_the_whole_database_makes_no_other_transactions_and_takes_no_letters(
    databases, url: str, setting: str, value: str,  # noqa: ANN001
) -> None:
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"alter database {databases.name(url)} set {setting} = '{value}'"))
    admin.dispose()
    made = connect(url)
    with writing(made) as connection:
        asked = text("select current_setting('transaction_isolation'), cast(:said as text)")
        assert connection.execute(asked, {"said": "请退款 €"}).one() == ("read committed", "请退款 €")
    made.dispose()


def test_what_the_url_asks_of_the_server_holds_beside_the_limits(url: str) -> None:
    made = connect(f"{url}&options=-c%20search_path%3Delsewhere%20-c%20statement_timeout%3D1")
    with reading(made) as connection:
        assert connection.execute(text("select current_setting('search_path'), current_setting('statement_timeout')")).one() == ("elsewhere", "15s")
    made.dispose()


def test_a_time_zone_of_the_environment_makes_no_other_days_and_months(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    made = connect(url)
    month = text("select date_trunc('month', timestamptz '2026-10-31 20:00:00+00')")
    with reading(made) as connection:
        assert connection.execute(month).scalar_one().isoformat() == "2026-10-01T00:00:00+00:00"
    made.dispose()


def test_a_database_is_told_from_every_other_also_by_a_role_that_may_ask_little(pool: Engine, databases, migrated: str) -> None:  # noqa: ANN001
    other_url = databases.make(migrated)
    other, same = connect(other_url), connect(str(pool.url))
    assert versions.identity(pool) == versions.identity(same) != versions.identity(other)
    with writing(other) as connection:
        connection.execute(text("revoke execute on function pg_control_system() from public"))
        connection.execute(text("create role little"))
        connection.execute(text("grant connect on database {} to little".format(databases.name(other_url))))
    narrow = create_engine(other.url, connect_args={"options": "-c role=little"})
    with reading(other) as connection:
        number = connection.execute(text("select oid from pg_database where datname = current_database()")).scalar_one()
    assert versions.identity(narrow) == str(number)
    for engine in (narrow, other, same):
        engine.dispose()
    databases.drop(other_url)
    with writing(pool) as connection:
        connection.execute(text("drop role little"))


def test_transactions_that_cannot_be_serialised_are_done_again_until_all_are_in(pool: Engine) -> None:
    with writing(pool) as connection:
        connection.execute(text("insert into counters values ('n', 0)"))

    def add(connection) -> None:  # noqa: ANN001
        value = connection.execute(text("select value from counters where name = 'n'")).scalar_one()
        connection.execute(text("update counters set value = :value where name = 'n'"), {"value": value + 1})

    done = []

    def many() -> None:
        for _ in range(5):
            while True:
                try:
                    transact(pool, add, isolation="SERIALIZABLE")
                except ServiceUnavailable as error:
                    assert error.retryable
                    continue
                done.append(1)
                break

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(pool) as connection:
        assert connection.execute(text("select value from counters where name = 'n'")).scalar_one() == len(done) == 20


def test_a_transaction_that_waited_in_vain_for_a_lock_is_not_done_again(pool: Engine, gate: Breaker) -> None:
    tries = []

    def waits(connection) -> None:  # noqa: ANN001
        tries.append(1)
        connection.execute(text("set local lock_timeout = 20"))
        connection.execute(text("lock table counters"))

    with writing(pool) as holder:
        holder.execute(text("lock table counters"))
        with pytest.raises(ServiceUnavailable, match="lock timeout") as error:
            transact(pool, waits)
    assert tries == [1] and not error.value.retryable
    assert gate.state().circuit is Circuit.CLOSED


def test_a_slow_statement_is_an_error_of_that_statement_and_leaves_the_breaker_closed(pool: Engine, gate: Breaker) -> None:
    for _ in range(5):
        with pytest.raises(ServiceUnavailable), writing(pool) as connection:
            connection.execute(text("set local statement_timeout = 20"))
            connection.execute(text("select pg_sleep(10)"))
    assert gate.state().circuit is Circuit.CLOSED


def test_an_error_of_the_caller_leaves_the_breaker_closed_and_nothing_behind(pool: Engine, gate: Breaker) -> None:
    with pytest.raises(ZeroDivisionError), writing(pool) as connection:
        connection.execute(text("insert into counters values ('gone', 1)"))
        raise ZeroDivisionError
    with reading(pool) as connection:
        assert connection.execute(text("select count(*) from counters where name = 'gone'")).scalar_one() == 0
    assert gate.state().circuit is Circuit.CLOSED


@contextmanager
def limited(pool: Engine, connections: int) -> Iterator[str]:
    """The URL of a role that may have so many connections at once."""
    with writing(pool) as connection:
        connection.execute(text(f"create role narrow login connection limit {connections}"))
    try:
        yield pool.url.set(username="narrow").render_as_string(hide_password=False)
    finally:
        with writing(pool) as connection:
            connection.execute(text("drop role narrow"))


@contextmanager
def connected(url: str, gate: Breaker | None = None) -> Iterator[Engine]:
    engine = connect(url, gate=gate)
    try:
        yield engine
    finally:
        engine.dispose()


def test_where_the_server_gives_no_more_connections_those_there_are_go_round(pool: Engine, gate: Breaker) -> None:
    failed = []

    def many() -> None:
        for _ in range(10):
            try:
                with reading(narrow) as connection:
                    connection.execute(text("select pg_sleep(0.01)"))
            except ServiceUnavailable as error:
                failed.append(error)

    with limited(pool, 2) as url, connected(url, gate) as narrow:
        threads = [threading.Thread(target=many) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (failed, gate.state().failures, gate.state().circuit) == ([], 0, Circuit.CLOSED)


def test_who_waits_in_vain_for_one_of_the_connections_there_are_is_told_as_where_the_pool_is_at_its_limit(pool: Engine, gate: Breaker) -> None:
    with limited(pool, 1) as url, connected(url, gate) as narrow:
        with reading(narrow), pytest.raises(ServiceUnavailable, match="too many connections"), reading(narrow):
            pass


def test_a_server_that_gives_no_connection_at_all_is_away(pool: Engine, gate: Breaker) -> None:
    with limited(pool, 0) as url, connected(url, gate) as narrow:
        with pytest.raises(ServiceUnavailable, match="too many connections"), reading(narrow):
            pass
        assert gate.state().circuit is Circuit.OPEN
        # It is the gate of the other pool as well, which removes the role.
        gate.succeeded()


def test_a_lost_connection_that_a_full_server_does_not_replace_keeps_nobody_from_those_that_live(pool: Engine, gate: Breaker) -> None:
    with limited(pool, 3) as url, connected(url, gate) as narrow, connected(url) as other:
        alive, lost = [narrow.raw_connection() for _ in range(2)], narrow.raw_connection()
        for connection in alive:
            connection.close()
        lost.invalidate()
        lost.close()
        # The server needs a moment to see that it is gone, and only then has a place for somebody else.
        wait_until(lambda: places_taken(pool) == 2)
        with reading(other):
            for _ in range(3):
                with reading(narrow) as connection:
                    assert connection.execute(text("select 1")).scalar_one() == 1
        assert gate.state().failures == 0


def places_taken(pool: Engine) -> int:
    """How many connections of the narrow role the server has."""
    with reading(pool) as connection:
        return connection.execute(text("select count(*) from pg_stat_activity where usename = 'narrow'")).scalar_one()


def full(pool: Engine) -> None:
    """The server refuses to store something for want of room; what comes next finds room."""
    with pytest.raises(ServiceUnavailable, match="no room"), writing(pool) as connection:
        connection.execute(text("do $$ begin raise exception 'no room' using errcode = 'disk_full'; end $$"))


def test_a_database_that_answers_and_stores_nothing_is_no_healthy_one(pool: Engine, databases) -> None:  # noqa: ANN001
    name, beside = databases.name(str(pool.url)), connect(str(pool.url))
    with writing(beside) as connection:
        connection.execute(text(f"alter database {name} set default_transaction_read_only = on"))
    assert versions.of_database(pool), "nobody knows yet, and whoever only reads need not"
    with pytest.raises(ServiceUnavailable, match="read-only"), writing(pool) as connection:
        connection.execute(text("insert into counters values ('n', 0)"))
    for _ in range(3):
        with pytest.raises(ServiceUnavailable, match="read-only"):
            versions.of_database(pool)
    with writing(beside) as connection:
        connection.execute(text(f"alter database {name} reset default_transaction_read_only"))
    assert versions.of_database(pool)
    assert not doubt(pool).is_set()
    beside.dispose()


def test_being_asked_for_its_health_again_and_again_keeps_no_statement_more(pool: Engine) -> None:
    for _ in range(2):
        versions.of_database(pool)
    before = len(pool._compiled_cache)
    for _ in range(5):
        versions.of_database(pool)
    assert len(pool._compiled_cache) == before


def test_a_database_that_has_room_again_is_healthy_and_nothing_of_the_trial_stays(pool: Engine) -> None:
    full(pool)
    assert doubt(pool).is_set()
    assert versions.of_database(pool)
    assert not doubt(pool).is_set()
    with reading(pool) as connection:
        assert connection.execute(text("select count(*) from pg_class where relname = 'trial'")).scalar_one() == 0


def test_a_role_that_may_make_no_table_for_a_trial_is_believed(pool: Engine, databases) -> None:  # noqa: ANN001
    name = databases.name(str(pool.url))
    with writing(pool) as connection:
        connection.execute(text(f"revoke temporary on database {name} from public"))
        connection.execute(text("create role untried"))
        connection.execute(text("grant select on all tables in schema public to untried"))
    narrow = connect(f"{pool.url}&options=-c%20role%3Duntried")
    try:
        full(narrow)
        assert versions.of_database(narrow)
        assert not doubt(narrow).is_set()
    finally:
        narrow.dispose()
        with writing(pool) as connection:
            connection.execute(text("drop owned by untried"))
            connection.execute(text("drop role untried"))


def test_a_server_that_says_nothing_is_given_up_and_found_again(url: str) -> None:
    gate = breaker()
    with FaultyProxy(socket_of(url)) as proxy:
        pool = connect(through(url, proxy), gate=gate)
        with reading(pool) as connection:
            connection.execute(text("select 1"))
        proxy.set("hole")
        with pytest.raises(ServiceUnavailable), reading(pool, patience=0.3) as connection:
            connection.execute(text("select 1"))
        assert gate.state().circuit is Circuit.OPEN
        with pytest.raises(ServiceUnavailable, match="left alone"), reading(pool) as connection:
            connection.execute(text("select 1"))
        proxy.set("ok")
        gate.probe_now()
        with reading(pool) as connection:
            assert connection.execute(text("select 1")).scalar_one() == 1
        assert gate.state().circuit is Circuit.CLOSED
        pool.dispose()


@pytest.mark.parametrize("fault", ["refused", "hole"])
def test_one_connection_that_cannot_be_made_is_enough_on_a_tickets_path_too(url: str, fault: str) -> None:
    """Statements of that path take the driver's connection from the pool; the next one must not wait for the server again."""
    gate = breaker()
    statement = Prepared("one_of_a_test", "select $1", types=("text",))
    with FaultyProxy(socket_of(url)) as proxy:
        pool = connect(through(url, proxy), gate=gate)
        proxy.set(fault)
        with pytest.raises(ServiceUnavailable):
            statement.run(pool, ["x"], patience=0.3)
        assert (gate.state().circuit, gate.state().failures) == (Circuit.OPEN, 1)
        with pytest.raises(ServiceUnavailable, match="left alone"):
            statement.run(pool, ["x"], patience=0.3)
        proxy.set("ok")
        gate.probe_now()
        assert statement.run(pool, ["x"], patience=5.0) == [("x",)]
        pool.dispose()


def test_a_connection_that_dies_on_its_way_back_into_the_pool_is_an_unavailable_database(url: str) -> None:
    with FaultyProxy(socket_of(url)) as proxy:
        pool = connect(through(url, proxy), gate=breaker())
        with pool.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            connection.execute(text("select 1"))
        with pytest.raises(ServiceUnavailable), reading(pool) as connection:
            connection.execute(text("select 1"))
            proxy.set("refused")
        pool.dispose()


def test_connections_that_died_are_replaced_without_an_error(pool: Engine, databases) -> None:  # noqa: ANN001
    with reading(pool) as connection:
        own = connection.execute(text("select pg_backend_pid()")).scalar_one()
    with databases._admin.connect() as admin:
        admin.execute(text("select pg_terminate_backend(:pid)"), {"pid": own})
    with reading(pool) as connection:
        assert connection.execute(text("select pg_backend_pid()")).scalar_one() != own


def test_a_server_that_became_a_replica_is_unavailable_and_every_connection_is_made_anew(pool: Engine) -> None:
    with reading(pool) as connection:
        before = connection.execute(text("select pg_backend_pid()")).scalar_one()
    with pytest.raises(ServiceUnavailable), writing(pool) as connection:
        connection.execute(text("set transaction read only"))
        connection.execute(text("insert into counters values ('n', 0)"))
    with reading(pool) as connection:
        assert connection.execute(text("select pg_backend_pid()")).scalar_one() != before


def test_the_other_host_is_used_when_the_first_one_is_gone(url: str) -> None:
    with FaultyProxy(socket_of(url)) as first, FaultyProxy(socket_of(url)) as second:
        name = urlparse(url).path
        both = f"postgresql+psycopg2://postgres@{name}?host=127.0.0.1:{first.port}&host=127.0.0.1:{second.port}"
        pool = connect(f"{both}&sslmode=disable&gssencmode=disable&target_session_attrs=read-write", gate=breaker())
        with reading(pool) as connection:
            connection.execute(text("select 1"))
        first.set("refused")
        with writing(pool) as connection:
            connection.execute(text("insert into counters values ('second', 1)"))
        with reading(pool) as connection:
            assert connection.execute(text("select value from counters where name = 'second'")).scalar_one() == 1
        pool.dispose()
