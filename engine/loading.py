"""Builds the routing state from the stores, and says cheaply whether it must be built anew."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.model import RoutingModel
from engine.ports import LabelStore, ModelStore, PolicyStore, TaxonomyStore
from engine.state import RoutingState
from engine.tracking import Tracking

WATCHED = ("taxonomy", "policy", "model")


class StateLoader:
    """`versions` reads the shared counters, which every change raises."""

    def __init__(
        self,
        *,
        policies: PolicyStore,
        models: ModelStore,
        taxonomy: TaxonomyStore,
        labels: LabelStore,
        tracking: Tracking,
        versions: Callable[[], Mapping[str, int]],
        embedder: str,
    ) -> None:
        self._policies = policies
        self._models = models
        self._taxonomy = taxonomy
        self._labels = labels
        self._tracking = tracking
        self._versions = versions
        self._embedder = embedder
        self._model: RoutingModel | None = None

    def stamp(self) -> tuple[int, ...]:
        """Changes when a state built now would differ from one built before. Raises ServiceUnavailable."""
        versions = self._versions()
        return (self._labels.newest(), *(versions.get(name, 0) for name in WATCHED))

    def load(self) -> RoutingState:
        """The state as of now; the model's arrays are read only when its number has changed. Raises ServiceUnavailable."""
        policy, number = self._policies.live(), self._models.live_number(embedder=self._embedder)
        if number is None:
            self._model = None
        elif self._model is None or self._model.number != number:
            self._model = RoutingModel.from_arrays(number, *self._models.load(number))
        return RoutingState(
            policy=policy,
            departments=tuple(self._taxonomy.departments()),
            model=self._model,
            accuracy=self._tracking.snapshot(),
            versions={
                "policy": str(policy.number),
                "taxonomy": str(self._versions().get("taxonomy", 0)),
                "embedder": self._embedder,
                "model": str(number or 0),
            },
        )
