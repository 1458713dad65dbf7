"""Charts may be read from a replica: what happens to it costs nobody a figure, and everybody can see it."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from db.session import connect
from engine import bootstrap, process
from engine.bootstrap import Engine
from engine.breaker import Circuit
from engine.domain import Decision, TicketDraft
from engine.errors import ConfigurationError
from engine.settings import Settings
from engine.timeline import ChartWindow, Level
from pages.parts import guard
from tests.faults.conftest import socket_of, through
from tests.integration.test_watching import gauge, task
from tests.pages.opening import PAGES, said
from tests.servers.proxy import FaultyProxy

INSTEAD = "These charts come from the primary database, because the read replica does not answer."


def window() -> ChartWindow:
    now = datetime.now(UTC)
    return ChartWindow(now - timedelta(hours=1), now + timedelta(minutes=1))


def circuit(engine: Engine) -> Circuit:
    return engine.services.states()["replica"].circuit


@pytest.fixture
def replica(databases, learned: str) -> Iterator[tuple[str, FaultyProxy]]:  # noqa: ANN001
    """A second database with the same schema and no tickets, and what stands in front of it."""
    url = databases.make(learned)
    with FaultyProxy(socket_of(url)) as proxy:
        yield url, proxy
        proxy.set("ok")
    databases.drop(url)


@pytest.fixture
def engine(build: Callable[..., Engine], replica: tuple[str, FaultyProxy]) -> Engine:
    """Charts from the replica; one ticket, which only the primary knows. Nothing but the test asks the services."""
    made = build({"analytics_database_url": SecretStr(through(*replica))})
    made.watch.upkeep.close()
    assert isinstance(made.router.route(TicketDraft(body="you took the money twice")), Decision)
    return made


def opened(page: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(process, "running", lambda: engine)
    monkeypatch.setattr(guard, "who", lambda: guard.Operator("ada", "admin", "key", 1))
    shown = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=60).run()
    assert not shown.exception
    return shown


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_charts_come_from_the_replica_and_everything_else_from_the_primary(
    console_settings: Settings, databases, learned: str, scheme: str  # noqa: ANN001
) -> None:
    replica = databases.make(learned)
    url = SecretStr(replica.replace("postgresql+psycopg2", scheme))
    engine = bootstrap.build(console_settings.model_copy(update={"analytics_database_url": url}), log_stream=None)
    assert isinstance(engine.router.route(TicketDraft(body="you took the money twice")), Decision)
    assert len(engine.decisions.latest(limit=10)) == 1
    assert engine.watch.charts.summary(window()).now.n == 0, "the replica has not heard of the ticket yet"
    assert engine.watch.charts.overview(window(), window(), bar=Level.MINUTE).degraded_by == ()
    engine.close()
    databases.drop(replica)


@pytest.mark.parametrize("fault", ["refused", "hole", "garbage", "cut"])
def test_a_replica_that_is_away_leaves_the_charts_to_the_primary_until_it_is_back(
    engine: Engine, replica: tuple[str, FaultyProxy], fault: str
) -> None:
    charts, (_, proxy) = engine.watch.charts, replica
    assert charts.summary(window()).now.n == 0
    proxy.set(fault)
    for _ in range(3):
        summary = charts.summary(window())
        assert (summary.now.n, summary.degraded_by) == (1, ("replica",))
        found = charts.overview(window(), window(), bar=Level.MINUTE)
        assert (found.now.n, found.degraded_by) == (1, ("replica",))
        assert charts.choices(window())[0]
    assert circuit(engine) is not Circuit.CLOSED
    assert gauge(engine, 'routing_service_breaker_state{service="replica"}') >= 1
    assert gauge(engine, 'routing_service_errors_total{service="replica"}') >= 1

    decision = engine.router.route(TicketDraft(body="where is my parcel"))
    assert isinstance(decision, Decision) and decision.degraded_by == (), "no ticket needs it"
    assert engine.health.ready() and engine.health.left_alone() == []
    assert engine.services.states()["database"].circuit is Circuit.CLOSED

    proxy.set("ok")
    engine.services.probe_now("replica")
    assert engine.health.test("replica").ok
    assert circuit(engine) is Circuit.CLOSED
    found = charts.overview(window(), window(), bar=Level.MINUTE)
    assert (found.now.n, found.degraded_by) == (0, ())


def test_the_gauges_of_the_primary_go_on_and_the_report_finds_out_before_anybody_looks(engine: Engine, replica: tuple[str, FaultyProxy]) -> None:
    replica[1].set("refused")
    task(engine, "report")()
    assert circuit(engine) is Circuit.OPEN
    primary = connect(engine.settings.postgres_url)
    with primary.begin() as connection:
        connection.execute(text(
            "insert into alerts (rule, subject, severity, message, value, opened_at) values ('made', '', 'critical', 'made', 1, now())"
        ))
    primary.dispose()
    task(engine, "gauges")()
    assert gauge(engine, 'routing_alerts_open{severity="critical"}') == 1
    assert not math.isnan(gauge(engine, "routing_hit_ratio")), "it is that of the one ticket, which the primary knows"


def test_the_dashboard_says_where_its_charts_come_from_and_the_system_page_has_a_row(
    engine: Engine, replica: tuple[str, FaultyProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened("dashboard", engine, monkeypatch)
    assert not page.warning
    assert "No ticket in this view" in said(page, "info"), "so says the replica"
    replica[1].set("refused")
    page = opened("dashboard", engine, monkeypatch)
    assert said(page, "warning") == f"{INSTEAD} No figure is missing."
    assert not page.error
    assert next(metric for metric in page.metric if metric.label == "Tickets").value == "1"

    page = opened("system", engine, monkeypatch)
    row = page.dataframe[0].value.set_index("Service").loc["Read replica"]
    assert (row["Backend"], row["State"], row["By tickets"]) == ("configured", "away", "left alone for a while")
    assert "refused" in row["Last error"]
    assert "Read replica does not answer. Charts come from the primary database" in said(page, "warning")
    page.button(key="test_replica").click().run()
    assert "Read replica: does not answer" in said(page, "error")

    replica[1].set("ok")
    page.button(key="test_replica").click().run()
    assert "Read replica: answers" in said(page, "success")
    page = opened("dashboard", engine, monkeypatch)
    assert not page.warning


def test_a_replica_that_lags_says_by_how_much_and_costs_no_chart(
    engine: Engine, replica: tuple[str, FaultyProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = connect(replica[0])

    def reported(ago: timedelta) -> None:
        with pool.begin() as connection:
            connection.execute(
                text("insert into instances (name, seen_at, memory_share, spooled) values (:name, :at, 0.1, 0)"),
                {"name": str(ago), "at": datetime.now(UTC) - ago},
            )

    def behind() -> timedelta:
        summary, overview = engine.watch.charts.summary(window()), engine.watch.charts.overview(window(), window(), bar=Level.MINUTE)
        assert abs(summary.behind - overview.behind) < timedelta(seconds=30) and summary.degraded_by == ()
        return overview.behind

    assert behind() == timedelta(0), "it has never heard of a console, so nothing can be said"
    reported(timedelta(minutes=17))
    assert timedelta(minutes=17) <= behind() < timedelta(minutes=18)
    page = opened("dashboard", engine, monkeypatch)
    assert said(page, "warning").startswith("The read replica, which these charts come from, is 17 min behind: what happened since is missing.")
    row = opened("system", engine, monkeypatch).dataframe[0].value.set_index("Service").loc["Read replica"]
    assert row["State"] == "answers"
    assert row["Version"].endswith(", 17 min behind")

    replica[1].set("refused")
    found = engine.watch.charts.overview(window(), window(), bar=Level.MINUTE)
    assert (found.degraded_by, found.behind) == (("replica",), timedelta(0)), "the primary is never behind"
    replica[1].set("ok")
    engine.services.probe_now("replica")
    assert engine.health.test("replica").ok

    reported(timedelta(seconds=50))
    assert behind() == timedelta(0)
    assert not opened("dashboard", engine, monkeypatch).warning
    assert "behind" not in engine.health.test("replica").detail
    pool.dispose()


def test_a_database_without_the_tables_is_no_replica_and_says_so(build: Callable[..., Engine], databases) -> None:  # noqa: ANN001
    empty = databases.make()
    engine = build({"analytics_database_url": SecretStr(empty)})
    engine.router.route(TicketDraft(body="you took the money twice"))
    found = engine.watch.charts.overview(window(), window(), bar=Level.MINUTE)
    assert (found.now.n, found.degraded_by) == (1, ("replica",))
    report = engine.health.test("replica")
    assert not report.ok
    assert "its schema is missing" in report.detail
    engine.close()
    databases.drop(empty)


def test_an_address_that_is_none_names_its_own_setting(build: Callable[..., Engine]) -> None:
    with pytest.raises(ConfigurationError, match="ANALYTICS_DATABASE_URL"):
        build({"analytics_database_url": SecretStr("nonsense")})
