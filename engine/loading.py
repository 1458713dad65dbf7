"""Builds the routing state from the stores, and says cheaply whether it must be built anew."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.model import RoutingModel
from engine.ports import ExemplarStore, LabelStore, ModelStore, PolicyStore, TaxonomyStore
from engine.state import RoutingState
from engine.tracking import Tracking

WATCHED = ("taxonomy", "policy", "model", "cache", "exemplars")


class StateLoader:
    """`versions` reads the shared counters, which every change raises."""

    def __init__(
        self,
        *,
        policies: PolicyStore,
        models: ModelStore,
        taxonomy: TaxonomyStore,
        exemplars: ExemplarStore,
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
        self._exemplars = exemplars
        self._model: RoutingModel | None = None
        self._newest = 0

    def stamp(self) -> tuple[int, ...]:
        """Changes when a state built now would differ from one built before. Raises ServiceUnavailable."""
        versions = self._versions()
        return (self._labels.newest(), *(versions.get(name, 0) for name in WATCHED))

    def load(self) -> RoutingState:
        """The state as of now; the model's arrays are read only when its number has changed. Raises ServiceUnavailable."""
        policy, number = self._policies.live(), self._models.live_number(embedder=self._embedder)
        if number is None:
            self._model = None
        else:
            self._take_in(number)
        return RoutingState(
            policy=policy,
            departments=tuple(self._taxonomy.departments()),
            model=self._model,
            accuracy=self._tracking.snapshot(),
            versions={
                "policy": str(policy.number),
                "taxonomy": str(self._versions().get("taxonomy", 0)),
                "embedder": self._embedder,
                "model": self._model.version if self._model else "0",
                **({"cache": str(emptied)} if (emptied := self._versions().get("cache", 0)) else {}),
            },
        )

    def _take_in(self, number: int) -> None:
        """Load the model where it is another one, and add the exemplars that came after its fit."""
        if self._model is None or self._model.number != number:
            arrays, manifest = self._models.load(number)
            self._model, self._newest = RoutingModel.from_arrays(number, arrays, manifest), manifest.get("newest_exemplar", 0)
        fresh, vectors = self._exemplars.since(self._newest)
        if fresh:
            self._model, self._newest = self._model.refreshed(fresh, vectors), fresh[-1].id
