"""What routing needs to know at one moment: policy, departments, model and tracked accuracy, as one immutable value."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from engine.accuracy import AccuracySnapshot
from engine.domain import Department, Policy
from engine.model import RoutingModel


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingState:
    """A consistent view; routing takes one at the start of a ticket and uses it to the end.

    `versions` names policy, taxonomy, embedder and model. `model` is None before anything was learned.
    """

    policy: Policy
    departments: tuple[Department, ...]
    model: RoutingModel | None
    accuracy: AccuracySnapshot
    versions: dict[str, str]

    @property
    def epoch(self) -> str:
        """16 hex digits that change with any of the versions; cached answers of another epoch are not used.

        What a model took in after its fit does not count: single labels empty single entries, not the whole cache.
        """
        fixed = self.versions | {"model": self.versions.get("model", "").partition("+")[0]}
        return hashlib.blake2b(repr(sorted(fixed.items())).encode(), digest_size=8).hexdigest()

    @property
    def live(self) -> frozenset[str]:
        """The names of the departments that a decision may name."""
        return frozenset(department.name for department in self.departments)

    @property
    def triage(self) -> str | None:
        """The department that takes what nobody else can, if one is marked."""
        return next((d.name for d in self.departments if d.triage), None)


class StateSource(Protocol):
    """Where the router gets the state from; the engine's refresher keeps it current."""

    def current(self) -> RoutingState: ...
