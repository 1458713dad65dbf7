"""Counters that expire, over the Redis protocol."""
from __future__ import annotations

from engine.adapters.redis_client import RedisClient, translated


class RedisCounter:
    """One key for each name. A limit is worth less than the request that waits for it: the client's wait must be short."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    def add(self, name: str, *, amount: int, seconds: int) -> int:
        """Add to the counter; its new value. Raises ServiceUnavailable."""
        with translated(), self._client.pipeline() as pipeline:
            pipeline.incrby(f"limit:{name}", amount)
            pipeline.expire(f"limit:{name}", seconds)
            return int(pipeline.execute()[0])
