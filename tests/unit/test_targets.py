"""The dashboard's targets are where the alert rules open, as managers have changed them."""
from __future__ import annotations

from engine.alert_rules import SHIPPED
from engine.targets import Targets


def edited(**thresholds: tuple[float, float]) -> list[object]:
    return [
        rule.edited({"threshold": thresholds[rule.name][0], "clear": thresholds[rule.name][1]}) if rule.name in thresholds else rule
        for rule in SHIPPED
    ]


def test_the_shipped_rules_give_the_shipped_targets() -> None:
    found = Targets.of(SHIPPED)
    assert (found.hit_rate, found.false_hit_rate, found.accuracy, found.waiting) == (0.25, 0.01, 0.85, 100)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (100, 1_000, 5_000)


def test_a_changed_rule_changes_its_target_and_no_percentile_aims_above_the_next() -> None:
    found = Targets.of(edited(
        hit_rate_warning=(0.4, 0.45), false_hits=(0.008, 0.005), accuracy=(0.9, 0.92), tickets_waiting=(20, 10), processing_warning=(0.5, 0.4),
    ))
    assert (found.hit_rate, found.false_hit_rate, found.accuracy, found.waiting) == (0.4, 0.008, 0.9, 20)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (100, 500, 500)
