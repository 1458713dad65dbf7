"""Real servers for the tests: one Postgres and one Valkey for the run, a fresh database for every test that wants one."""
from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from db import migrate
from db.embedded import EmbeddedServers
from db.session import connect
from engine import bootstrap, settings
from engine.adapters.minilm import MiniLM
from engine.settings import Settings
from tests.serving import Served

_NAMES = ("DATABASE_URL", "POSTGRES_", "ANALYTICS_", "REDIS_", "PINECONE_", "GOOGLE_", "GEMINI_", "CLOUDWATCH_", "GRAFANA_",
          "ROUTING_", "DATA_DIR", "PORT", "EMBEDDER_", "HOST", "COOKIE_SECRET", "TRUSTED_PROXIES", "ADMIN_", "SESSION_", "PASSWORD_",
          "SIGN_IN_", "RATE_", "COMMAND_ROLE", "PUBLIC_URL", "OIDC_")


@pytest.fixture(autouse=True, scope="session")
def _own_settings() -> Iterator[None]:
    """No test sees the developer's environment or `.env`."""
    with pytest.MonkeyPatch.context() as patch:
        import os

        for name in list(os.environ):
            if name.startswith(_NAMES):
                patch.delenv(name)
        patch.setitem(Settings.model_config, "env_file", None)
        yield


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """The run's Postgres and Valkey."""
    folder = tmp_path_factory.mktemp("servers")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # Postgres runs as a user of its own when the tests run as root
    started = EmbeddedServers(folder).start()
    yield started
    started.close()


class Databases:
    """Makes databases on the run's server, empty or as a copy of a template."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = itertools.count(1)
        self._admin = create_engine(url, isolation_level="AUTOCOMMIT")

    def make(self, template: str = "template1") -> str:
        name = f"test_{next(self._names)}"
        with self._admin.connect() as connection:
            connection.execute(text(f"create database {name} template {template}"))
        return self._url.replace("/postgres?", f"/{name}?")

    def drop(self, url: str) -> None:
        name = url.split("@/")[1].split("?")[0]
        with self._admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))

    def name(self, url: str) -> str:
        return url.split("@/")[1].split("?")[0]

    def close(self) -> None:
        self._admin.dispose()


@pytest.fixture(scope="session")
def databases(servers: EmbeddedServers) -> Iterator[Databases]:
    made = Databases(servers.postgres_url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def migrated(databases: Databases) -> str:
    """Name of a template database with the newest schema and nothing in it."""
    url = databases.make()
    engine = connect(url)
    migrate.upgrade(engine)
    engine.dispose()
    return databases.name(url)


@pytest.fixture
def database(databases: Databases, migrated: str):  # noqa: ANN201
    """A connection pool to a fresh, migrated, empty database."""
    url = databases.make(migrated)
    engine = connect(url)
    yield engine
    engine.dispose()
    databases.drop(url)


@pytest.fixture(scope="session")
def embedder() -> MiniLM:
    return MiniLM()


@pytest.fixture(scope="session")
def learned(databases: Databases, servers: EmbeddedServers) -> str:
    """Name of a template database with the starter taxonomy and a model trained on it."""
    url = databases.make()
    bootstrap.build(settings.load(database_url=url, redis_url=servers.redis_url), log_stream=None).close()
    return databases.name(url)


@pytest.fixture
def console_settings(databases: Databases, learned: str, servers: EmbeddedServers, tmp_path: Path) -> Iterator[Settings]:
    """Settings for a fresh copy of the learned database and an empty cache."""
    import redis

    url = databases.make(learned)
    cache_url = f"{servers.redis_url}?db=1"
    with redis.Redis.from_url(cache_url) as client:
        client.flushdb()
    yield settings.load(database_url=url, redis_url=cache_url, data_dir=tmp_path / "data")
    databases.drop(url)


@pytest.fixture
def build(console_settings: Settings) -> Iterator[Callable[..., bootstrap.Engine]]:
    """Builds engines on the test's database; all are closed at the end."""
    made: list[bootstrap.Engine] = []

    def one(**more: object) -> bootstrap.Engine:
        engine = bootstrap.build(console_settings, log_stream=None, chance=random.Random(1), **more)
        made.append(engine)
        return engine

    yield one
    for engine in made:
        engine.close()


@pytest.fixture
def console(build: Callable[..., bootstrap.Engine]) -> bootstrap.Engine:
    """A running engine with the starter taxonomy."""
    return build()


@pytest.fixture(scope="module")
def served(databases: Databases, learned: str, servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A console process with a user of each role, shared by a module's tests; nothing secret may be in its log at the end."""
    url = databases.make(learned)
    console = Served(url, f"{servers.redis_url}?db=2", tmp_path_factory.mktemp("served"))
    try:
        yield console.start()
        assert console.leaked() == []
    finally:
        console.close()
        databases.drop(url)
