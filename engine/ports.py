"""What the engine needs from the outside, as small Protocols. Adapters and `db` implement them; `bootstrap` joins them."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from engine.domain import Candidate, Decision, Department, Exemplar, Neighbour, Outcome, Overrule, Policy, Ticket, Topic

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """`instructions` are ours, `data` is JSON with what strangers wrote, `schema` the answer's; `version` names the wording."""

    instructions: str
    data: str
    schema: dict[str, Any]
    version: str


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


class TicketSpool(Protocol):
    """Where accepted tickets wait while the database is away."""

    def keep(self, ticket: Ticket) -> None:
        """Return when the ticket is safe. Raises NotAccepted."""


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

    def add(self, exemplars: Sequence[Exemplar], vectors: np.ndarray | None) -> list[int]:
        """Store them with their vectors, or without until `add_vectors`; their ids."""
        ...

    def clear(self) -> int:
        """Take all exemplars out of the neighbours; their number."""
        ...

    def remove_ticket(self, ticket_id: str) -> int:
        """Take every exemplar of this ticket out of the neighbours; their number."""
        ...

    def missing(self, *, limit: int) -> list[Exemplar]:
        """Active exemplars without a vector of this embedder."""

    def add_vectors(self, ids: Sequence[int], vectors: np.ndarray) -> None:
        """Give exemplars their vectors of this embedder; those removed meanwhile are left out."""

    def embedded(self) -> int:
        """How many active exemplars have a vector of this embedder."""

    def training_set(self) -> tuple[list[Exemplar], np.ndarray]:
        """All active exemplars in a stable order, with their vectors."""
        ...

    def since(self, number: int) -> tuple[list[Exemplar], np.ndarray]:
        """The first active exemplars after this one by id, with their vectors."""
        ...

    def count_since(self, number: int) -> int:
        """How many active exemplars came after this one."""
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

    def manifest(self, number: int) -> dict[str, Any]:
        """The manifest alone."""
        ...

    def alone(self) -> AbstractContextManager[bool]:
        """True inside the block for one instance at a time."""
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

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None:
        """A decision was stored, which took `store_ms` milliseconds (None where nobody measured)."""
        ...

    def event(self, name: str, **fields: object) -> None: ...



class LabelRow(Protocol):
    """A reviewed decision; `id` and `actual` belong to a label, `actual_outcome` to a decision's newest label."""

    id: int
    ticket_id: str
    department: str
    method: str
    confidence: float
    actual: str
    actual_outcome: str
    created_at: datetime
    review_probability: float


class LabelStore(Protocol):
    """Reviewed decisions that chance put into the review queue."""

    def newest(self) -> int:
        """The number of the newest label, 0 without any."""
        ...

    def since(self, number: int, *, demo: bool) -> Sequence[LabelRow]:
        """Labels after this one, in their order."""
        ...

    def decisions(self, *, demo: bool) -> Sequence[LabelRow]:
        """The newest reviewed decisions, newest first."""
        ...


class PolicyStore(Protocol):
    """Numbered policies, one of them live."""

    def live(self) -> Policy:
        """The policy in force."""
        ...

    def find(self, number: int) -> Policy:
        """Raises NotFound."""
        ...

    def add(self, policy: Policy, *, author: str, reason: str) -> Policy:
        """Store under the next number and make it the live one."""
        ...


class PolicyHistory(PolicyStore, Protocol):
    """The policies with everything that ever was in force."""

    def all(self) -> Sequence[Any]:
        """Every policy, newest first."""
        ...
