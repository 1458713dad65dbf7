"""What the engine needs from the outside, as small Protocols. Adapters and `db` implement them; `bootstrap` joins them."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from engine.domain import Candidate, Decision, Department, Exemplar, Neighbour, Policy, Ticket, Topic
from engine.outcome import Chosen, Outcome, Overrule, Reviewed
from engine.standing import Standing

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


@dataclass(frozen=True, slots=True)
class Claim:
    """What the cache holds for one fingerprint: an answer, or `taken`: somebody is making it at the moment."""

    route: CachedRoute | None = None
    taken: bool = False


class Claims(Protocol):
    """Who is making the answer for a fingerprint at the moment. Raises ServiceUnavailable when the cache is away."""

    def claim(self, fingerprint: str, epoch: str, *, holder: str = "", seconds: float = 0.0) -> Claim:
        """What is held for it, and where that is nothing this holder is from now on making the answer, in one step.

        The claim ends with `put`, `remove`, `release` or after `seconds`. Without a holder it only looks.
        """

    def release(self, fingerprint: str, epoch: str, *, holder: str) -> None:
        """End this holder's claim; another's and an entry stay."""


class DecisionCache(Claims, Protocol):
    """Exact repeats. Every method raises ServiceUnavailable when the cache is away; the router counts that as a miss."""

    def get(self, fingerprints: Sequence[str], epoch: str) -> list[CachedRoute | None]:
        """None where there is no entry of this epoch."""

    def put(self, routes: Mapping[str, CachedRoute], epoch: str) -> None:
        """Keep entries by fingerprint, except those removed a few minutes ago."""

    def remove(self, fingerprint: str) -> None:
        """Remove a fingerprint's entry, whatever its epoch; an answer made before, anywhere, does not come back."""


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

    def stored(self, ids: Sequence[str]) -> dict[str, Ticket]:
        """Those of `ids` that are stored, by id; the body is empty where the text was removed, which a ticket's never is."""
        ...

    def find(self, ticket_id: str) -> tuple[Ticket, Decision]:
        """Raises NotFound."""

    def several(self, ids: Sequence[str]) -> dict[str, Decision]:
        """The decisions of those of these tickets that are stored, by ticket id."""
        ...


class TicketSpool(Protocol):
    """Where accepted tickets wait while the database is away."""

    def keep(self, ticket: Ticket) -> None:
        """Return when the ticket is safe. Raises NotAccepted."""


class OutcomeStore(Protocol):
    """Supervisors' labels and agents' choices."""

    def ticket(self, ticket_id: str) -> Ticket:
        """A ticket that a decision was stored for. Raises NotFound."""
        ...

    def label(
        self, outcome: Outcome, *, now: datetime, learn: bool = True, based_on: Standing | None = None,
        also: Callable[[Any, Reviewed], None] | None = None,
    ) -> Reviewed:
        """Store the label, `routing_accuracy`, with `learn` the exemplar, and what `also` does in one transaction. Raises NotFound,
        OutcomeRejected, and Conflict where the ticket does not stand any more as `based_on` says."""
        ...

    def overrule(
        self, overrule: Overrule, *, now: datetime, based_on: Standing | None = None, also: Callable[[Any, Chosen], None] | None = None
    ) -> Chosen:
        """Store it, with what `also` does, in one transaction. Raises as `label`."""
        ...


class VectorStore(Protocol):
    """The exemplars' vectors of the embedder it was made for."""

    def missing(self, *, limit: int) -> list[Exemplar]:
        """Active exemplars without a vector of this embedder."""

    def add_vectors(self, ids: Sequence[int], vectors: np.ndarray) -> None:
        """Give exemplars their vectors of this embedder; those removed meanwhile are left out."""

    def embedded(self) -> int:
        """How many active exemplars have a vector of this embedder."""


class NewExemplars(Protocol):
    """What came after a model was fitted."""

    def since(self, number: int, *, without: Sequence[int] = ()) -> tuple[list[Exemplar], np.ndarray]:
        """The first active exemplars after this one by id but those without, with their vectors."""
        ...

    def count_since(self, number: int) -> int:
        """How many active exemplars came after this one."""
        ...


class ExemplarStore(VectorStore, NewExemplars, Protocol):
    """What a model is fitted on."""

    def training_set(self) -> tuple[list[Exemplar], np.ndarray]:
        """All active exemplars in a stable order, with their vectors."""
        ...

    def contradicted(self) -> list[Exemplar]:
        """Labels of tickets that are no examples any more because a newer label of the same text, under the same taxonomy, says otherwise."""
        ...


class StoredModels(Protocol):
    """Trained models, shared by every instance."""

    def live_number(self, *, embedder: str) -> int | None:
        """The live model made for this embedder, if any."""
        ...

    def load(self, number: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and manifest of a stored model."""
        ...

    def manifest(self, number: int) -> dict[str, Any]:
        """The manifest alone."""
        ...


class ModelStore(StoredModels, Protocol):
    """Where a fit is stored."""

    def era(self) -> int:
        """How often all exemplars were replaced; asked before they are read for a fit."""
        ...

    def add(self, arrays: dict[str, np.ndarray], manifest: dict[str, Any], *, embedder: str, era: int) -> int | None:
        """Store a model, make it the live one, and return its number; None when its exemplars were replaced since `era`."""
        ...

    def alone(self) -> AbstractContextManager[bool]:
        """True inside the block for one instance at a time."""
        ...


class TaxonomyStore(Protocol):
    """Departments and topics."""

    def departments(self) -> list[Department]: ...

    def topics(self) -> list[Topic]: ...


class DecisionLog(Protocol):
    """One line per decision and event; never ticket text."""

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None:
        """A decision was stored, which took `store_ms` milliseconds (None where nobody measured)."""
        ...

    def event(self, name: str, **fields: object) -> None: ...


class PolicyStore(Protocol):
    """Numbered policies, one of them live."""

    def live(self) -> Policy:
        """The policy in force."""
        ...

    def find(self, number: int) -> Policy:
        """Raises NotFound."""
        ...

    def add(self, policy: Policy, *, author: str, reason: str, based_on: int | None = None) -> Policy:
        """Store under the next number and make it the live one.

        Raises Conflict when `based_on` is given and another policy is in force by now; nothing is changed then.
        """
        ...


class PolicyHistory(PolicyStore, Protocol):
    """The policies with everything that ever was in force."""

    def all(self) -> Sequence[Any]:
        """Every policy, newest first."""
        ...
