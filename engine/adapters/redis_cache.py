"""The exact cache over the Redis protocol: Valkey, Redis or a cluster."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import redis

from engine.domain import Candidate, Neighbour
from engine.errors import ServiceUnavailable
from engine.ports import CachedRoute

PREFIX = "route"
# On the ticket's path: a slow cache must cost less than what it saves.
TIMEOUT = 0.25


class RedisCache:
    """One entry for each fingerprint, with the epoch inside: an entry of another epoch is a miss and is overwritten.

    With the epoch in the key, a correction would have to find the entries of all epochs, or going back to an earlier
    policy would bring the wrong answer back.
    """

    def __init__(self, url: str, *, ttl: int = 3600) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, decode_responses=True, health_check_interval=0
        )
        self._ttl = ttl

    def get(self, fingerprints: Sequence[str], epoch: str) -> list[CachedRoute | None]:
        """The entries of these fingerprints, None where there is none of this epoch."""
        with _translated():
            return [_decoded(value, epoch) for value in self._client.mget([f"{PREFIX}:{print_}" for print_ in fingerprints])]

    def put(self, routes: Mapping[str, CachedRoute], epoch: str) -> None:
        """Keep these entries, by fingerprint, for the time to live."""
        with _translated():
            pipeline = self._client.pipeline(transaction=False)
            for print_, route in routes.items():
                pipeline.set(f"{PREFIX}:{print_}", _encoded(route, epoch), ex=self._ttl)
            pipeline.execute()

    def remove(self, fingerprint: str) -> None:
        """Remove a fingerprint's entry, whatever its epoch."""
        with _translated():
            self._client.delete(f"{PREFIX}:{fingerprint}")

    def ping(self) -> str:
        """The server's version. Raises ServiceUnavailable."""
        with _translated():
            info = self._client.info("server")
            return f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info.get('redis_version')}"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise ServiceUnavailable("cache", str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _encoded(route: CachedRoute, epoch: str) -> str:
    return json.dumps(
        [
            epoch, route.ticket_id, route.department, route.topic, route.raw_score, route.confidence, route.method,
            [[c.department, c.confidence] for c in route.alternatives],
            [[n.exemplar_id, n.department, n.topic, n.similarity, n.source] for n in route.evidence],
        ],
        ensure_ascii=False,
    )


def _decoded(value: str | None, epoch: str) -> CachedRoute | None:
    if value is None:
        return None
    try:
        found, ticket_id, department, topic, raw_score, confidence, method, alternatives, evidence = json.loads(value)
        if found != epoch:
            return None
        return CachedRoute(
            ticket_id, department, topic, float(raw_score), float(confidence), method,
            tuple(Candidate(name, float(share)) for name, share in alternatives),
            tuple(Neighbour(i, d, t, s, source=source) for i, d, t, s, source in evidence),
        )
    except (ValueError, TypeError):
        return None
