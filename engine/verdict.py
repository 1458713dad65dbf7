"""From what a stage found to a decision: calibrated confidence, alternatives, reason, automation."""
from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from engine.domain import Automation, Candidate, Decision, Method, Neighbour
from engine.ports import CachedRoute, LanguageModelAnswer
from engine.sampled import review_probability
from engine.semantic import CACHED_PRIOR, Vote
from engine.state import RoutingState
from engine.work import Work

ALTERNATIVES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A stage's answer. `second` is the department that the language model would choose next, "" without one.

    `repeats` is the method that decided an exact repeat at first, "" for what is no repeat.
    """

    department: str
    method: Method
    raw_score: float
    confidence: float
    source: str
    reason: str
    topic: str = ""
    exact: bool = False
    repeats: str = ""
    second: str = ""
    alternatives: tuple[Candidate, ...] = ()
    evidence: tuple[Neighbour, ...] = ()

    @classmethod
    def repeat(cls, route: CachedRoute) -> Verdict:
        """The same question was answered within the cache's time to live."""
        return cls(
            department=route.department, method=Method.CACHED, raw_score=route.raw_score, confidence=route.confidence,
            source=f"ticket:{route.ticket_id}", reason=f"The same text was routed before as ticket {route.ticket_id}.",
            topic=route.topic, exact=True, repeats=route.method, alternatives=route.alternatives, evidence=route.evidence,
        )

    @classmethod
    def neighbours(cls, vote: Vote, work: Work, state: RoutingState) -> Verdict | None:
        """The nearest labelled tickets agree; None when that is not sure enough for the policy."""
        # A similarity is no confidence: without a model there is no evidence how often such answers are right.
        confidence = min(vote.similarity, CACHED_PRIOR)
        if state.model:
            labelled = next((n.text for n in work.neighbours if vote.labelled and n.exemplar_id == vote.nearest), "")
            confidence = state.model.cached_confidence(vote.features, department=vote.department, labelled=labelled)
        if confidence < state.policy.answers_at(vote.department):
            return None
        return cls(
            department=vote.department, method=Method.CACHED, raw_score=vote.similarity, confidence=confidence, topic=vote.topic,
            source=f"exemplar:{vote.nearest}",
            # Where a label of this text answers, its neighbours may have gone elsewhere.
            reason=f"A supervisor has labelled this very text as {vote.department} (similarity {vote.similarity:.2f})." if vote.labelled
            else f"The {vote.counted} most similar labelled tickets all went to {vote.department} (nearest similarity {vote.similarity:.2f}).",
        )

    @classmethod
    def learned(cls, work: Work, state: RoutingState) -> Verdict | None:
        """The local classifier is sure enough for the policy, else None."""
        best = work.prediction.best
        if best.confidence < state.policy.answers_at(best.department):
            return None
        topic = work.prediction.topic
        about = f" (topic {topic.replace('_', ' ')})" if topic and topic != best.department else ""
        return cls(
            department=best.department, method=Method.LEARNED, raw_score=work.prediction.raw_score, confidence=best.confidence,
            topic=topic, source=f"model:{state.model.number}",
            reason=f"The learned router recognises this as {best.department}{about}.",
        )

    @classmethod
    def language_model(cls, answer: LanguageModelAnswer, work: Work, state: RoutingState) -> Verdict | None:
        """The language model's choice, calibrated; None when it is not sure enough for the policy."""
        confidence = state.model.language_model_confidence(answer, work.prediction) if state.model else 0.0
        if confidence < state.policy.answers_at(answer.department):
            return None
        return cls(
            department=answer.department, method=Method.RAG_LLM, raw_score=answer.raw_confidence, confidence=confidence,
            source=f"prompt:{answer.prompt_version}", reason=answer.reason,
            second=answer.second_choice if answer.second_choice in state.live else "",
        )

    @classmethod
    def fallback(cls, work: Work, state: RoutingState) -> Verdict:
        """Nothing was sure enough: the classifier's best guess with its honest confidence, or the triage department."""
        prediction = work.prediction
        if prediction is not None:
            best = prediction.best
            return cls(
                department=best.department, method=Method.FALLBACK, raw_score=prediction.raw_score, confidence=best.confidence,
                topic=prediction.topic, source=f"model:{state.model.number}",
                reason=f"Nothing was sure enough; {best.department} is the best guess. Please choose.",
            )
        name = state.triage or min(state.live)
        return cls(
            department=name, method=Method.FALLBACK, raw_score=0.0, confidence=1 / max(1, len(state.live)), source="triage",
            reason=f"Nothing was learned yet, so {name} takes a look. Please choose.",
        )


def decided(work: Work, state: RoutingState, *, now: datetime, chance: random.Random) -> Decision:
    """The decision that is stored and shown."""
    verdict: Verdict = work.verdict
    automation, gated_by = _automation(verdict, state)
    # Sampling for review: everything doubtful, and a random share of what is sure, so accuracy is known there too.
    # A hit that is audited is looked at by a person as well: the learned router has vouched for many of them itself.
    alone = automation is Automation.AUTO
    wanted = chance.random() < (state.policy.review_rate if alone else 1.0) or work.audited
    probability = review_probability(state.policy, verdict.method, alone=alone)
    timings = {stage: round(value, 3) for stage, value in work.timings.items()}
    timings["total"] = round(sum(work.timings.values()), 3)
    return Decision(
        ticket_id=work.ticket.id,
        department=verdict.department,
        method=verdict.method,
        automation=automation,
        raw_score=float(verdict.raw_score),
        confidence=min(1.0, max(0.0, float(verdict.confidence))),
        source=verdict.source,
        reason=verdict.reason,
        alternatives=verdict.alternatives or _alternatives(verdict, _scores(work)),
        created_at=now,
        evidence=verdict.evidence or work.neighbours[: state.policy.neighbours],
        timings=timings,
        versions=state.versions,
        degraded_by=tuple(work.degraded_by),
        gated_by=gated_by,
        topic=verdict.topic,
        audit_department=work.audit_department,
        review_wanted=wanted,
        review_probability=probability if probability > 0 else 1.0,
    )


def surest(work: Work, state: RoutingState) -> Verdict | None:
    """The learned router's answer to what is open, and to what neighbours left to a click where its own, the same, needs none.

    Else asking more of neighbours would hand tickets to the router that then go alone: a stricter policy would route more.
    """
    found, own = work.verdict, Verdict.learned(work, state)
    if found is None or own is None or own.department != found.department:
        return found or own
    if _held_back(found, state):
        # By supervisors' labels, whatever the threshold: the same answer under another name is no better.
        return found
    alone = [_automation(verdict, state)[0] is Automation.AUTO for verdict in (found, own)]
    return own if alone == [False, True] else found


def remembered(decision: Decision) -> CachedRoute:
    """What the exact cache keeps of a decision: no texts."""
    return CachedRoute(
        decision.ticket_id, decision.department, decision.topic, decision.raw_score, decision.confidence, decision.method.value,
        decision.alternatives,
        tuple(Neighbour(n.exemplar_id, n.department, n.topic, n.similarity, source=n.source) for n in decision.evidence),
    )


def _automation(verdict: Verdict, state: RoutingState) -> tuple[Automation, str]:
    thresholds = state.policy.thresholds_for(verdict.department)
    if verdict.method is Method.FALLBACK:
        return Automation.SUGGEST, ""
    if verdict.confidence >= thresholds.auto:
        reason = _held_back(verdict, state)
        return (Automation.PRESELECT, f"Held back for a click: {reason}.") if reason else (Automation.AUTO, "")
    return (Automation.PRESELECT if verdict.confidence >= thresholds.preselect else Automation.SUGGEST), ""


def _held_back(verdict: Verdict, state: RoutingState) -> str:
    """Why such answers are not routed alone, "" where they are. A repeat is as accurate as what it repeats, however good repeats are."""
    for method in dict.fromkeys((verdict.repeats or verdict.method.value, verdict.method.value)):
        gate = state.accuracy.gated(verdict.department, method, threshold=state.policy.accuracy_of(verdict.department))
        if gate.gated:
            return gate.reason
    return ""


def _scores(work: Work) -> Mapping[str, float]:
    if work.prediction is not None:
        return work.prediction.scores
    return {n.department: n.similarity for n in reversed(work.neighbours)}


def _alternatives(verdict: Verdict, scores: Mapping[str, float]) -> tuple[Candidate, ...]:
    """The decided department first; the others share what its confidence leaves, in proportion to their scores.

    What the language model would choose next comes second, and counts as much as the best of the others.
    """
    others = {name: max(0.0, score) for name, score in scores.items() if name != verdict.department}
    second = verdict.second if verdict.second != verdict.department else ""
    if second:
        others[second] = max(others.values(), default=0.0) or 1.0
    total = sum(others.values()) or 1.0
    left = 1.0 - verdict.confidence
    ranked = sorted(others.items(), key=lambda item: (item[0] != second, -item[1], item[0]))[: ALTERNATIVES - 1]
    # An alternative never looks surer than the decision itself.
    shared = (Candidate(name, min(verdict.confidence, left * score / total)) for name, score in ranked)
    return (Candidate(verdict.department, verdict.confidence), *shared)
