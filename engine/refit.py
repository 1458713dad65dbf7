"""When has enough been learned, or the policy changed so, that all should be fitted anew?"""
from __future__ import annotations

from collections.abc import Callable

from engine.domain import Policy, Stage
from engine.ports import DecisionLog, ModelStore, NewExemplars

FEWEST_NEW = 25
# A fit of many tickets takes long, and a few more change little.
NEW_SHARE = 0.05


def voting(policy: Policy) -> dict[str, object]:
    """How neighbours vote under this policy, if at all.

    The confidence of a cached answer is calibrated on votes held like that, the learned router's on the tickets they leave to it.
    """
    own = {name: limits.similarity for name, limits in sorted(policy.limits.items()) if limits.similarity is not None}
    asked = {"neighbours": policy.neighbours, "similarity": policy.similarity, "on": Stage.SEMANTIC in policy.stages}
    return asked | ({"similarity_of": own} if own else {})


class Refitter:
    """Fits anew, on one instance at a time. Between fits every instance takes new exemplars into its model at once."""

    def __init__(
        self, *, train: Callable[[], int], exemplars: NewExemplars, models: ModelStore, policy: Callable[[], Policy], embedder: str,
        log: DecisionLog,
    ) -> None:
        self._train = train
        self._exemplars = exemplars
        self._models = models
        self._policy = policy
        self._embedder = embedder
        self._log = log

    def due(self) -> bool:
        """True when enough exemplars came since the live model was fitted, or neighbours vote otherwise than they did then.

        Raises ServiceUnavailable.
        """
        number = self._models.live_number(embedder=self._embedder)
        if number is None:
            return False
        manifest = self._models.manifest(number)
        if manifest.get("voting") != voting(self._policy()):
            return True
        new = self._exemplars.count_since(manifest.get("newest_exemplar", 0))
        return new >= max(FEWEST_NEW, NEW_SHARE * manifest.get("exemplars", 0))

    def refit_when_due(self) -> int | None:
        """The new model's number, None when nothing is due or another instance is at it."""
        if not self.due():
            return None
        with self._models.alone() as mine:
            if not mine or not self.due():
                return None
            number = self._train()
        self._log.event("model_refitted", model=number)
        return number
