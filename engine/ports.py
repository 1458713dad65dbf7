"""What the engine needs from the outside, as small Protocols. Adapters and `db` implement them; `bootstrap` joins them."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from engine.domain import Candidate, Decision, Department, Exemplar, Neighbour, Outcome, Overrule, Ticket, Topic

Clock = Callable[[], datetime]  # timezone-aware, UTC


class Embedder(Protocol):
    """Turns texts into unit vectors. `name` holds model and version: vectors of different names never mix."""

    name: str
    dimensions: int

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), dimensions], every row of length 1. Raises ServiceUnavailable."""
        ...


class ExemplarIndex(Protocol):
    """The nearest labelled tickets."""

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        """For each row the at most k nearest active exemplars, nearest first. Raises ServiceUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class CachedRoute:
    """What the exact cache keeps of an earlier decision."""

    ticket_id: str
    department: str
    topic: str
    raw_score: float
    confidence: float
    method: str
    alternatives: tuple[Candidate, ...]
    evidence: tuple[Neighbour, ...]


class DecisionCache(Protocol):
    """Exact repeats. Every method raises ServiceUnavailable when the cache is away; the router counts that as a miss."""

    def get(self, fingerprints: Sequence[str], epoch: str) -> list[CachedRoute | None]:
        """None where there is no entry of this epoch."""
        ...

    def put(self, routes: Mapping[str, CachedRoute], epoch: str) -> None:
        """Keep entries by fingerprint."""
        ...

    def remove(self, fingerprint: str) -> None:
        """Remove a fingerprint's entry, whatever its epoch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelAnswer:
    """A language model's answer; `department` is one of those asked for. `raw_confidence` in [0, 1] is its own word."""

    department: str
    raw_confidence: float
    reason: str
    second_choice: str
    prompt_version: str


class LanguageModel(Protocol):
    """Decides with retrieved exemplars and the departments' purposes as data."""

    name: str

    def decide(
        self, ticket: Ticket, *, departments: Sequence[Department], neighbours: Sequence[Neighbour], timeout: float
    ) -> LanguageModelAnswer | None:
        """None when the answer was unusable (counted by the adapter). `timeout` in seconds. Raises ServiceUnavailable."""
        ...


class DecisionStore(Protocol):
    """Tickets and decisions in Postgres. Raises ServiceUnavailable when the database is away."""

    def add(self, tickets: Sequence[Ticket], decisions: Sequence[Decision], fingerprints: Sequence[str]) -> None:
        """All of them in one transaction. Raises Conflict naming a ticket id that exists already."""
        ...

    def bodies(self, ids: Sequence[str]) -> dict[str, str]:
        """The stored bodies of those of `ids` that are stored, by id."""
        ...

    def find(self, ticket_id: str) -> tuple[Ticket, Decision]:
        """Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a stored label changed: the ticket's text and fingerprint, and whether the decision was right."""

    ticket: Ticket
    fingerprint: str
    predicted: str
    actual: str
    method: str
    topic: str

    @property
    def correct(self) -> bool:
        return self.predicted == self.actual


class OutcomeStore(Protocol):
    """Supervisors' labels and agents' overrules."""

    def label(self, outcome: Outcome, *, now: datetime) -> Reviewed:
        """Store the label and change `routing_accuracy` in the same transaction. Raises NotFound."""
        ...

    def overrule(self, overrule: Overrule, *, now: datetime) -> None:
        """Raises NotFound."""
        ...


class ExemplarStore(Protocol):
    """Writes exemplars and their vectors, for the embedder it was made for."""

    def add(self, exemplars: Sequence[Exemplar], vectors: np.ndarray) -> list[int]:
        """Store them with their vectors; their ids."""
        ...

    def clear(self) -> int:
        """Take all exemplars out of the neighbours; their number."""
        ...

    def remove_ticket(self, ticket_id: str) -> int:
        """Take every exemplar of this ticket out of the neighbours; their number."""
        ...

    def training_set(self) -> tuple[list[Exemplar], np.ndarray]:
        """All active exemplars in a stable order, with their vectors."""
        ...


class ModelStore(Protocol):
    """Trained models, shared by every instance."""

    def add(self, arrays: dict[str, np.ndarray], manifest: dict[str, Any], *, embedder: str) -> int:
        """Store a model, make it the live one, and return its number."""
        ...

    def live_number(self, *, embedder: str) -> int | None:
        """The live model made for this embedder, if any."""
        ...

    def load(self, number: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and manifest of a stored model."""
        ...


class TaxonomyStore(Protocol):
    """Departments and topics."""

    def departments(self) -> list[Department]: ...

    def topics(self) -> list[Topic]: ...

    def replace(self, new_departments: Sequence[Department], new_topics: Sequence[Topic]) -> None:
        """Make exactly these live; all others are retired."""
        ...


class DecisionLog(Protocol):
    """One line per decision and event; never ticket text."""

    def decision(self, ticket: Ticket, decision: Decision) -> None: ...

    def event(self, name: str, **fields: object) -> None: ...


@dataclass(frozen=True, slots=True)
class ChartWindow:
    """Decisions created from `start` (inclusive) to `end` (exclusive), both aware; demo tickets only with `demo`."""

    start: datetime
    end: datetime
    demo: bool = True
