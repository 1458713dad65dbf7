"""The schema: what the migrations make is what the code believes, also on a filled database."""
from __future__ import annotations

import traceback
from datetime import timedelta
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from db import migrate
from db.charts import Charts
from db.models import metadata
from db.rollup_columns import BAND_WEIGHTS
from db.rollups import Rollups
from db.session import connect
from engine.errors import ConfigurationError
from engine.timeline import ChartWindow
from tests.integration.test_rollups import NOW, some


def test_migrated_schema_is_the_schema_of_the_models(database) -> None:
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [d for d in compare_metadata(context, metadata) if "ix_exemplar_vectors" not in str(d)]
    assert differences == []


def test_a_second_upgrade_changes_nothing(database) -> None:
    assert migrate.upgrade(database) == (migrate.newest(), migrate.newest())


def test_every_migration_runs_on_a_filled_database(databases) -> None:
    url = databases.make()
    engine = connect(url)
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(text("insert into departments (name) values ('Sales')"))
        connection.execute(text(
            "insert into tickets (id, body, channel, priority, fingerprint, origin) "
            "select 't' || n, 'body ' || n, 'web', 'normal', 'f', 'console' from generate_series(1, 500) n"
        ))
        connection.execute(text(
            "insert into routing_history (ticket_id, department, confidence, method, raw_score, automation, source, reason, "
            "alternatives, evidence, timings, total_ms, versions, policy, degraded_by, channel, actual_outcome, outcome, reviewed_at) "
            "select 't' || n, 'Sales', 0.9, 'learned', 0.9, 'auto', 'model:1', 'r', '[]', '[]', '{}', 1, '{}', 1, '{}', 'web', "
            "'Sales', 'confirmed', now() from generate_series(1, 500) n"
        ))
        connection.execute(text(
            "insert into routing_accuracy (department, total_predictions, correct_predictions, accuracy_rate) values ('Sales', 500, 500, 1)"
        ))
        connection.execute(text(
            "insert into overrules (ticket_id, department, by) select 't' || n, d, 'ann' from generate_series(1, 9) n, unnest(array['Old', 'New']) d"
        ))
    heard: list[tuple[str, str]] = []
    for _ in range(2):
        migrate.upgrade(engine, begun=lambda *schemas: heard.append(schemas))
    assert heard == [("0001", migrate.newest())], "before it takes its time, and only then"
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from routing_history where actual_outcome = department")).scalar_one() == 500
        assert migrate.current(engine) == migrate.newest()
        chosen = connection.execute(text("select count(*), count(chosen), min(chosen), max(chosen) from routing_history")).one()
        assert tuple(chosen) == (500, 9, "New", "New"), "what was chosen last"
    engine.dispose()
    databases.drop(url)


def test_rolled_up_labels_get_their_weight_by_band_when_the_columns_come(databases) -> None:
    """Half the facts are rolled up, half wait; the new columns then say what a rebuild from the raw rows says."""
    url = databases.make()
    engine = connect(url)
    rollups = Rollups(engine, clock=lambda: NOW)
    charts = Charts(engine, clock=lambda: NOW)
    migrate.upgrade(engine)
    some(engine, 300)
    rollups.roll()
    with engine.begin() as connection:
        for name in BAND_WEIGHTS:
            connection.execute(text(f"alter table rollups drop column {name}"))
        connection.execute(text("alter table instances drop column services, drop column set_aside, drop column worker, drop column needs_worker"))
        connection.execute(text("alter table routing_history drop column chosen"))
        connection.execute(text("drop index ix_routing_history_labelled, ix_routing_history_review, ix_routing_history_mistakes, ix_tickets_removed"))
        connection.execute(text("insert into instances (name, seen_at, memory_share, spooled) values ('a:1', now(), 0.5, 3)"))
        connection.execute(text("update alembic_version set version_num = '0004'"))
    some(engine, 200, seed=2, first=300)
    with engine.begin() as connection:
        connection.execute(text("update routing_history set actual_outcome = 'D3' where id % 7 = 0"))
    migrate.upgrade(engine)
    rollups.roll()
    windows = [ChartWindow(NOW - timedelta(days=days), NOW + timedelta(minutes=1)) for days in (1, 7, 60)]
    after = [charts.totals(window).band_weights.tolist() for window in windows]
    rollups.rebuild()
    assert after == [charts.totals(window).band_weights.tolist() for window in windows]
    assert all(sum(row[0] for row in bands) > 0 for bands in after)
    with engine.connect() as connection:
        instance = connection.execute(text("select spooled, set_aside, services, worker, needs_worker from instances")).one()
    assert tuple(instance) == (3, 0, {}, False, False), "a console of the earlier release goes on reporting"
    engine.dispose()
    databases.drop(url)


def test_tables_that_other_tools_read_keep_their_columns(database) -> None:
    wanted = {
        "routing_history": {
            "id", "ticket_id", "department", "confidence", "method", "created_at", "actual_outcome", "resolution_time_hours",
            "customer_satisfaction",
        },
        "routing_accuracy": {"id", "department", "total_predictions", "correct_predictions", "accuracy_rate", "last_updated"},
    }
    with database.connect() as connection:
        for table, columns in wanted.items():
            found = connection.execute(
                text("select column_name from information_schema.columns where table_name = :table"), {"table": table}
            ).scalars()
            assert columns <= set(found)
        precision = connection.execute(text(
            "select numeric_precision, numeric_scale from information_schema.columns "
            "where table_name = 'routing_history' and column_name = 'confidence'"
        )).one()
    assert tuple(precision) == (5, 4)


def test_a_database_of_a_newer_version_is_refused_in_one_line_and_left_as_it_is(database) -> None:
    with database.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=f"schema 9999, and this version of the console knows up to {migrate.newest()}"):
        migrate.upgrade(database)
    assert migrate.current(database) == "9999"


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_new_database_that_is_not_in_utf8_is_refused_in_one_line(databases, encoding: str) -> None:
    url = databases.make(f"template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'")
    engine = connect(url)
    with pytest.raises(ConfigurationError, match=f"encoding is {encoding}.*encoding 'UTF8' template template0"):
        migrate.upgrade(engine)
    assert migrate.current(engine) is None
    engine.dispose()
    databases.drop(url)


def test_what_the_role_may_not_do_is_told_with_what_an_administrator_has_to_run(databases) -> None:
    url = databases.make()
    admin, weak = create_engine(url, isolation_level="AUTOCOMMIT"), connect(url.replace("postgres:@", "weak:@"))
    with admin.connect() as connection:
        connection.execute(text("create role weak login"))
    with pytest.raises(ConfigurationError, match="create extension if not exists vector.*grant create on schema public"):
        migrate.upgrade(weak)
    with admin.connect() as connection:
        connection.execute(text("create schema apart"))
        connection.execute(text("create extension vector schema apart"))
        connection.execute(text("grant create on schema public to weak"))
    with pytest.raises(ConfigurationError, match="set search_path = public, SCHEMA"):
        migrate.upgrade(weak)
    with admin.connect() as connection:
        connection.execute(text("drop schema apart cascade"))
        connection.execute(text("create extension vector"))
    assert migrate.upgrade(weak) == (None, migrate.newest())
    with admin.connect() as connection:
        connection.execute(text("drop owned by weak"))
        connection.execute(text("drop role weak"))
    weak.dispose()
    admin.dispose()
    databases.drop(url)


def test_a_server_without_the_extension_is_told_as_such(database, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        with database.begin() as connection:
            connection.execute(text("create extension is_not_there"))

    monkeypatch.setattr(migrate, "command", SimpleNamespace(upgrade=refused))
    with pytest.raises(ConfigurationError, match="lacks the extension `vector`"):
        migrate.upgrade(database)


@pytest.mark.parametrize(
    "url", ["postgresql://u:hush@h:abc/x", "postgresql://u:hush@h:99999/x", "mysql://u:hush@h/x", "postgresql+asyncpg://u:hush@h/x", "hush"]
)
def test_a_url_of_no_usable_postgres_names_its_setting_and_never_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="^SOME_URL: is not a database URL like ") as refused:
        connect(url, setting="SOME_URL")
    assert "hush" not in "".join(traceback.format_exception(refused.value)).replace(url, "")
