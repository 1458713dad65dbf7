"""What alert rules of other systems read at /metrics, on a real console."""
from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from engine import bootstrap
from engine.alert_rules import SHIPPED, Measure
from engine.bootstrap import Engine
from engine.domain import Decision, Method, Policy, Stage, TicketDraft
from engine.errors import ServiceUnavailable
from engine.settings import Settings
from tests.faults.conftest import socket_of, through
from tests.integration.test_grafana import SERVICES
from tests.integration.test_watching import read, task
from tests.servers.gemini import GeminiServer, chosen
from tests.servers.proxy import FaultyProxy
from tests.unit.test_metrics import value


def test_a_console_without_its_database_still_answers_and_says_that_it_is_not_ready(console_settings: Settings) -> None:
    url = console_settings.postgres_url
    with FaultyProxy(socket_of(url)) as proxy:
        engine = bootstrap.build(console_settings.model_copy(update={"database_url": SecretStr(through(url, proxy))}), log_stream=None, working=False)
        try:
            assert value(engine.watch.metrics, "routing_ready") == 1
            assert value(engine.watch.metrics, "routing_service_errors_total", service="database") == 0
            proxy.set("refused")
            with pytest.raises(ServiceUnavailable, match="database"):
                task(engine, "report")()
            assert value(engine.watch.metrics, "routing_ready") == 0
            assert value(engine.watch.metrics, "routing_service_errors_total", service="database") > 0
            proxy.set("ok")
            for _ in range(60):
                with suppress(ServiceUnavailable):
                    task(engine, "report")()
                if value(engine.watch.metrics, "routing_ready"):
                    break
                time.sleep(0.5)
            assert value(engine.watch.metrics, "routing_ready") == 1
        finally:
            engine.close()


def test_figures_are_those_of_the_shipped_rules_with_the_sample_they_rest_on(console: Engine) -> None:
    console.watch.upkeep.close()
    metrics = console.watch.metrics
    task(console, "gauges")()
    assert value(metrics, "routing_sample_size", figure="hit_rate") == 0
    now, chance = datetime.now(UTC), random.Random(4)
    for days, words in ((5, "my parcel is lost and the courier does not answer"), (0, "the invoice is wrong, you charged me twice")):
        tickets = [console.router.admit(TicketDraft(body=f"{words} {chance.random()}")) for _ in range(30)]
        console.router.route_tickets(tickets, at=now - timedelta(days=days, minutes=2))
    console.router.settle()
    task(console, "roll")()
    task(console, "gauges")()
    for measure, name, labels in (
        (Measure.HIT_RATE, "routing_hit_ratio", {}),
        (Measure.DRIFT_CONFIDENCE, "routing_drift_index", {"distribution": "confidence"}),
        (Measure.DRIFT_DEPARTMENT, "routing_drift_index", {"distribution": "department"}),
    ):
        ((figure, sample),) = read(console, measure)
        assert value(metrics, name, **labels) == pytest.approx(figure)
        assert value(metrics, "routing_sample_size", figure=measure.value) == sample == 30
    by_chance = value(metrics, "routing_drift_chance_index", distribution="department")
    assert value(metrics, "routing_drift_index", distribution="department") > by_chance > 0.2


def test_services_are_counted_under_the_names_that_alert_rules_ask_for(console: Engine) -> None:
    console.router.route(TicketDraft(body="my parcel is lost"))
    text = console.watch.metrics.render().decode()
    for service in SERVICES:
        for kind in ("calls", "errors", "refusals"):
            assert re.search(rf'^routing_service_{kind}_total{{service="{service}"}} ', text, re.M), (kind, service)
    assert {rule.measure for rule in SHIPPED} >= {Measure.DATABASE_FAILURES, Measure.INDEX_ERROR_SHARE}


def test_the_language_models_second_choice_comes_second_and_its_tokens_are_counted(build: Callable[..., Engine]) -> None:
    with GeminiServer() as gemini:
        console = build({"google_api_key": SecretStr("key"), "google_api_endpoint": gemini.url}, working=False)
        names = sorted(console.state.current().live)
        stages = frozenset({Stage.EXACT, Stage.RAG_LLM})
        console.policies.add(replace(Policy(), confidence=0.05, stages=stages, audit_rate=0.0), author="test", reason="ask the model")
        console.state.refresh()
        for first, second in ((names[0], names[-1]), (names[-1], names[0])):
            gemini.reply = lambda _, first=first, second=second: chosen(first, second=second)
            made = console.router.route(TicketDraft(body=f"a question about something between {first} and {second}"))
            assert isinstance(made, Decision) and made.method is Method.RAG_LLM
            assert [c.department for c in made.alternatives[:2]] == [first, second]
            assert [c.confidence for c in made.alternatives] == sorted((c.confidence for c in made.alternatives), reverse=True)
            assert len(made.alternatives) == 3 and sum(c.confidence for c in made.alternatives) <= 1 + 1e-9
        gemini.reply = lambda _: "no JSON at all"
        console.router.route(TicketDraft(body="and a third question about something else"))
        metrics = console.watch.metrics
        for _ in range(2):
            assert value(metrics, "routing_language_model_answers_total") == 3
            assert value(metrics, "routing_language_model_tokens_total", direction="input") == 1200
            assert value(metrics, "routing_language_model_tokens_total", direction="output") == 90
            assert value(metrics, "routing_language_model_cost_dollars_total") == pytest.approx((1200 * 0.10 + 90 * 0.40) / 1e6)
            assert value(metrics, "routing_language_model_unusable_answers_total", reason="invalid_json") == 1
