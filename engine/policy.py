"""Policies: what may be set, what is nonsense, and thresholds that follow from a target accuracy."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engine import policy_words
from engine.accuracy import AccuracySnapshot
from engine.domain import Method, Policy, Stage, Thresholds
from engine.errors import PolicyRejected
from engine.intervals import wilson_weighted
from engine.ports import PolicyStore
from engine.risk import Basis, DepartmentThreshold, RiskCoverage, derive_per_department, risk_coverage
from engine.sampled import LOWEST_RATE, Stratum
from engine.sanitize import remark
from engine.tracking import Evidence

# `preselect` stays this far under a derived `auto`, so that doubtful tickets are still offered with one click.
PRESELECT_BELOW = 0.15
# Derived thresholds nearer to those in force are not worth a new policy.
NOTICEABLE = 0.005
# Who would have to answer; what a fallback shows is the learned router's confidence, so that is who would answer it.
_STAGES = {
    Method.CACHED: {Stage.EXACT, Stage.SEMANTIC}, Method.LEARNED: {Stage.LEARNED}, Method.RAG_LLM: {Stage.RAG_LLM},
    Method.FALLBACK: {Stage.LEARNED},
}
_UNIT = ("confidence", "accuracy", "similarity", "audit_rate", "review_rate")
REASON_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a policy would have meant for the reviewed decisions; shares are weighted to all decisions, in [0, 1].

    routed_alone   share that would go straight to the queue; see `effect`
    accuracy       of these, the share that was right; None when there are none
    interval       95% interval of `accuracy`; (0, 1) when there are none
    labels         reviewed decisions it is counted from
    """

    routed_alone: float
    accuracy: float | None
    interval: tuple[float, float] = (0.0, 1.0)
    labels: int


def checked(policy: Policy, departments: Collection[str]) -> Policy:
    """The policy itself. Raises PolicyRejected naming the field as its page does, the rule and the value when it is nonsense."""
    field_of = {name: f"“{title}”" for name, title in policy_words.FIELD.items()}
    for name in _UNIT:
        value = getattr(policy, name)
        if not 0.0 <= value <= 1.0:
            raise _refused(f"{field_of[name]}: must lie in [0, 1]; found {value}")
    for name in ("audit_rate", "review_rate"):
        if 0.0 < getattr(policy, name) < LOWEST_RATE:
            raise _refused(f"{field_of[name]}: 0, or at least {LOWEST_RATE:g}; found {getattr(policy, name):g}")
    if not 1 <= policy.neighbours <= 25:
        raise _refused(f"{field_of['neighbours']}: 1 to 25; found {policy.neighbours}")
    if not 0.1 <= policy.deadline <= 60:
        raise _refused(f"{field_of['deadline']}: 0.1 to 60 seconds; found {policy.deadline}")
    if policy.target_accuracy is not None and not 0.5 <= policy.target_accuracy < 1.0:
        raise _refused(f"{field_of['target_accuracy']}: at least 0.5 and under 1; found {policy.target_accuracy}")
    if not 0.0 < policy.delta < 0.5:
        raise _refused(f"{field_of['delta']}: more than 0 and under 0.5; found {policy.delta}")
    for name, thresholds in {"all departments": policy.thresholds, **policy.departments}.items():
        for field in ("auto", "preselect"):
            if not 0.0 <= getattr(thresholds, field) <= 1.0:
                raise _refused(f"{name}, {field_of[field]}: must lie in [0, 1]; found {getattr(thresholds, field)}")
        if thresholds.auto <= thresholds.preselect:
            raise _refused(
                f"{name}: {field_of['auto']} must be above {field_of['preselect']}; found {thresholds.auto:g} and {thresholds.preselect:g}"
            )
    for name, limits in policy.limits.items():
        for field in ("confidence", "accuracy", "similarity"):
            value = getattr(limits, field)
            if value is not None and not 0.0 <= value <= 1.0:
                raise _refused(f"{name}, {field_of[field]}: must lie in [0, 1]; found {value}")
    unknown = sorted({*policy.departments, *policy.limits} - set(departments))
    if unknown:
        raise _refused(f"{', '.join(unknown)} is not a live department")
    return policy


def derived(policy: Policy, evidence: Evidence, departments: Collection[str]) -> tuple[Policy, dict[str, DepartmentThreshold]]:
    """The policy with each department's `auto` derived from its target accuracy, and what every threshold rests on.

    A department for which nothing can be promised yet gets no threshold of its own: the policy's explicit ones hold.
    Without a target the policy comes back unchanged.
    """
    if policy.target_accuracy is None:
        return policy, {}
    evidence = evidence.telling()
    found = _promised(
        evidence.confidence.astype(np.float64).tobytes(), evidence.correct.astype(np.bool_).tobytes(),
        evidence.weights.astype(np.float64).tobytes(), evidence.departments, frozenset(departments),
        # How many decisions there are changes with each ticket, and thresholds do not rest on it.
        frozenset(replace(stratum, decisions=0) for stratum in evidence.strata), policy.target_accuracy, policy.delta,
    )
    found = {name: threshold for name, threshold in found.items() if name in departments}
    own = {
        name: Thresholds(auto=value, preselect=max(0.0, min(policy.thresholds.preselect, value - PRESELECT_BELOW)))
        for name, threshold in found.items()
        if threshold.basis is not Basis.NONE and (value := min(1.0, threshold.threshold.value)) > 0.0
    }
    return replace(policy.within(departments), departments=own), found


@lru_cache(maxsize=8)
def _promised(
    confidence: bytes, correct: bytes, weights: bytes, names: tuple[str, ...], departments: frozenset[str], strata: frozenset[Stratum],
    target: float, delta: float,
) -> dict[str, DepartmentThreshold]:
    """As `derive_per_department`. Pages ask at every click, and where many departments lack labels one answer takes seconds."""
    return derive_per_department(
        np.frombuffer(confidence), np.frombuffer(correct, dtype=np.bool_), names, target=target, delta=delta,
        weights=np.frombuffer(weights), known=departments, strata=strata,
    )


def overdue(
    live: Policy, evidence: Evidence, departments: Collection[str]
) -> dict[str, tuple[Thresholds | None, Thresholds | None]]:
    """Departments whose threshold would be another if it were derived now: what is in force and what would be.

    None stands for the policy's explicit thresholds. Empty without a target: thresholds that a manager entered do not age.
    A policy never moves by itself; these changes are offered, and become a policy of their own when somebody applies them.
    """
    if live.target_accuracy is None:
        return {}
    fresh, _ = derived(live, evidence, departments)
    pairs = {name: (live.departments.get(name), fresh.departments.get(name)) for name in sorted({*live.departments, *fresh.departments})}
    return {
        name: (old, new) for name, (old, new) in pairs.items()
        if old is None or new is None or abs(old.auto - new.auto) >= NOTICEABLE
    }


def effect(policy: Policy, evidence: Evidence, *, accuracy: AccuracySnapshot | None = None) -> Effect:
    """What the policy would have routed alone, and how accurately, among the reviewed decisions.

    Routed alone is what reaches both its department's `auto` and the confidence from which a stage may answer, where a stage
    that may answer it is on, and where `accuracy` (the tracked one, if given) does not hold the department and method back.
    A decision by fallback counts as the learned router would answer it then: its confidence is that router's.
    """
    evidence = evidence.of_all_tickets()
    if not len(evidence):
        return Effect(routed_alone=0.0, accuracy=None, labels=0)
    limits = np.array([max(policy.thresholds_for(name).auto, policy.answers_at(name)) for name in evidence.departments])
    alone = (evidence.confidence >= limits) & _open(policy, evidence, accuracy=accuracy)
    weights, correct = evidence.weights[alone], evidence.correct[alone]
    total, right = float(weights.sum()), float(weights[correct].sum())
    return Effect(
        routed_alone=total / float(evidence.weights.sum()),
        accuracy=right / total if total else None,
        interval=wilson_weighted(min(right, total), total, squared_weight=float((weights * weights).sum())),
        labels=len(evidence),
    )


def curve(policy: Policy, evidence: Evidence, *, accuracy: AccuracySnapshot | None = None) -> RiskCoverage:
    """What every possible threshold would have routed alone, were it the same for all departments.

    What a stage that is off or the gate holds back (as in `effect`) is never routed alone, however sure, but counts among all
    tickets: the last `coverage` is the share that is not held back. The policy's own thresholds play no part.
    """
    evidence = evidence.of_all_tickets()
    free = _open(policy, evidence, accuracy=accuracy)
    found = risk_coverage(evidence.confidence[free], evidence.correct[free], weights=evidence.weights[free])
    share = float(evidence.weights[free].sum()) / float(evidence.weights.sum()) if free.any() else 0.0
    return replace(found, coverage=found.coverage * share)


def _open(policy: Policy, evidence: Evidence, *, accuracy: AccuracySnapshot | None) -> npt.NDArray[np.bool_]:
    """Which decisions neither a stage that is off nor the gate holds back, [n]."""
    pairs = list(zip(evidence.departments, evidence.methods, strict=True))
    open_to = {pair: _may_route_alone(policy, *pair, accuracy=accuracy) for pair in set(pairs)}
    return np.array([open_to[pair] for pair in pairs], dtype=bool)


def _may_route_alone(policy: Policy, department: str, method: str, *, accuracy: AccuracySnapshot | None) -> bool:
    if not _STAGES[Method(method)] & policy.stages:
        return False
    answering = Method.LEARNED if method == Method.FALLBACK else Method(method)
    return accuracy is None or not accuracy.gated(department, answering.value, threshold=policy.accuracy_of(department)).gated


def changes(old: Policy, new: Policy) -> Mapping[str, tuple[object, object]]:
    """The fields in which two policies differ, with both values."""
    fields = [name for name in Policy.__dataclass_fields__ if name != "number"]
    return {name: (getattr(old, name), getattr(new, name)) for name in fields if getattr(old, name) != getattr(new, name)}


def save(
    policy: Policy, store: PolicyStore, *, departments: Collection[str], author: str, reason: str, based_on: int | None = None
) -> Policy:
    """Check a policy and make it the live one under a new number.

    Raises PolicyRejected, and Conflict when `based_on` is given and the policy of that number is no longer in force; nothing
    is changed then.
    """
    text = remark(reason, maximum=20 * REASON_MAX)
    if not 3 <= len(text) <= REASON_MAX:
        raise _refused(f"reason: 3 to {REASON_MAX} characters, so that others can follow; found {len(text)}")
    return store.add(checked(policy, departments), author=author, reason=text, based_on=based_on)


def restore(number: int, store: PolicyStore, *, departments: Collection[str], author: str, based_on: int | None = None) -> Policy:
    """Make an earlier policy's content the live one again, as a new policy; 0 stands for the built-in defaults. Raises NotFound, and
    as `save` does."""
    return save(
        store.find(number).within(departments), store, departments=departments, author=author, reason=f"Back to {policy_words.name(number)}.",
        based_on=based_on,
    )


def _refused(message: str) -> PolicyRejected:
    return PolicyRejected(f"{message}. The live policy was not changed.")
