"""The exact cache over the Redis protocol: Valkey, Redis or a cluster."""
from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

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

    def __init__(self, url: str, *, ttl: int = 3600, cluster: bool = False, timeout: float = TIMEOUT) -> None:
        """`url` as redis://, rediss:// (TLS, certificates checked) or unix://; `timeout` in seconds for every wait."""
        self._url = url
        self._cluster = cluster
        self._timeout = timeout
        self._ttl = ttl
        self._lock = threading.Lock()
        self._connected: redis.Redis | redis.RedisCluster | None = None

    @property
    def _client(self) -> redis.Redis | redis.RedisCluster:
        # A cluster's client asks for the slots when it is made, so it is made when it is first needed.
        with self._lock:
            if self._connected is None:
                options = {
                    "socket_timeout": self._timeout, "socket_connect_timeout": self._timeout, "decode_responses": True,
                    # One try on a new connection where the server has closed the old one; never again after a timeout.
                    "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
                }
                made = redis.RedisCluster if self._cluster else redis.Redis
                self._connected = made.from_url(self._url, **options)
            return self._connected

    def get(self, fingerprints: Sequence[str], epoch: str) -> list[CachedRoute | None]:
        """The entries of these fingerprints, None where there is none of this epoch."""
        keys = [f"{PREFIX}:{print_}" for print_ in fingerprints]
        with _translated():
            client = self._client
            values = client.mget_nonatomic(keys) if self._cluster else client.mget(keys)
            return [_decoded(value, epoch) for value in values]

    def put(self, routes: Mapping[str, CachedRoute], epoch: str) -> None:
        """Keep these entries, by fingerprint, for the time to live."""
        with _translated():
            client = self._client
            pipeline = client.pipeline() if self._cluster else client.pipeline(transaction=False)
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
            client = self._client
            info = client.info("server", target_nodes=redis.RedisCluster.RANDOM) if self._cluster else client.info("server")
            kind = " cluster" if self._cluster else ""
            return f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info.get('redis_version')}{kind}"

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._connected = self._connected, None
        if client is not None:
            client.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as error:
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
