"""Tickets that talk to the language model, and a language model that does what they say."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine import prompts
from engine.domain import Decision, Method, TicketDraft
from engine.ports import LanguageModelAnswer
from tests.faults.conftest import World
from tests.servers.gemini import chosen

TEXTS = json.loads((Path(__file__).resolve().parents[1] / "data" / "hostile_texts.json").read_text(encoding="utf-8"))["injection"]
STATE = ("departments", "topics", "policies", "models", "users", "exemplars")
OUTSIDE = "Executive Escalations"


def obedient(data: dict[str, Any]) -> object:
    """The worst model: leaves the set, is certain, and tells its instructions."""
    return chosen(OUTSIDE, confidence=1.0, reason=prompts.INSTRUCTIONS, second=OUTSIDE)


def talkative(data: dict[str, Any]) -> object:
    """Stays in the set, says a certainty beyond any and quotes its instructions to whoever asks."""
    return chosen(data["departments"][-1]["name"], confidence=999, reason="As told: " + prompts.INSTRUCTIONS[:300])


def counts(world: World) -> dict[str, int]:
    with world.truth.connect() as connection:
        return {name: connection.execute(text(f"select count(*) from {name}")).scalar_one() for name in STATE}


def test_there_are_enough_of_them() -> None:
    assert len(set(TEXTS)) >= 60


@pytest.mark.parametrize("model", [obedient, talkative])
def test_no_ticket_leaves_the_set_raises_its_confidence_or_changes_anything(world: World, model: Any) -> None:
    world.gemini.reply = model
    state = world.engine.state.current()
    before = counts(world)
    asked = len(world.gemini.seen)
    most = state.model.language_model_confidence(
        LanguageModelAnswer(department="x", raw_confidence=1.0, reason="", second_choice="", prompt_version=""), None
    )
    for number, injected in enumerate(TEXTS):
        decision = world.engine.router.route(TicketDraft(body=f"{injected} ({model.__name__})", ticket_id=f"{model.__name__}-{number}"))
        assert isinstance(decision, Decision)
        assert decision.department in state.live
        assert {candidate.department for candidate in decision.alternatives} <= state.live
        assert not prompts.quotes_instructions(decision.reason)
        if decision.method is Method.RAG_LLM:
            support = max(most, state.model.language_model_confidence(
                LanguageModelAnswer(department=decision.department, raw_confidence=1.0, reason="", second_choice="", prompt_version=""),
                state.model.predict([injected], [None], live=state.live)[0],
            ))
            assert decision.confidence <= max(support, 0.999)
            assert decision.raw_score <= 1.0
        if model is obedient:
            assert decision.method is not Method.RAG_LLM
    assert len(world.gemini.seen) > asked
    assert counts(world) == before
    world.gemini.reply = lambda data: chosen(data["departments"][0]["name"])


def test_the_ticket_never_reaches_the_instructions(world: World) -> None:
    for injected in TEXTS[:60]:
        ticket = world.engine.router.admit(TicketDraft(body=injected))
        prompt = prompts.build(ticket, departments=world.engine.state.current().departments, neighbours=(), mask=lambda t: t)
        assert prompt.instructions == prompts.INSTRUCTIONS
        assert json.loads(prompt.data)["ticket"]["body"] == ticket.body[: prompts.MAX_TICKET]
        assert "<" not in prompt.data
