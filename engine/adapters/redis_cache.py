"""The exact cache over the Redis protocol: Valkey, Redis or a cluster."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import redis

from engine.adapters.redis_client import NODE, RedisClient, translated
from engine.domain import Candidate, Neighbour
from engine.errors import ServiceUnavailable
from engine.ports import CachedRoute, Claim

PREFIX = "route"
# In front of a claim in an entry's place; JSON never begins so.
FLYING = "flying:"
# In an entry's place after it was removed, for as long as an answer that was being made at that moment may be on its way:
# a ticket may take a minute at most, a batch of a file a few.
FORGOTTEN = "forgotten"
FORGOTTEN_SECONDS = 300
_PUT = (
    f"if redis.call('GET', KEYS[1]) == '{FORGOTTEN}' then return 0 end "
    "redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) return 1"
)
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisCache:
    """One entry for each fingerprint, with the epoch inside: an entry of another epoch is a miss and is overwritten.

    With the epoch in the key, a correction would have to find the entries of all epochs, or going back to an earlier
    policy would bring the wrong answer back. A claim stands under the same key until the entry takes its place, so that
    one command asks for both; servers older than Redis 7 do not know that command and get no claims. A removed entry leaves
    a mark in its place, which no process's late answer overwrites.

    An entry also counts only for the start of the server that it was given to: a replica that takes over, or a server that reads its
    last copy from the disk, may have missed a removal. (Not so in a cluster, whose nodes fail one by one.)
    """

    def __init__(self, client: RedisClient, *, ttl: int = 3600, forgotten: int = FORGOTTEN_SECONDS) -> None:
        """`ttl` of entries and how long a removed one stays `forgotten`, in seconds."""
        self._client = client
        self._ttl = ttl
        self._forgotten = forgotten
        self._claims = True

    def get(self, fingerprints: Sequence[str], epoch: str) -> list[CachedRoute | None]:
        """The entries of these fingerprints, None where there is none of this epoch."""
        keys = [f"{PREFIX}:{print_}" for print_ in fingerprints]
        with translated():
            client = self._client()
            values = client.mget_nonatomic(keys) if self._client.cluster else client.mget(keys)
            # Afterwards: the question itself may have found another server.
            era = self._era(epoch)
            return [_decoded(value, era) for value in values]

    def put(self, routes: Mapping[str, CachedRoute], epoch: str) -> None:
        """Keep these entries, by fingerprint, for the time to live; those removed a moment ago stay away."""
        with translated(), self._client.pipeline() as pipeline:
            era = self._era(epoch)
            for print_, route in routes.items():
                # The cluster's pipeline has no `eval` of its own.
                pipeline.execute_command("EVAL", _PUT, 1, f"{PREFIX}:{print_}", _encoded(route, era), self._ttl)
            pipeline.execute()

    def remove(self, fingerprint: str) -> None:
        """Remove a fingerprint's entry, whatever its epoch, and take none for a few minutes."""
        with translated():
            self._client().set(f"{PREFIX}:{fingerprint}", FORGOTTEN, ex=self._forgotten)

    def claim(self, fingerprint: str, epoch: str, *, holder: str = "", seconds: float = 0.0) -> Claim:
        """The entry, or whether another holder is making it; makes the claim of `holder` where there is nothing at all."""
        key, own = f"{PREFIX}:{fingerprint}", f"{FLYING}{epoch}:{holder}"
        with translated():
            client = self._client()
            if holder and self._claims:
                try:
                    # The library's own `set` takes ten microseconds more to say the same.
                    value = client.execute_command("SET", key, own, "NX", "GET", "PX", round(1000 * seconds), get=True)
                except redis.ResponseError as error:
                    if "syntax" not in str(error).lower():
                        raise
                    self._claims, value = False, client.get(key)
            else:
                value = client.get(key)
        if value is not None and value.startswith(FLYING):
            # One's own was made by a first try whose answer was lost; who still decides under another policy is nobody to wait for.
            return Claim(taken=value != own and value.startswith(f"{FLYING}{epoch}:"))
        return Claim(_decoded(value, self._era(epoch)))

    def release(self, fingerprint: str, epoch: str, *, holder: str) -> None:
        """End the claim of this holder, if it is still there."""
        with translated():
            self._client().eval(_RELEASE, 1, f"{PREFIX}:{fingerprint}", f"{FLYING}{epoch}:{holder}")

    def _era(self, epoch: str) -> str:
        return f"{epoch} {self._client.server()}"

    def ping(self) -> str:
        """The server's version. Raises ServiceUnavailable, also where it answers and keeps nothing: a replica, or one whose memory is full;
        and for a cluster's node that is spoken to as a server of its own.
        """
        with translated():
            client = self._client()
            client.set(f"{PREFIX}:ping", "", px=1000)
            info = client.info("server", target_nodes=redis.RedisCluster.RANDOM) if self._client.cluster else client.info("server")
            # Valkey calls it otherwise, unless it is told to look like Redis.
            if "cluster" in (info.get("redis_mode"), info.get("server_mode")) and not self._client.cluster:
                raise ServiceUnavailable("cache", NODE)
            kind = " cluster" if self._client.cluster else ""
            return f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info.get('redis_version')}{kind}"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


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
