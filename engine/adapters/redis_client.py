"""How the Redis protocol is spoken: one server or a cluster, with or without TLS, never waiting for long."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from engine.errors import ConfigurationError, ServiceUnavailable

# On the ticket's path: a slow cache must cost less than what it saves.
TIMEOUT = 0.25
TLS = "rediss://"
# A cluster's client follows these refusals, so whoever meets one is none.
NODE = "its server is a node of a Redis Cluster, which holds a part of the keys. Set REDIS_CLUSTER=true"


class RedisClient:
    """Connects at first use and again after a failure. Safe to use from several threads."""

    def __init__(self, url: str, *, cluster: bool = False, ca: Path | None = None) -> None:
        """`url` as redis://, rediss:// (TLS, certificate and name checked) or unix://; every wait ends after TIMEOUT seconds.

        `ca` holds the certificates in PEM that a server's certificate must lead to, those of the system without it.
        Raises ConfigurationError for an address that the library cannot use, without a word of it: it may hold a password.
        """
        try:
            # The library looks at the options when it makes a connection, which is at the first ticket otherwise.
            redis.ConnectionPool.from_url(url).make_connection()
        except (ValueError, TypeError):
            raise ConfigurationError(
                "REDIS_URL: cannot be used by the Redis client: its scheme, its port or an option behind the ? is not one that it knows. "
                "One like redis://:password@host:6379/0 can"
            ) from None
        self._url = url
        self._ca = {"ssl_ca_certs": str(ca)} if ca is not None and url.startswith(TLS) else {}
        self._lock = threading.Lock()
        self._connected: redis.Redis | redis.RedisCluster | None = None
        self.cluster = cluster
        # Set by every connection that is made.
        self._server: str | None = "" if cluster else None

    def __call__(self) -> redis.Redis | redis.RedisCluster:
        """The library's client. A cluster's asks for the slots when it is made, so it is made when it is first needed."""
        with self._lock:
            if self._connected is None:
                options = {
                    "socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "decode_responses": True,
                    # One try on a new connection where the server has closed the old one; never again after a timeout.
                    "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)), **self._ca,
                }
                if self.cluster:
                    self._connected = redis.RedisCluster.from_url(self._url, **options)
                else:
                    self._connected = redis.Redis.from_url(self._url, redis_connect_func=self._met, **options)
            return self._connected

    def server(self) -> str:
        """What the server connected to last calls itself, anew at each of its starts; "" for a cluster, and where it may not be asked."""
        if self._server is None:
            self().ping()
        return self._server or ""

    def _met(self, connection: AbstractConnection) -> None:
        connection.on_connect()
        connection.send_command("INFO", "server", check_health=False)
        try:
            said = connection.read_response()
        except redis.ResponseError:
            said = ""
        self._server = next((line.partition(":")[2] for line in str(said).splitlines() if line.startswith("run_id:")), "")

    def pipeline(self) -> redis.client.Pipeline | redis.cluster.ClusterPipeline:
        """Several commands in one round trip (per node), without a transaction."""
        client = self()
        return client.pipeline() if self.cluster else client.pipeline(transaction=False)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._connected = self._connected, None
        if client is not None:
            client.close()


@contextmanager
def translated() -> Iterator[None]:
    """Every error of the library and of the network becomes ServiceUnavailable("cache").

    So does a value that the library or the socket cannot use, such as a host's name that is none: the ticket goes on without a cache.
    """
    try:
        yield
    except (redis.exceptions.MovedError, redis.exceptions.ClusterCrossSlotError) as error:
        raise ServiceUnavailable("cache", NODE) from error
    except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as error:
        raise ServiceUnavailable("cache", str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    except (ValueError, OverflowError) as error:
        # Its text may repeat a part of the address.
        raise ServiceUnavailable("cache", f"{type(error).__name__} in its client; is REDIS_URL or REDIS_HOST right?") from error
