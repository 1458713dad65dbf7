"""Historical accuracy tracker (being written)."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    gated: bool
    reason: str

    def __bool__(self):
        return self.gated


class AccuracySnapshot:
    def gated(self, department, method, *, threshold, minimum=30):
        return Gate(False, "")


class AccuracyTracker:
    def snapshot(self, now):
        return AccuracySnapshot()
