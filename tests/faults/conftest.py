"""A console whose every service stands behind something that can fail."""
from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
import redis
from sqlalchemy import create_engine, text

from db.embedded import EmbeddedServers
from engine import bootstrap, settings
from engine.bootstrap import Engine
from engine.domain import Policy, Stage
from tests.servers.gemini import GeminiServer
from tests.servers.pinecone import PineconeServer
from tests.servers.proxy import FaultyProxy


@dataclass(slots=True)
class World:
    """The engine, what stands in front of its services, and `truth`: a way into Postgres that never fails."""

    engine: Engine
    postgres: FaultyProxy
    redis: FaultyProxy
    pinecone: PineconeServer
    gemini: GeminiServer
    truth: object

    def stored(self, ticket_id: str) -> int:
        """How many decisions there are for a ticket."""
        with self.truth.connect() as connection:
            return connection.execute(
                text("select count(*) from routing_history where ticket_id = :id"), {"id": ticket_id}
            ).scalar_one()


def through(url: str, proxy: FaultyProxy) -> str:
    """The database's URL by way of the proxy."""
    return f"postgresql+psycopg2://postgres@127.0.0.1:{proxy.port}{urlparse(url).path}?sslmode=disable&gssencmode=disable"


def socket_of(url: str) -> Path:
    """The unix socket that a database URL names."""
    return Path(parse_qs(urlparse(url).query)["host"][0]) / ".s.PGSQL.5432"


@pytest.fixture(scope="module")
def world(servers: EmbeddedServers, databases, learned: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:  # noqa: ANN001
    url = databases.make(learned)
    socket = Path(servers.redis_url.removeprefix("unix://"))
    with redis.Redis.from_url(f"{servers.redis_url}?db=5") as client:
        client.flushdb()  # another module's tickets have the same texts
    with FaultyProxy(socket_of(url)) as postgres, FaultyProxy(socket) as cache, PineconeServer() as pinecone, GeminiServer() as gemini:
        given = settings.load(
            database_url=through(url, postgres), redis_url=f"redis://127.0.0.1:{cache.port}/5", data_dir=tmp_path_factory.mktemp("data"),
            pinecone_api_key="key", pinecone_host=pinecone.url, google_api_key="key", google_api_endpoint=gemini.url,
        )
        engine = bootstrap.build(given, log_stream=None, chance=random.Random(1))
        # Without the local stages every ticket goes the long way, past every service.
        stages = frozenset({Stage.EXACT, Stage.RAG_LLM})
        # And the language model answers, however often it has been corrected here.
        engine.policies.add(replace(Policy(), confidence=0.05, stages=stages, audit_rate=0.0), author="test", reason="the long way")
        # Otherwise the new policy would have a model fitted in the background, in the middle of some test.
        engine.trainer.train()
        engine.state.refresh()
        engine.reindexer.run()
        truth = create_engine(url)
        yield World(engine, postgres, cache, pinecone, gemini, truth)
        for proxy in (postgres, cache):
            proxy.set("ok")
        engine.close()
        truth.dispose()
    databases.drop(url)
