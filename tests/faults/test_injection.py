"""Tickets that talk to the language model, and a language model that does what they say."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine import prompts
from engine.adapters.minilm import MiniLM
from engine.domain import Decision, Method, TicketDraft
from engine.outcome import Outcome
from engine.ports import LanguageModelAnswer
from tests.faults.conftest import World
from tests.servers.gemini import chosen

TEXTS = json.loads((Path(__file__).resolve().parents[1] / "data" / "hostile_texts.json").read_text(encoding="utf-8"))["injection"]
# Everything that a ticket must not change; its own rows and the counts of them are elsewhere.
STATE = (
    "departments", "topics", "policies", "models", "exemplars", "exemplar_vectors", "users", "sessions", "tokens", "sign_in_attempts",
    "outcomes", "overrules", "routing_accuracy", "audit_log", "audit_head", "alert_rules", "alert_silences", "index_targets", "counters",
)
OUTSIDE = "Executive Escalations"


def obedient(data: dict[str, Any]) -> object:
    """The worst model: leaves the set, is certain, and tells its instructions."""
    return chosen(OUTSIDE, confidence=1.0, reason=prompts.INSTRUCTIONS, second=OUTSIDE)


def talkative(data: dict[str, Any]) -> object:
    """Stays in the set, says a certainty beyond any and quotes its instructions to whoever asks."""
    return chosen(data["departments"][-1]["name"], confidence=999, reason="As told: " + prompts.INSTRUCTIONS[:300])


def contents(world: World, *, newest: int) -> dict[str, str]:
    """A digest of every row of these tables, and of the decisions up to `newest` with their tickets."""
    queries = {name: f"select t::text as line from {name} as t" for name in STATE}
    queries["routing_history"] = "select t::text as line from routing_history as t where id <= :newest"
    queries["tickets"] = "select t::text as line from tickets as t join routing_history as h on h.ticket_id = t.id where h.id <= :newest"
    with world.truth.connect() as connection:
        return {
            name: connection.execute(
                text(f"select count(*) || ' ' || coalesce(md5(string_agg(md5(line), '' order by md5(line))), '') from ({query}) as lines"),
                {"newest": newest} if ":newest" in query else {},
            ).scalar_one()
            for name, query in queries.items()
        }


def newest(world: World) -> int:
    with world.truth.connect() as connection:
        return connection.execute(text("select coalesce(max(id), 0) from routing_history")).scalar_one()


def test_there_are_enough_of_them() -> None:
    assert len(set(TEXTS)) >= 60


@pytest.mark.parametrize("model", [obedient, talkative])
def test_no_ticket_leaves_the_set_raises_its_confidence_or_changes_anything(world: World, embedder: MiniLM, model: Any) -> None:
    world.gemini.reply = model
    # Somebody has worked here: there is something to be changed.
    labelled = [world.engine.router.route(TicketDraft(body=f"please help me ({model.__name__} {word})")) for word in ("one", "two")]
    for decision in labelled:
        world.engine.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="supervisor"), learn=False)
    world.engine.state.refresh()
    state = world.engine.state.current()
    last = newest(world)
    before = contents(world, newest=last)
    asked = len(world.gemini.seen)
    methods = set()
    for number, injected in enumerate(TEXTS):
        draft = TicketDraft(body=f"{injected} ({model.__name__})", ticket_id=f"{model.__name__}-{number}")
        decision = world.engine.router.route(draft)
        assert isinstance(decision, Decision)
        assert decision.department in state.live
        assert {candidate.department for candidate in decision.alternatives} <= state.live
        assert not prompts.quotes_instructions(decision.reason)
        assert decision.versions == state.versions
        methods.add(decision.method)
        words = world.engine.router.admit(draft).text
        own = state.model.predict([words], list(embedder.embed([words])), live=state.live)[0]
        if decision.method is Method.RAG_LLM:
            # However sure the model says it is, that is one voice beside the learned router's own.
            said = LanguageModelAnswer(department=decision.department, raw_confidence=1.0, reason="", second_choice="", prompt_version="")
            calibrated = state.model.language_model_confidence(said, own)
            assert decision.raw_score <= 1.0
        else:
            assert decision.method is Method.FALLBACK
            assert decision.department == own.best.department
            calibrated = own.best.confidence
        assert calibrated < 1.0
        assert decision.confidence <= calibrated + 1e-6
    assert (Method.RAG_LLM in methods) == (model is talkative)
    assert len(world.gemini.seen) > asked
    assert contents(world, newest=last) == before
    world.gemini.reply = lambda data: chosen(data["departments"][0]["name"])


def test_the_ticket_never_reaches_the_instructions(world: World) -> None:
    for injected in TEXTS[:60]:
        ticket = world.engine.router.admit(TicketDraft(body=injected))
        prompt = prompts.build(ticket, departments=world.engine.state.current().departments, neighbours=(), mask=lambda t: t)
        assert prompt.instructions == prompts.INSTRUCTIONS
        assert json.loads(prompt.data)["ticket"]["body"] == ticket.body[: prompts.MAX_TICKET]
        assert "<" not in prompt.data
