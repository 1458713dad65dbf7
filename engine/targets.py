"""What the figures on the dashboard are held against. Shares lie in [0, 1], times are milliseconds."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from engine.alert_rules import SHIPPED, Rule

ACCURACY_GOAL = 0.90
# What a ticket may take at the 95th percentile: the mean over all methods must stay under 5 s.
P95_MS = {"cached": 100.0, "learned": 250.0, "rag_llm": 5_000.0, "fallback": 250.0}
# No rule watches these.
P50_MS, P95_ALL_MS = 100.0, 1_000.0
OPEN_ALERTS = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Where an alert rule watches a figure, its target is where the (first) warning opens, whether the rule is on or off.

    p50_ms, p95_ms, p99_ms   the last one is what the mean must stay under; the others are never above it
    """

    hit_rate: float
    false_hit_rate: float
    accuracy: float
    waiting: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, rules: Iterable[Rule] = SHIPPED) -> Self:
        """The targets that follow from these rules, as managers have changed them."""
        opens = {rule.name: rule.threshold for rule in rules}
        slow = 1000 * opens["processing_warning"]
        return cls(
            hit_rate=opens["hit_rate_warning"], false_hit_rate=opens["false_hits"], accuracy=opens["accuracy"], waiting=opens["tickets_waiting"],
            p50_ms=min(P50_MS, slow), p95_ms=min(P95_ALL_MS, slow), p99_ms=slow,
        )
