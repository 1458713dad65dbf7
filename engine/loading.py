"""Builds the routing state from the stores, and says cheaply whether it must be built anew."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.model import RoutingModel
from engine.ports import DecisionLog, NewExemplars, PolicyStore, StoredModels, TaxonomyStore
from engine.state import RoutingState
from engine.taken import Taken
from engine.tracking import Tracking

LABELS = "labels"
WATCHED = ("taxonomy", "policy", "model", "cache", "exemplars", LABELS)


class StateLoader:
    """`versions` reads the shared counters, which every change raises; `database` tells the stores' database from others."""

    def __init__(
        self,
        *,
        policies: PolicyStore,
        models: StoredModels,
        taxonomy: TaxonomyStore,
        exemplars: NewExemplars,
        tracking: Tracking,
        versions: Callable[[], Mapping[str, int]],
        embedder: str,
        database: str,
        log: DecisionLog,
    ) -> None:
        self._policies = policies
        self._models = models
        self._taxonomy = taxonomy
        self._tracking = tracking
        self._versions = versions
        self._embedder = embedder
        self._database = database
        self._exemplars = exemplars
        self._log = log
        self._unreadable: int | None = None
        self._counted: Mapping[str, int] = {}
        self._model: RoutingModel | None = None
        self._taken = Taken()

    def stamp(self) -> tuple[int, ...]:
        """Changes when a state built now would differ from one built before. Raises ServiceUnavailable."""
        versions = self._versions()
        # What the tracker counts lately fades with the days, whether labels come or not.
        return (self._tracking.demo, self._tracking.day, *(versions.get(name, 0) for name in WATCHED))

    def load(self) -> RoutingState:
        """The state as of now; the model's arrays are read only when its number has changed. Raises ServiceUnavailable."""
        self._begin_anew_when_data_went_back()
        policy, number = self._policies.live(), self._models.live_number(embedder=self._embedder)
        if number is None:
            self._model = None
        else:
            self._take_in(number)
        departments = tuple(self._taxonomy.departments())
        # Between a change of the departments and the model that learns them: what knows none of them has no say, and the
        # ticket goes on without.
        model = self._model if self._model and self._model.knows(d.name for d in departments) else None
        return RoutingState(
            policy=policy,
            departments=departments,
            model=model,
            accuracy=self._tracking.snapshot(),
            database=self._database,
            versions={
                "policy": str(policy.number),
                "taxonomy": str(self._versions().get("taxonomy", 0)),
                "embedder": self._embedder,
                "model": model.version if model else "0",
                **({"cache": str(emptied)} if (emptied := self._versions().get("cache", 0)) else {}),
            },
        )

    def _begin_anew_when_data_went_back(self) -> None:
        """Forget what was taken in where a counter, which only ever rises, is lower than before, or the newest label is gone.

        A standby that lacked the primary's last moments was promoted. What was lost must not count here alone, and its numbers
        may be given again to rows that would seem taken in. Others may have labelled as much as was lost before anybody looks here.
        """
        counted = self._versions()
        lower = sorted(name for name, before in self._counted.items() if counted.get(name, 0) < before)
        if not lower and self._tracking.lost():
            lower = [LABELS]
        if lower:
            self._tracking.forget()
            self._model, self._taken, self._unreadable = None, Taken(), None
            self._log.event("data_went_back", counters=lower)
        self._counted = counted

    def _take_in(self, number: int) -> None:
        """Load the model where it is another one and can be read, and add the exemplars that came after the fit."""
        if (self._model is None or self._model.number != number) and self._unreadable != number:
            arrays, manifest = self._models.load(number)
            try:
                self._model, self._taken = RoutingModel.from_arrays(number, arrays, manifest), _rests_on(manifest)
            except (KeyError, ValueError) as error:
                # Another version of the product has fitted it. The model before stays, and all else is followed.
                self._unreadable = number
                self._log.event("model_unreadable", model=number, error=type(error).__name__)
        if self._model is None:
            return
        fresh, vectors = self._exemplars.since(self._taken.after, without=self._taken.without)
        if fresh:
            self._model = self._model.refreshed(fresh, vectors)
            self._taken.add(exemplar.id for exemplar in fresh)


def _rests_on(manifest: Mapping[str, Any]) -> Taken:
    """The exemplars that a model was fitted on. Models of earlier versions name the newest one alone."""
    recent = manifest.get("recent_exemplars")
    return Taken(floor=manifest.get("newest_exemplar", 0)) if recent is None else Taken(recent)
