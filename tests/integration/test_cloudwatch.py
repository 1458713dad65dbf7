"""CloudWatch's own client against moto's server over real HTTP."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from engine import settings
from engine.adapters.cloudwatch import NAMESPACE, CloudWatch
from engine.adapters.tracing import MOST, Tracing
from engine.alerts import Reading
from engine.bootstrap import Engine
from engine.telemetry.metrics import Metrics
from tests.made_up import decision, ticket
from tests.servers.faulty import refused_port


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def nothing_before(endpoint: str) -> None:
    requests.post(f"{endpoint}/moto-api/reset", timeout=10)


def exporter(endpoint: str, standing: Mapping[str, float] | None = None, told: list[str] | None = None) -> CloudWatch:
    return CloudWatch.from_settings(settings.load(
        cloudwatch_access_key="AK", cloudwatch_secret_key="SK", cloudwatch_endpoint=endpoint, cloudwatch_region="eu-central-1"
    ), standing=lambda: standing or {}, failed=([] if told is None else told).append)


def average(made: CloudWatch, name: str) -> tuple[float, str]:
    now = datetime.now(UTC)
    points = made._client.get_metric_statistics(
        Namespace=NAMESPACE, MetricName=name, StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1), Period=7200,
        Statistics=["Average"],
    )["Datapoints"]
    return points[0]["Average"], points[0]["Unit"]


def test_hit_rate_and_processing_time_arrive_in_batches(endpoint: str) -> None:
    made = exporter(endpoint)
    for number in range(400):
        made.decision(ticket(), decision(method="cached" if number % 4 == 0 else "learned", timings={"total": 10.0 + number}))
    assert made.flush()
    assert average(made, "CacheHitRate") == (25.0, "Percent")
    value, unit = average(made, "ProcessingTime")
    assert (value, unit) == (pytest.approx(209.5, rel=0.01), "Milliseconds")
    made.close()


def test_every_metric_has_its_unit(endpoint: str) -> None:
    made = exporter(endpoint, standing={
        "accuracy_ratio": 0.91, "false_hit_ratio": 0.004, "calibration_error_ratio": 0.02, "tickets_waiting": 7.0, "alerts_open": 2.0,
    })
    made.decision(ticket(), decision(method="cached", audit_department="Sales", confidence=0.93))
    for name in ("service_unavailable", "ticket_spooled", "alert_opened"):
        made.event(name)
    assert made.flush()
    units = {
        "CacheHitRate": "Percent", "AutomationRate": "Percent", "LowConfidenceRate": "Percent", "AuditDisagreementRate": "Percent",
        "ProcessingTime": "Milliseconds", "Confidence": "Percent", "Accuracy": "Percent", "FalseHitRate": "Percent",
        "CalibrationError": "Percent", "TicketsWaiting": "Count", "OpenAlerts": "Count", "Decisions": "Count", "CacheHits": "Count",
        "RoutedAlone": "Count", "LowConfidence": "Count", "DegradedDecisions": "Count", "AuditedHits": "Count", "AuditDisagreements": "Count",
        "ServiceErrors": "Count", "SpooledTickets": "Count", "AlertsOpened": "Count",
    }
    names = {metric["MetricName"] for metric in made._client.list_metrics(Namespace=NAMESPACE)["Metrics"]}
    assert names == set(units)
    documented = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
    assert [name for name in names if f"`{name}`" not in documented] == []
    assert {name: average(made, name)[1] for name in names} == units
    for name, value in (("Accuracy", 91.0), ("FalseHitRate", 0.4), ("CalibrationError", 2.0), ("TicketsWaiting", 7.0), ("OpenAlerts", 2.0)):
        assert average(made, name)[0] == pytest.approx(value)
    made.close()


def test_each_share_and_each_count_is_of_the_decisions_that_it_names(endpoint: str) -> None:
    made = exporter(endpoint)
    for given in (
        decision(method="cached", automation="auto", confidence=0.97, audit_department="Billing"),
        decision(method="cached", automation="auto", confidence=0.97, audit_department="Sales"),
        decision(method="learned", automation="auto", confidence=0.93),
        # Sixty percent is not low, a click before it goes is not alone, and one decision lacks two services once.
        decision(method="learned", automation="preselect", confidence=0.60, degraded_by=("cache", "language_model")),
        decision(method="fallback", automation="suggest", confidence=0.59),
    ):
        made.decision(ticket(), given)
    assert made.flush()
    shares = {"CacheHitRate": 40.0, "AutomationRate": 60.0, "LowConfidenceRate": 20.0, "AuditDisagreementRate": 50.0}
    assert {name: average(made, name)[0] for name in shares} == pytest.approx(shares)
    counts = {
        "Decisions": 5, "CacheHits": 2, "RoutedAlone": 3, "LowConfidence": 1, "DegradedDecisions": 1, "AuditedHits": 2, "AuditDisagreements": 1,
    }
    assert {name: average(made, name)[0] for name in counts} == counts
    made.close()


def test_a_share_of_nothing_is_zero_and_not_missing(endpoint: str) -> None:
    """Where nothing was a hit for a minute, an alarm on the hit rate has to see it."""
    made = exporter(endpoint)
    made.decision(ticket(), decision(method="learned", automation="suggest", confidence=0.9))
    assert made.flush()
    assert [average(made, name)[0] for name in ("CacheHitRate", "AutomationRate", "LowConfidenceRate")] == [0.0, 0.0, 0.0]
    made.close()


def test_a_share_over_busy_and_quiet_minutes_weighs_every_decision_the_same(endpoint: str) -> None:
    busy, quiet = exporter(endpoint), exporter(endpoint)
    for number in range(99):
        busy.decision(ticket(), decision(method="learned", confidence=0.5))
    quiet.decision(ticket(), decision(method="cached", confidence=1.0))
    assert busy.flush() and quiet.flush()
    # An average of the two instances' averages would be 50.
    assert average(quiet, "CacheHitRate") == (pytest.approx(1.0), "Percent")
    assert average(quiet, "Confidence") == (pytest.approx(50.5), "Percent")
    busy.close()
    quiet.close()


def test_the_consoles_own_figures_are_sent_once_they_have_been_read(endpoint: str) -> None:
    metrics = Metrics()
    made = CloudWatch(exporter(endpoint)._client, standing=metrics.standing)
    assert made.flush()
    assert made._client.list_metrics(Namespace=NAMESPACE)["Metrics"] == [], "a command that has read nothing says nothing"
    metrics.set_figures({"accuracy": Reading(value=0.8, sample=40)})
    metrics.set_alerts({"critical": 1, "warning": 2})
    metrics.waiting.set(5)
    assert made.flush()
    assert {m["MetricName"] for m in made._client.list_metrics(Namespace=NAMESPACE)["Metrics"]} == {"Accuracy", "OpenAlerts", "TicketsWaiting"}
    assert average(made, "OpenAlerts") == (3.0, "Count")
    made.close()


def test_what_cloudwatch_did_not_take_is_sent_the_next_time(endpoint: str) -> None:
    made = exporter(f"http://127.0.0.1:{refused_port()}")
    made.decision(ticket(), decision(method="cached", timings={"total": 10.0}))
    assert not made.flush()
    assert made.failures == 1
    good = exporter(endpoint)
    made._client = good._client
    for _ in range(3):
        made.decision(ticket(), decision(method="learned", timings={"total": 30.0}))
    assert made.flush()
    assert made._counts == {}
    assert average(made, "CacheHitRate") == (25.0, "Percent"), "with what came meanwhile"
    assert average(made, "ProcessingTime") == (25.0, "Milliseconds")
    made.close()
    good.close()


def test_why_cloudwatch_takes_nothing_is_told_once_until_it_does(endpoint: str) -> None:
    told: list[str] = []
    made = exporter(f"http://127.0.0.1:{refused_port()}", told=told)
    refusing, good = made._client, exporter(endpoint)
    for client in (refusing, refusing, good._client, refusing):
        made._client = client
        made.decision(ticket(), decision())
        made.flush()
    assert told == ["EndpointConnectionError"] * 2 and made.failures == 3
    made._client = good._client
    made.close()
    good.close()


def test_a_refused_key_is_told_by_what_cloudwatch_answers(endpoint: str) -> None:
    told: list[str] = []
    made = exporter(endpoint, told=told)
    # From now on every call needs a key that exists.
    requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        made.decision(ticket(), decision())
        assert not made.flush()
    finally:
        requests.post(f"{endpoint}/moto-api/reset-auth", data=b"inf", timeout=10)
    assert told == ["403"]
    made.close()


def test_the_log_says_that_an_export_fails_and_the_metrics_count_it(build: Callable[..., Engine], tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{refused_port()}"
    path = tmp_path / "x.log"
    engine = build(settings={
        "routing_log_path": path, "cloudwatch_access_key": SecretStr("AK"), "cloudwatch_secret_key": SecretStr("SK"),
        "cloudwatch_endpoint": nobody, "otel_endpoint": nobody,
    }, working=False)
    for number in range(MOST + 1):
        engine.log.decision(ticket(), decision(ticket_id=f"T-{number}"))
    for sink in engine.log._sinks:
        if isinstance(sink, CloudWatch | Tracing):
            assert not sink.flush()
    shown = engine.watch.metrics.render().decode()
    assert "routing_cloudwatch_failures_total 1.0" in shown and "routing_traces_dropped_total 1.0" in shown
    assert "routing_telemetry_failures_total 0.0" in shown
    engine.log._sinks.append(object())
    engine.log.event("something")
    assert "routing_telemetry_failures_total 1.0" in engine.watch.metrics.render().decode()
    told = [line for line in map(json.loads, path.read_text().splitlines()) if line["event_type"] == "export_failed"]
    assert [(line["receiver"], line["reason"]) for line in told] == [
        ("cloudwatch", "EndpointConnectionError"), ("opentelemetry", "the receiver cannot be reached (ConnectionRefusedError)"),
    ]


def test_what_is_decided_while_cloudwatch_does_not_answer_is_counted_too(endpoint: str) -> None:
    away, good = exporter(f"http://127.0.0.1:{refused_port()}"), exporter(endpoint)
    made = CloudWatch(away._client)

    class Slow:
        def put_metric_data(self, **more: object) -> None:
            made.decision(ticket(), decision(method="learned"))
            away._client.put_metric_data(**more)

    made.decision(ticket(), decision(method="cached"))
    made._client = Slow()
    assert not made.flush()
    made._client = good._client
    assert made.flush()
    assert [average(made, name) for name in ("Decisions", "CacheHitRate")] == [(2.0, "Count"), (50.0, "Percent")]
    for one in (made, away, good):
        one.close()


def test_what_was_gathered_since_the_last_minute_is_sent_at_the_end(endpoint: str) -> None:
    made = exporter(endpoint)
    made.decision(ticket(), decision(method="cached"))
    made.close()
    assert average(made, "Decisions") == (1.0, "Count")
