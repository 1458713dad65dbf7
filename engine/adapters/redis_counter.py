"""Counters that expire, over the Redis protocol."""
from __future__ import annotations

import redis

from engine.errors import ServiceUnavailable

# A limit is worth less than the request that waits for it.
TIMEOUT = 0.25


class RedisCounter:
    """One key for each name."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)

    def add(self, name: str, *, amount: int, seconds: int) -> int:
        """Add to the counter; its new value. Raises ServiceUnavailable."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.incrby(f"limit:{name}", amount).expire(f"limit:{name}", seconds)
                return int(pipeline.execute()[0])
        except (redis.RedisError, OSError) as error:
            raise ServiceUnavailable("cache", str(error).splitlines()[0] if str(error) else type(error).__name__) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
