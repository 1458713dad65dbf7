"""The accuracy tracker kept in step with the labels in Postgres, and the evidence that thresholds are derived from."""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from threading import Lock

import numpy as np

from engine.accuracy import AccuracySnapshot, AccuracyTracker, ReviewedLabel
from engine.domain import Method, Policy
from engine.label_store import DrawnRow, LabelRow, LabelStore
from engine.ports import Clock
from engine.sampled import LOWEST_RATE, Stratum, review_probability, telling_rate
from engine.taken import Taken


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """Reviewed decisions that chance chose, one entry each; `weights` are inverse sampling rates.

    review_rates        what the policies that decided asked of those that go alone
    models, embedders   the versions that decided, one entry each
    retired, foreign    labels that `comparable` left out
    strata              at which rates decisions of this time were to be reviewed, whether they have a label or not
    """

    confidence: np.ndarray
    correct: np.ndarray
    departments: tuple[str, ...]
    methods: tuple[str, ...]
    actual: tuple[str, ...]
    weights: np.ndarray
    review_rates: np.ndarray
    models: tuple[str, ...]
    embedders: tuple[str, ...]
    retired: int = 0
    foreign: int = 0
    strata: tuple[Stratum, ...] = ()

    def __len__(self) -> int:
        return len(self.departments)

    def chosen(self, rows: np.ndarray) -> Evidence:
        """Only these rows (bool [n])."""
        names = ("departments", "methods", "actual", "models", "embedders")
        return replace(
            self, confidence=self.confidence[rows], correct=self.correct[rows], weights=self.weights[rows],
            review_rates=self.review_rates[rows],
            **{name: tuple(value for value, keep in zip(getattr(self, name), rows, strict=True) if keep) for name in names},
        )

    def comparable(self, live: Collection[str], *, embedder: str) -> Evidence:
        """What can speak for coming tickets: answers of this embedder's models that named a department that is still live.

        No ticket goes to a retired department again. A ticket that belonged to one and went elsewhere stays in: it is always
        a mistake, its like will come again, and leaving it out would make the answers seem better than they are. Models of the same embedder
        and earlier policies stay in: a refit comes with every few labels, and the shown confidence is calibrated anew
        with it. That it means the same under all of them is an assumption of whatever is derived.
        """
        known = np.array([name in live for name in self.departments], dtype=bool)
        same = np.array([name == embedder for name in self.embedders], dtype=bool)
        return replace(self.chosen(known & same), retired=int((~known).sum()), foreign=int((known & ~same).sum()))

    def telling(self) -> Evidence:
        """What thresholds rest on: without the policies that reviewed so few that all would be worth less; see `telling_rate`."""
        least = telling_rate(self.strata)
        strata = tuple(stratum for stratum in self.strata if stratum.review_rate >= least)
        return replace(self.chosen(self.review_rates >= least), strata=strata)

    def of_all_tickets(self) -> Evidence:
        """What shares of all tickets are counted from: without the policies that reviewed no sure ticket, whose labels are of doubtful ones
        alone. Everything where no policy reviewed any."""
        some = self.review_rates > 0.0
        return self.chosen(some) if some.any() else self

    @property
    def unheard(self) -> int:
        """How many decisions were to be reviewed with a chance under 1 while not one of these has a label; else 0."""
        return 0 if bool(np.any(self.weights > 1.0)) else sum(stratum.decisions for stratum in self.strata if stratum.rate < 1.0)

    def of_model(self, number: str) -> int:
        """How many of the labels are on answers of the model with this number."""
        return sum(name.partition("+")[0] == number for name in self.models)


class Tracking:
    """Reads new labels when there are some; `snapshot` is what the router uses.

    While every ticket is a demo ticket, demo labels are counted; from the first real ticket on only real ones are.
    """

    def __init__(self, store: LabelStore, *, clock: Clock, has_real_tickets: Callable[[], bool]) -> None:
        self._store = store
        self._clock = clock
        self._has_real_tickets = has_real_tickets
        self._lock = Lock()
        self._begin(demo=True)

    @property
    def demo(self) -> bool:
        """True while only demo labels are counted. Raises ServiceUnavailable."""
        with self._lock:
            return self._only_demo()

    @property
    def day(self) -> int:
        """The number of today's UTC day; a snapshot of another day differs, without any new label."""
        return self._clock().astimezone(UTC).toordinal()

    def snapshot(self) -> AccuracySnapshot:
        """Take the labels in that came since the last call, and return the counts as of now. Raises ServiceUnavailable."""
        with self._lock:
            rows = self._store.since(self._taken.after, demo=self._only_demo(), without=self._taken.without)
            # Asked before a newer one takes its place.
            self._lost = self._lost or bool(rows) and self._missing()
            for row in rows:
                self._tracker.record(_label(row))
            self._taken.add(row.id for row in rows)
            self._newest = max((self._newest, *rows), key=lambda row: row.id if row else 0)
            return self._tracker.snapshot(self._clock())

    def evidence(self) -> Evidence:
        """Every reviewed decision that counts, newest first. Raises ServiceUnavailable."""
        demo = self.demo
        rows = self._store.decisions(demo=demo)
        drawn = self._store.drawn(demo=demo, since=min(row.created_at for row in rows)) if rows else []
        return replace(_evidence(rows), strata=tuple(stratum for row in drawn for stratum in _strata(row)))

    def forget(self) -> None:
        """Count every label anew at the next `snapshot`: some that were counted are not stored any more."""
        with self._lock:
            self._begin(demo=True)

    def lost(self) -> bool:
        """True where the newest label that was counted is not stored any more, or its number is another's; until `forget`.

        Raises ServiceUnavailable.
        """
        with self._lock:
            return self._lost or self._missing()

    def _missing(self) -> bool:
        newest = self._newest
        return newest is not None and not self._store.holds(newest.id, ticket_id=newest.ticket_id, actual=newest.actual)

    def _only_demo(self) -> bool:
        if self._demo and self._has_real_tickets():
            self._begin(demo=False)
        return self._demo

    def _begin(self, *, demo: bool) -> None:
        self._demo, self._taken, self._tracker = demo, Taken(), AccuracyTracker()
        self._newest: LabelRow | None = None
        self._lost = False


def _label(row: LabelRow) -> ReviewedLabel:
    return ReviewedLabel(
        ticket_id=row.ticket_id, department=row.department, method=row.method, confidence=float(row.confidence),
        correct=row.actual == row.department, at=row.created_at, sampling_rate=max(LOWEST_RATE, row.review_probability), revision=row.id,
    )


def _evidence(rows: Sequence[LabelRow]) -> Evidence:
    return Evidence(
        confidence=np.array([float(row.confidence) for row in rows]),
        correct=np.array([row.actual_outcome == row.department for row in rows], dtype=bool),
        departments=tuple(row.department for row in rows),
        methods=tuple(row.method for row in rows),
        actual=tuple(row.actual_outcome for row in rows),
        weights=np.array([1 / max(LOWEST_RATE, row.review_probability) for row in rows]),
        review_rates=np.array([_policy(row).review_rate for row in rows]),
        models=tuple(row.model for row in rows),
        embedders=tuple(row.embedder for row in rows),
    )


def _strata(row: DrawnRow) -> Iterator[Stratum]:
    """A rate of nothing is left out: no label can speak for those tickets, and the pages say so."""
    policy = _policy(row)
    for alone, decisions in ((True, row.alone), (False, row.decisions - row.alone)):
        rate = review_probability(policy, Method(row.method), alone=alone)
        if decisions > 0 and rate > 0.0:
            yield Stratum(row.department, max(LOWEST_RATE, rate), decisions, policy.review_rate)


def _policy(row: DrawnRow | LabelRow) -> Policy:
    """The rates of the policy that decided; the built-in one is not stored."""
    return Policy() if row.review_rate is None else replace(Policy(), review_rate=row.review_rate, audit_rate=row.audit_rate)
