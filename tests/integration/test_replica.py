"""Charts may be read from a replica: what happens to it happens to the charts alone."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from engine import bootstrap
from engine.domain import Decision, TicketDraft
from engine.errors import ServiceUnavailable
from engine.settings import Settings
from engine.timeline import ChartWindow


def window() -> ChartWindow:
    now = datetime.now(UTC)
    return ChartWindow(now - timedelta(hours=1), now + timedelta(minutes=1))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_charts_come_from_the_replica_and_everything_else_from_the_primary(
    console_settings: Settings, databases, learned: str, scheme: str  # noqa: ANN001
) -> None:
    replica = databases.make(learned)
    engine = bootstrap.build(console_settings.model_copy(update={"analytics_database_url": SecretStr(replica.replace("postgresql+psycopg2", scheme))}), log_stream=None)
    assert isinstance(engine.router.route(TicketDraft(body="you took the money twice")), Decision)
    assert len(engine.decisions.latest(limit=10)) == 1
    assert engine.watch.charts.totals(window()).n == 0, "the replica has not heard of the ticket yet"
    engine.close()
    databases.drop(replica)


def test_a_replica_that_is_away_takes_the_charts_along_and_nothing_else(console_settings: Settings) -> None:
    gone = SecretStr("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    engine = bootstrap.build(console_settings.model_copy(update={"analytics_database_url": gone}), log_stream=None)
    decision = engine.router.route(TicketDraft(body="you took the money twice"))
    assert isinstance(decision, Decision)
    assert decision.degraded_by == ()
    with pytest.raises(ServiceUnavailable):
        engine.watch.charts.totals(window())
    assert engine.health.ready()
    assert engine.services.states()["database"].circuit.value == "closed"
    engine.close()
