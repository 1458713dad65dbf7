"""Traces reach an OTLP collector over HTTP: one per ticket, a span per stage."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.adapters.tracing import MOST, Tracing
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


def sent(collector: Receiver) -> list[dict[str, object]]:
    return [span for _, _, body in collector.posts for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]]


def tickets(collector: Receiver) -> list[str]:
    return [one["value"]["stringValue"] for span in sent(collector) for one in span["attributes"] if one["key"] == "ticket.id"]


class Held(list[tuple[str, dict[str, str], object]]):
    """What came; the first is answered once `answers` is set."""

    def __init__(self, answers: threading.Event) -> None:
        super().__init__()
        self.came, self._answers = threading.Event(), answers

    def append(self, post: tuple[str, dict[str, str], object]) -> None:
        super().append(post)
        self.came.set()
        self._answers.wait(4)


def test_stages_follow_each_other_and_the_trace_says_what_was_decided(collector: Receiver) -> None:
    tracing = Tracing(f"{collector.url}/otel/")
    given = decision(timings={"embed": 3.0, "classify": 0.5, "total": 3.5}, degraded_by=("cache", "language_model"))
    tracing.decision(ticket(), given, store_ms=1.5)
    tracing.decision(ticket(), given)
    assert tracing.flush()
    tracing.close()
    assert [path for path, _, _ in collector.posts] == ["/otel/v1/traces"]
    first, second = sent(collector)[:4], sent(collector)[4:]
    assert [span["name"] for span in second] == ["route", "embed", "classify"], "storing was not measured"
    assert first[0]["traceId"] != second[0]["traceId"] and first[0]["parentSpanId"] == ""
    root, *stages = [(int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])) for span in first]
    assert [end - begin for begin, end in stages] == [3_000_000, 500_000, 1_500_000]
    assert [begin for begin, _ in stages] == [root[0], *(end for _, end in stages[:-1])] and stages[-1][1] == root[1]
    told = {one["key"]: one["value"] for one in first[0]["attributes"]}
    assert told["routing.confidence"] == {"doubleValue": 0.93} and told["routing.department"] == {"stringValue": "Billing"}
    assert told["routing.degraded_by"] == {"stringValue": "cache,language_model"}


def test_what_is_decided_while_the_collector_does_not_answer_is_sent_too(collector: Receiver) -> None:
    tracing, answers = Tracing(collector.url), threading.Event()
    collector.status = 503
    collector.posts = Held(answers)
    for number in range(MOST - 1):
        tracing.decision(ticket(), decision(ticket_id=f"T-{number}"))
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(tracing.flush)
        assert collector.posts.came.wait(30)
        for number in range(MOST - 1, MOST + 3):
            tracing.decision(ticket(), decision(ticket_id=f"T-{number}"))
        answers.set()
        assert not flushed.result()
    assert tracing.dropped == 3, "there is room for one of the four"
    collector.status = 200
    collector.posts.clear()
    tracing.close()
    assert tickets(collector) == [f"T-{number}" for number in range(MOST)]


def test_while_the_collector_is_away_the_oldest_traces_are_kept_and_the_newer_ones_counted(collector: Receiver) -> None:
    tracing = Tracing(collector.url)
    collector.status = 503
    for number in range(MOST - 1):
        tracing.decision(ticket(), decision(ticket_id=f"T-{number}"))
    assert not tracing.flush()
    for number in range(MOST - 1, MOST + 2):
        tracing.decision(ticket(), decision(ticket_id=f"T-{number}"))
    assert tracing.dropped == 2
    collector.posts.clear()
    collector.status = 200
    tracing.close()
    assert tickets(collector) == [f"T-{number}" for number in range(MOST)]


def test_why_the_collector_takes_nothing_is_told_once_until_it_does(collector: Receiver) -> None:
    told: list[str] = []
    tracing = Tracing(collector.url, failed=told.append)
    for status in (503, 401, 200, 401):
        collector.status = status
        tracing.decision(ticket(), decision())
        tracing.flush()
    assert told == ["the receiver answered 503", "the receiver answered 401"]
    collector.status = 200
    tracing.close()
