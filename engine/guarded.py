"""The ports of outside services behind their breakers and limits; the router sees the same Protocols."""
from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np

from engine.breaker import Breaker, ServiceState
from engine.domain import Department, Neighbour, Ticket
from engine.ports import CachedRoute, Claim, DecisionCache, Embedder, ExemplarIndex, LanguageModel, LanguageModelAnswer
from engine.ratelimit import Counter
from engine.resilience import Deadline, Limits, Service

# Seconds for each row of a batch after the first.
A_ROW = 0.03


class Services:
    """Makes the doors to the outside services and knows the state of all of them."""

    def __init__(
        self, *, stopwatch: Callable[[], float], clock: Callable[[], datetime], sleep: Callable[[float], None],
        chance: random.Random,
    ) -> None:
        self._stopwatch = stopwatch
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._breakers: dict[str, Breaker] = {}

    def breaker(self, name: str, *, failures: int = 3, pause: float = 1.0, longest: float = 30.0) -> Breaker:
        """A new breaker under this name."""
        self._breakers[name] = self._breaker(name, failures=failures, pause=pause, longest=longest)
        return self._breakers[name]

    def service(self, name: str, *, limits: Limits, failures: int = 3, pause: float = 1.0, longest: float = 30.0) -> Service:
        """A new door under this name, with a breaker of its own."""
        return self._service(self.breaker(name, failures=failures, pause=pause, longest=longest), limits)

    def side_door(self, name: str, *, limits: Limits, longest: float) -> Service:
        """Another door to the service of this name, whose failures are none of the first one's and stand in no state."""
        return self._service(self._breaker(name, failures=3, pause=1.0, longest=longest), limits)

    def deadline(self, seconds: float) -> Deadline:
        """A deadline that far from now."""
        return Deadline.after(seconds, stopwatch=self._stopwatch)

    def states(self) -> dict[str, ServiceState]:
        """Every service's state, by name."""
        return {name: breaker.state() for name, breaker in self._breakers.items()}

    def probe_now(self, name: str) -> None:
        """End the pause of a service, if it has one."""
        if name in self._breakers:
            self._breakers[name].probe_now()

    def _breaker(self, name: str, *, failures: int, pause: float, longest: float) -> Breaker:
        return Breaker(
            name, stopwatch=self._stopwatch, clock=self._clock, chance=self._chance, failures=failures, pause=pause, longest=longest
        )

    def _service(self, breaker: Breaker, limits: Limits) -> Service:
        return Service(breaker.service, breaker=breaker, limits=limits, stopwatch=self._stopwatch, sleep=self._sleep, chance=self._chance)


class GuardedCache:
    """A DecisionCache that is left alone while it fails."""

    def __init__(self, cache: DecisionCache, service: Service) -> None:
        self._cache = cache
        self._service = service

    def get(self, fingerprints: Sequence[str], epoch: str) -> list[CachedRoute | None]:
        return self._service.call(lambda _: self._cache.get(fingerprints, epoch))

    def put(self, routes: Mapping[str, CachedRoute], epoch: str) -> None:
        self._service.call(lambda _: self._cache.put(routes, epoch))

    def remove(self, fingerprint: str) -> None:
        self._service.call(lambda _: self._cache.remove(fingerprint))

    def claim(self, fingerprint: str, epoch: str, *, holder: str = "", seconds: float = 0.0) -> Claim:
        return self._service.call(lambda _: self._cache.claim(fingerprint, epoch, holder=holder, seconds=seconds))

    def release(self, fingerprint: str, epoch: str, *, holder: str) -> None:
        self._service.call(lambda _: self._cache.release(fingerprint, epoch, holder=holder))


class GuardedCounter:
    """A Counter that is left alone while its server fails: nobody waits for a limit that could not be counted anyway.

    By a door of its own: a server that may not count, or has no room to, still answers from what it keeps.
    """

    def __init__(self, counter: Counter, service: Service) -> None:
        self._counter = counter
        self._service = service

    def add(self, name: str, *, amount: int, seconds: int) -> int:
        return self._service.call(lambda _: self._counter.add(name, amount=amount, seconds=seconds))


class GuardedIndex:
    """An ExemplarIndex that answers within its limits or not at all."""

    def __init__(self, index: ExemplarIndex, service: Service) -> None:
        self._index = index
        self._service = service

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        more = A_ROW * max(0, len(vectors) - 1)
        return self._service.call(lambda _: self._index.nearest(vectors, k), more=more)


class CountedIndex:
    """An ExemplarIndex inside the database, whose breaker stands before it: calls and failures are counted, none is refused."""

    def __init__(self, index: ExemplarIndex, counts: Breaker) -> None:
        self._index = index
        self._counts = counts

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        self._counts.before()
        try:
            found = self._index.nearest(vectors, k)
        except Exception as error:
            self._counts.failed(error)
            raise
        self._counts.succeeded()
        return found


class GuardedEmbedder:
    """An Embedder over the network that answers within its limits or not at all."""

    def __init__(self, embedder: Embedder, service: Service) -> None:
        self.name = embedder.name
        self.dimensions = embedder.dimensions
        self._embedder = embedder
        self._service = service

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return self._service.call(lambda _: self._embedder.embed(texts))


class GuardedLanguageModel:
    """A LanguageModel that keeps the deadline, retries what is retryable, and is left alone while it fails."""

    def __init__(self, model: LanguageModel, service: Service, *, deadline: Callable[[float], Deadline]) -> None:
        self.name = model.name
        self._model = model
        self._service = service
        self._deadline = deadline

    def decide(
        self, ticket: Ticket, *, departments: Sequence[Department], neighbours: Sequence[Neighbour], timeout: float
    ) -> LanguageModelAnswer | None:
        """As the model's own, within `timeout` seconds whatever the model does, retries and waiting for a place included."""
        return self._service.call(
            lambda seconds: self._model.decide(ticket, departments=departments, neighbours=neighbours, timeout=seconds),
            deadline=self._deadline(timeout),
        )
