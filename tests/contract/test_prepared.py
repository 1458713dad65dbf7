"""Statements prepared by name on real connections."""
from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from db.prepared import Prepared
from db.session import reading
from engine.errors import ServiceUnavailable, StatementRefused


def _names(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(text("select name from pg_prepared_statements order by name")).scalars())


def test_a_statement_is_prepared_once_and_answers_with_its_rows(database: Engine) -> None:
    """The second run finds it on the connection; parameters are used by number and as their type."""
    double = Prepared("double_it", "select $1 * 2, $2", types=("int", "text"))
    assert double.run(database, ["21", "50 %"], patience=5) == [(42, "50 %")]
    assert _names(database) == ["double_it"]
    assert double.run(database, ["4", "it's"], patience=5) == [(8, "it's")]
    assert _names(database) == ["double_it"]


def test_a_connection_that_lost_its_statements_is_answered_unprepared(database: Engine) -> None:
    """As behind a pooler that hands out another server connection; the same parameter may stand there twice."""
    twice = Prepared("twice", "select $2 || $1 || $2, '%'", types=("text", "text"))
    assert twice.run(database, ["a", "b"], patience=5) == [("bab", "%")]
    with reading(database) as connection:
        connection.execute(text("deallocate all"))
    assert twice.run(database, ["c", "d"], patience=5) == [("dcd", "%")]
    assert twice.run(database, ["e", "f"], patience=5) == [("fef", "%")]
    assert _names(database) == []


def test_an_error_of_the_statement_names_its_code_and_leaves_the_connection_usable(database: Engine) -> None:
    divided = Prepared("divided", "select 1 / $1", types=("int",))
    with pytest.raises(StatementRefused, match="22012"):
        divided.run(database, ["0"], patience=5)
    assert divided.run(database, ["1"], patience=5) == [(1,)]
    assert database.pool.checkedout() == 0


def test_a_connection_that_was_ended_by_the_server_counts_as_unavailable_and_the_next_one_prepares_anew(database: Engine) -> None:
    sleepless = Prepared("own_number", "select pg_backend_pid(), $1", types=("text",))
    with reading(database) as other:
        [(pid, _)] = sleepless.run(database, ["x"], patience=5)
        other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(ServiceUnavailable):
            sleepless.run(database, ["x"], patience=5)
    [(again, _)] = sleepless.run(database, ["x"], patience=5)
    assert again != pid
    assert database.pool.checkedout() == 0
