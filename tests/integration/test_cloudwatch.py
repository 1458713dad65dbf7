"""CloudWatch's own client against moto's server over real HTTP."""
from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from engine import settings
from engine.adapters.cloudwatch import NAMESPACE, CloudWatch
from tests.made_up import decision, ticket


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def exporter(endpoint: str) -> CloudWatch:
    return CloudWatch.from_settings(settings.load(
        cloudwatch_access_key="AK", cloudwatch_secret_key="SK", cloudwatch_endpoint=endpoint, cloudwatch_region="eu-central-1"
    ))


def average(made: CloudWatch, name: str) -> tuple[float, str]:
    now = datetime.now(UTC)
    points = made._client.get_metric_statistics(
        Namespace=NAMESPACE, MetricName=name, StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1), Period=7200,
        Statistics=["Average"],
    )["Datapoints"]
    return points[0]["Average"], points[0]["Unit"]


def test_hit_rate_and_processing_time_arrive_with_their_units_in_batches(endpoint: str) -> None:
    made = exporter(endpoint)
    for number in range(400):
        made.decision(ticket(), decision(method="cached" if number % 4 == 0 else "learned", timings={"total": 10.0 + number}))
    assert made.flush()
    assert average(made, "CacheHitRate") == (25.0, "Percent")
    names = {metric["MetricName"] for metric in made._client.list_metrics(Namespace=NAMESPACE)["Metrics"]}
    assert {"CacheHitRate", "ProcessingTime", "AutomationRate", "Decisions"} <= names
    made.close()


def test_what_cloudwatch_did_not_take_is_sent_the_next_time(endpoint: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
    made = exporter(nowhere)
    made.decision(ticket(), decision(method="cached"))
    assert not made.flush()
    assert made.failures == 1
    good = exporter(endpoint)
    made._client = good._client
    assert made.flush()
    assert made._counts == {}
    made.close()
    good.close()
