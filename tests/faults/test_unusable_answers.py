"""What the language model says cannot always be used: it is counted, and the next stage decides."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.domain import Decision, Method
from tests.faults.conftest import World
from tests.faults.test_matrix import route
from tests.servers.gemini import chosen


@pytest.fixture(autouse=True)
def well_behaved(world: World) -> Iterator[None]:
    """Afterwards the model answers as it should."""
    yield
    world.gemini.finish, world.gemini.block = "STOP", ""
    world.gemini.reply = lambda data: chosen(data["departments"][0]["name"])


@pytest.mark.parametrize(
    ("reason", "reply", "finish", "block"),
    [
        ("outside_set", chosen("A department that is none"), "STOP", ""),
        ("invalid_json", "surely, it is for billing", "STOP", ""),
        ("invalid_json", chosen("Billing and Payments") | {"second_choice": []}, "STOP", ""),
        ("invalid_json", chosen("Billing and Payments", confidence=10**400), "STOP", ""),
        ("blocked", chosen("Billing and Payments"), "SAFETY", ""),
        ("blocked", chosen("Billing and Payments"), "STOP", "PROHIBITED_CONTENT"),
        ("truncated", chosen("Billing and Payments"), "MAX_TOKENS", ""),
        ("empty", "", "STOP", ""),
    ],
)
def test_an_unusable_answer_is_counted_and_the_next_stage_decides(world: World, reason: str, reply: object, finish: str, block: str) -> None:
    world.gemini.reply = lambda _: reply
    world.gemini.finish, world.gemini.block = finish, block
    before = world.engine.gemini.usage()
    decision = route(world)
    after = world.engine.gemini.usage()
    assert isinstance(decision, Decision)
    assert decision.method is Method.FALLBACK
    assert decision.department in world.engine.state.current().live
    # The service answered: nothing is away, and its breaker stays closed.
    assert decision.degraded_by == ()
    assert world.engine.services.states()["language_model"].circuit.value == "closed"
    assert after.unusable[reason] == before.unusable.get(reason, 0) + 1
    assert (after.calls, after.input_tokens > before.input_tokens, after.cost > before.cost) == (before.calls + 1, True, True)
