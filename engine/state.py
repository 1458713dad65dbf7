"""What routing needs to know at one moment: policy, departments, model and tracked accuracy, as one immutable value."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from engine.accuracy import AccuracySnapshot
from engine.domain import Department, Policy
from engine.model import RoutingModel


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingState:
    """A consistent view; routing takes one at the start of a ticket and uses it to the end.

    `versions` names policy, taxonomy, embedder and model. `model` is None before anything was learned. `database` tells the
    database that all of this comes from apart from others, whose versions may be the same.

    epoch   16 hex digits that change with any of the versions and with the database; cached answers of another epoch are not
            used. What a model took in after its fit does not count: single labels empty single entries, not the whole cache
    live    the names of the departments that a decision may name
    triage  the department that takes what nobody else can, if one is marked
    """

    policy: Policy
    departments: tuple[Department, ...]
    model: RoutingModel | None
    accuracy: AccuracySnapshot
    versions: dict[str, str]
    database: str
    epoch: str = field(init=False)
    live: frozenset[str] = field(init=False)
    triage: str | None = field(init=False)

    def __post_init__(self) -> None:
        fixed = self.versions | {"model": self.versions.get("model", "").partition("+")[0], "database": self.database}
        epoch = hashlib.blake2b(repr(sorted(fixed.items())).encode(), digest_size=8).hexdigest()
        object.__setattr__(self, "epoch", epoch)
        object.__setattr__(self, "live", frozenset(department.name for department in self.departments))
        object.__setattr__(self, "triage", next((d.name for d in self.departments if d.triage), None))


class StateSource(Protocol):
    """Where the router gets the state from; the engine's refresher keeps it current."""

    def current(self) -> RoutingState: ...
