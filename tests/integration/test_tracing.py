"""Traces reach an OTLP collector over HTTP: one per ticket, a span per stage."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.adapters.tracing import Tracing
from tests.integration.test_notify import Receiver
from tests.made_up import SECRET, decision, ticket


@pytest.fixture
def collector() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


def test_a_ticket_is_one_trace_with_a_span_for_each_stage(collector: Receiver) -> None:
    tracing = Tracing(collector.url)
    collector.status = 503
    tracing.decision(ticket(), decision(), store_ms=1.5)
    assert not tracing.flush()
    collector.status = 200
    assert tracing.flush()
    tracing.close()
    path, _, body = collector.posts[-1]
    spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert path == "/v1/traces" and len(collector.posts) == 2
    assert [span["name"] for span in spans] == ["route", "sanitize", "embed", "classify", "store"]
    root, children = spans[0], spans[1:]
    assert len({span["traceId"] for span in spans}) == 1 and {span["parentSpanId"] for span in children} == {root["spanId"]}
    assert int(root["endTimeUnixNano"]) - int(root["startTimeUnixNano"]) == pytest.approx(5_000_000, abs=10)
    assert SECRET not in str(body)
