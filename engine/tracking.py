"""The accuracy tracker kept in step with the labels in Postgres, and the evidence that thresholds are derived from."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from engine.accuracy import AccuracySnapshot, AccuracyTracker, ReviewedLabel
from engine.ports import Clock, LabelRow, LabelStore

_LOWEST_RATE = 1e-3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """Reviewed decisions that chance chose, one entry each; `weights` are inverse sampling rates."""

    confidence: np.ndarray
    correct: np.ndarray
    departments: tuple[str, ...]
    methods: tuple[str, ...]
    actual: tuple[str, ...]
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.departments)


class Tracking:
    """Reads new labels when there are some; `snapshot` is what the router uses.

    While every ticket is a demo ticket, demo labels are counted; from the first real ticket on only real ones are.
    """

    def __init__(self, store: LabelStore, *, clock: Clock, has_real_tickets: Callable[[], bool]) -> None:
        self._store = store
        self._clock = clock
        self._has_real_tickets = has_real_tickets
        self._lock = Lock()
        self._demo = True
        self._seen = 0
        self._tracker = AccuracyTracker()

    @property
    def demo(self) -> bool:
        """True while only demo labels are counted."""
        return self._demo

    def snapshot(self) -> AccuracySnapshot:
        """Take the labels in that came since the last call, and return the counts as of now. Raises ServiceUnavailable."""
        with self._lock:
            if self._demo and self._has_real_tickets():
                self._demo, self._seen, self._tracker = False, 0, AccuracyTracker()
            for row in self._store.since(self._seen, demo=self._demo):
                self._tracker.record(_label(row))
                self._seen = row.id
            return self._tracker.snapshot(self._clock())

    def evidence(self) -> Evidence:
        """Every reviewed decision that counts, newest first. Raises ServiceUnavailable."""
        return _evidence(self._store.decisions(demo=self._demo))


def _label(row: LabelRow) -> ReviewedLabel:
    return ReviewedLabel(
        ticket_id=row.ticket_id, department=row.department, method=row.method, confidence=float(row.confidence),
        correct=row.actual == row.department, at=row.created_at, sampling_rate=max(_LOWEST_RATE, row.review_probability), revision=row.id,
    )


def _evidence(rows: Sequence[LabelRow]) -> Evidence:
    return Evidence(
        confidence=np.array([float(row.confidence) for row in rows]),
        correct=np.array([row.actual_outcome == row.department for row in rows], dtype=bool),
        departments=tuple(row.department for row in rows),
        methods=tuple(row.method for row in rows),
        actual=tuple(row.actual_outcome for row in rows),
        weights=np.array([1 / max(_LOWEST_RATE, row.review_probability) for row in rows]),
    )
