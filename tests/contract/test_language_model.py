"""The language model port on Gemini: the real client over real HTTP."""
from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import prompts
from engine.adapters.gemini import Gemini
from engine.domain import Channel, Department, Neighbour, Priority, Ticket
from engine.errors import ServiceUnavailable
from engine.privacy import masked
from tests.servers.faulty import Fault, Seen, refused_port
from tests.servers.gemini import GeminiServer, chosen

DEPARTMENTS = (Department("Billing", "Bills and payments"), Department("Delivery", "Parcels"))
NEIGHBOURS = (Neighbour(1, "Billing", "", 0.9, "charged twice"),)


def ticket(body: str = "you took the money twice") -> Ticket:
    return Ticket(
        id="T-1", subject="", body=body, channel=Channel.WEB, customer_ref="", priority=Priority.NORMAL, created_at=datetime.now(UTC)
    )


def prompt(one: Ticket, departments: object, neighbours: object) -> object:
    return prompts.build(one, departments=departments, neighbours=neighbours, mask=masked)


@pytest.fixture
def server() -> Iterator[GeminiServer]:
    with GeminiServer() as started:
        yield started


@pytest.fixture
def gemini(server: GeminiServer) -> Gemini:
    return Gemini(api_key="secret-key", model="gemini-2.0-flash", prompt=prompt, reason=prompts.reason, endpoint=server.url)


def decide(model: Gemini, body: str = "you took the money twice", timeout: float = 30.0):  # noqa: ANN201
    return model.decide(ticket(body), departments=DEPARTMENTS, neighbours=NEIGHBOURS, timeout=timeout)


def test_a_good_answer_names_department_confidence_reason_and_prompt(gemini: Gemini, server: GeminiServer) -> None:
    server.reply = lambda _: chosen("Billing", confidence=0.8, reason="A double charge.", second="Delivery")
    answer = decide(gemini)
    assert (answer.department, answer.raw_confidence, answer.reason) == ("Billing", 0.8, "A double charge.")
    assert answer.second_choice == "Delivery"
    assert answer.prompt_version == prompts.version()
    usage = gemini.usage()
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, 400, 30)
    assert usage.cost == pytest.approx((400 * 0.10 + 30 * 0.40) / 1e6)


def test_the_request_holds_departments_examples_and_ticket_as_data_and_asks_for_the_closed_set(
    gemini: Gemini, server: GeminiServer
) -> None:
    decide(gemini, "my card 4111 1111 1111 1111 was charged, mail me at bob@example.com </ticket>")
    body = server.seen[-1].body
    data = json.loads(body["contents"][0]["parts"][0]["text"])
    assert [d["name"] for d in data["departments"]] == ["Billing", "Delivery"]
    assert data["examples"] == [{"text": "charged twice", "department": "Billing"}]
    assert "charged" in data["ticket"]["body"]
    sent = json.dumps(body)
    assert "4111" not in sent
    assert "bob@example.com" not in sent
    assert "</ticket>" not in body["contents"][0]["parts"][0]["text"]
    schema = body["generationConfig"]["responseSchema"]
    assert schema["properties"]["department"]["enum"] == ["Billing", "Delivery"]
    assert set(schema["required"]) == {"department", "confidence", "reason", "second_choice"}
    assert body["systemInstruction"]["parts"][0]["text"] == prompts.INSTRUCTIONS


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"), ("not json", "invalid_json"), ("[1]", "invalid_json"), ('{"department": "Billing"}', "invalid_json"),
        (chosen("Billing", confidence="high"), "invalid_json"), (chosen("Billing", confidence=True), "invalid_json"),
        ('{"department": "Billing", "confidence": NaN}', "invalid_json"), (chosen("Legal"), "outside_set"),
        (chosen("billing"), "outside_set"),
    ],
)
def test_an_unusable_answer_is_counted_and_none(gemini: Gemini, server: GeminiServer, reply: object, reason: str) -> None:
    server.reply = lambda _: reply
    assert decide(gemini) is None
    assert gemini.usage().unusable == {reason: 1}


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["Billing", "Legal", "", 10**400, -(10**400)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5,
)
SHAPES = ODD | st.fixed_dictionaries(
    {"department": ODD | st.just("Billing"), "confidence": ODD | st.just(0.9)}, optional={"reason": ODD, "second_choice": ODD}
)


@pytest.mark.parametrize("second", [[], {}, ["Delivery"], 7, True])
def test_an_answer_whose_second_choice_is_no_name_is_unusable(gemini: Gemini, server: GeminiServer, second: object) -> None:
    server.reply = lambda _: chosen("Billing") | {"second_choice": second}
    assert decide(gemini) is None
    assert gemini.usage().unusable == {"invalid_json": 1}


@pytest.mark.parametrize("reply", [
    '{"department": "Billing", "confidence": 1' + "0" * 400 + "}", '{"department": "Billing", "confidence": ' + "9" * 5000 + "}",
    "[" * 100_000, '{"department":' * 50_000,
])
def test_numbers_that_no_float_holds_and_nesting_without_end_are_unusable(gemini: Gemini, server: GeminiServer, reply: str) -> None:
    server.reply = lambda _: reply
    assert decide(gemini) is None
    assert gemini.usage().unusable == {"invalid_json": 1}


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reply=SHAPES)
def test_whatever_the_model_writes_is_an_answer_of_the_set_or_counted(gemini: Gemini, server: GeminiServer, reply: object) -> None:
    server.reply = lambda _: json.dumps(reply)
    before = sum(gemini.usage().unusable.values())
    answer = decide(gemini)
    if answer is None:
        assert sum(gemini.usage().unusable.values()) == before + 1
    else:
        assert answer.department in {"Billing", "Delivery"}
        assert 0.0 <= answer.raw_confidence <= 1.0
        assert answer.second_choice in {"Billing", "Delivery", ""}
        assert 0 < len(answer.reason) <= prompts.MAX_REASON


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b"7", b'{"candidates": {}}', b'{"candidates": [{"content": {"parts": [{"text": 5}]}}]}',
    b'{"usageMetadata": {"promptTokenCount": 1e40}}', b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe",
])
def test_a_body_of_another_form_is_an_unusable_answer_or_a_service_that_fails(body: bytes) -> None:
    class Odd(GeminiServer):
        def answer(self, seen: Seen) -> tuple[int, object]:
            return 200, body

    with Odd() as server:
        model = Gemini(api_key="k", model="m", prompt=prompt, reason=prompts.reason, endpoint=server.url)
        try:
            assert decide(model) is None
        except ServiceUnavailable as error:
            assert error.service == "language_model"  # noqa: PT017 - either outcome is right, any other error is not


@pytest.mark.parametrize(("finish", "block", "reason"), [
    ("MAX_TOKENS", "", "truncated"), ("SAFETY", "", "blocked"), ("RECITATION", "", "blocked"), ("STOP", "SAFETY", "blocked"),
])
def test_a_block_or_a_truncated_answer_is_counted_and_none(
    gemini: Gemini, server: GeminiServer, finish: str, block: str, reason: str
) -> None:
    server.finish, server.block = finish, block
    assert decide(gemini) is None
    assert gemini.usage().unusable == {reason: 1}


@pytest.mark.parametrize(("confidence", "shown"), [(7, 1.0), (-1, 0.0), (1e308, 1.0)])
def test_a_confidence_outside_its_range_is_brought_back_into_it(
    gemini: Gemini, server: GeminiServer, confidence: float, shown: float
) -> None:
    server.reply = lambda _: chosen("Billing", confidence=confidence)
    assert decide(gemini).raw_confidence == shown


@pytest.mark.parametrize(
    ("fault", "retryable"),
    [
        (Fault("status", 400), False), (Fault("status", 403), False), (Fault("status", 404), False), (Fault("status", 409), False),
        (Fault("status", 429), True), (Fault("status", 500), True), (Fault("status", 503), True), (Fault("status", 504), False),
        (Fault("garbage"), False), (Fault("half"), True), (Fault("cut"), True), (Fault("hang", seconds=10), False),
    ],
)
def test_every_failure_is_one_error_that_says_whether_to_try_again(
    gemini: Gemini, server: GeminiServer, fault: Fault, retryable: bool
) -> None:
    server.fault = fault
    with pytest.raises(ServiceUnavailable) as caught:
        decide(gemini, timeout=0.5 if fault.kind == "hang" else 30.0)
    assert caught.value.service == "language_model"
    assert caught.value.retryable is retryable
    assert "secret-key" not in str(caught.value)
    assert len(server.seen) == 1, "the client repeats nothing by itself"


def test_nothing_listens() -> None:
    model = Gemini(api_key="k", model="m", prompt=prompt, reason=prompts.reason, endpoint=f"http://127.0.0.1:{refused_port()}")
    with pytest.raises(ServiceUnavailable):
        decide(model)


def test_a_reason_that_quotes_the_instructions_or_carries_markup_is_not_shown() -> None:
    assert "You sort call-centre tickets" not in prompts.reason("My rules: " + prompts.INSTRUCTIONS[:80])
    assert prompts.reason("<b>A double charge.</b>") == "A double charge."
    assert len(prompts.reason("word " * 200)) <= prompts.MAX_REASON
    assert prompts.reason(None) == prompts.reason("")
