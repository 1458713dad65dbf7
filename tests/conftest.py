"""Real servers for the tests: one Postgres and one Valkey for the run, a fresh database for every test that wants one."""
from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as drawn
from sqlalchemy import create_engine, text

from db import migrate
from db.embedded import EmbeddedServers
from db.session import connect
from engine import accounts, backends, bootstrap, settings, watching
from engine.adapters.minilm import MiniLM
from engine.sessions import Sessions
from engine.settings import Settings
from engine.tokens import Tokens
from tests import serving, signin
from tests.overheard import Overheard
from tests.serving import Served

_NAMES = ("DATABASE_URL", "POSTGRES_", "ANALYTICS_", "REDIS_", "PINECONE_", "GOOGLE_", "GEMINI_", "CLOUDWATCH_", "GRAFANA_",
          "ROUTING_", "DATA_DIR", "PORT", "EMBEDDER_", "HOST", "COOKIE_SECRET", "TRUSTED_PROXIES", "ADMIN_", "SESSION_", "PASSWORD_",
          "SIGN_IN_", "RATE_", "COMMAND_ROLE", "PUBLIC_URL", "CONSOLE_URL", "OIDC_", "ALERT", "SMTP_", "OTEL_", "PROMETHEUS_", "BACKGROUND_")

# The same examples in every run, and as much time for each as it takes: neither chance nor a busy machine decides a run.
drawn.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
drawn.load_profile("steady")


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


# What is quick comes first, so that a mistake shows in the first minute; browsers and broken services take longest.
TURNS = ("unit", "pages", "contract", "integration", "faults", "browser")
SEARCH = "test_log_of_the_run.py"


def turn(item: pytest.Item) -> int:
    """When a test runs: by its folder, and the search through the run's logs after all."""
    return len(TURNS) if item.path.name == SEARCH else TURNS.index(item.path.relative_to(Path(__file__).parent).parts[0])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Tests in their turns, and the search through the run's logs whatever marks the run was narrowed to: `-m slow` leaves logs too.

    Only a run that chose its tests by their names goes without it, if it is not among them.
    """
    items.sort(key=turn)
    last = [] if config.option.keyword else [item for item in items if item.path.name == SEARCH]
    items[:] = [item for item in items if item not in last]
    yield
    if items or config.option.markexpr == "":
        items += last


@pytest.fixture(autouse=True, scope="session")
def overheard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overheard]:
    """Where everything logs to, and what must not be in there; searched by the run's last test.

    Engines that are built without a stream of their own log here. Secrets are noted where they are made.
    """
    run = Overheard(tmp_path_factory.mktemp("logs"))

    def noting(made: Callable[..., object]) -> Callable[..., object]:
        def noted(*arguments: object, **more: object) -> object:
            result = made(*arguments, **more)
            for value in (*(result if isinstance(result, tuple) else (result,)), more.get("password")):
                run.secret(value if isinstance(value, str) else None)
            return result

        return noted

    telemetry = watching.telemetry

    def joined(given: Settings, stream: object) -> object:
        run.settings(given)
        return telemetry(given, run.stream("engines") if stream is None else stream)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "telemetry", joined)
        patch.setattr(accounts, "one_time", noting(accounts.one_time))
        for owner, names in ((accounts.Accounts, ("add", "reset_password", "add_first_admin")), (Tokens, ("make",)), (Sessions, ("open",))):
            for name in names:
                patch.setattr(owner, name, noting(getattr(owner, name)))
        patch.setattr(signin, "note", run.secret)
        patch.setattr(serving, "LOGS", run.folder)
        yield run
    run.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedServers]:
    """The run's Postgres and Valkey."""
    # Not under pytest's own folder: another run beside this one closes that to all other users, and Postgres runs as a
    # user of its own when the tests run as root.
    with tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        started = EmbeddedServers(Path(folder)).start()
        yield started
        started.close()


class Databases:
    """Makes databases on the run's server, empty or as a copy of a template."""

    def __init__(self, url: str, overheard: Overheard) -> None:
        self._url = url
        self._overheard = overheard
        self._names = itertools.count(1)
        self._admin = create_engine(url, isolation_level="AUTOCOMMIT")

    def make(self, template: str = "template1") -> str:
        name = f"test_{next(self._names)}"
        with self._admin.connect() as connection:
            connection.execute(text(f"create database {name} template {template}"))
        return self._url.replace("/postgres?", f"/{name}?")

    def drop(self, url: str) -> None:
        """Drop it, once the words of its tickets are noted."""
        self._listen(url)
        name = url.split("@/")[1].split("?")[0]
        with self._admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))

    def promote(self, standby: str, *, place: str) -> None:
        """Drop the database of `place` and put that of `standby` there."""
        self.drop(place)
        with self._admin.connect() as connection:
            connection.execute(text(f"alter database {self.name(standby)} rename to {self.name(place)}"))

    def _listen(self, url: str) -> None:
        engine = create_engine(url)
        with engine.connect() as connection:
            if connection.execute(text("select to_regclass('tickets') is not null and to_regclass('topics') is not null")).scalar_one():
                for row in connection.execute(text("select body, subject, customer_ref from tickets")):
                    self._overheard.ticket(*row)
                names = connection.execute(text("select name from departments union select name from topics"))
                self._overheard.names |= set(names.scalars())
        engine.dispose()

    def name(self, url: str) -> str:
        return url.split("@/")[1].split("?")[0]

    def close(self) -> None:
        self._admin.dispose()


@pytest.fixture(scope="session")
def databases(servers: EmbeddedServers, overheard: Overheard) -> Iterator[Databases]:
    made = Databases(servers.postgres_url, overheard)
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


@pytest.fixture(autouse=True, scope="session")
def _one_model() -> Iterator[None]:
    """The engines of the run share the embedding model, which takes a third of a second to read; one with files of its own reads these."""
    made = backends.local_embedder
    shared = lru_cache(1)(MiniLM)

    def local(given: Settings) -> MiniLM:
        own = given.embedder_model_path or given.embedder_tokenizer_path
        return made(given) if own else shared()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "local_embedder", local)
        yield


@pytest.fixture(scope="session")
def learned(databases: Databases, servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a template database with the starter taxonomy and a model trained on it."""
    url = databases.make()
    given = settings.load(database_url=url, redis_url=servers.redis_url, data_dir=tmp_path_factory.mktemp("learned"))
    bootstrap.build(given, log_stream=None).close()
    return databases.name(url)


@pytest.fixture
def console_settings(databases: Databases, learned: str, servers: EmbeddedServers, tmp_path: Path) -> Iterator[Settings]:
    """Settings for a fresh copy of the learned database and an empty cache."""
    import redis

    url = databases.make(learned)
    cache_url = f"{servers.redis_url}?db=1"
    with redis.Redis.from_url(cache_url) as client:
        client.flushdb()
    # Passwords are hashed as cheaply as it gets: what costs time there is not what these tests are about.
    cheap = {"password_memory_kib": 8, "password_time_cost": 1}
    yield settings.load(database_url=url, redis_url=cache_url, data_dir=tmp_path / "data", **cheap)
    databases.drop(url)


@pytest.fixture
def build(console_settings: Settings) -> Iterator[Callable[..., bootstrap.Engine]]:
    """Builds engines on the test's database, with `settings` changed as given; all are closed at the end."""
    made: list[bootstrap.Engine] = []

    def one(settings: dict[str, object] | None = None, **more: object) -> bootstrap.Engine:
        chosen = console_settings.model_copy(update=settings or {})
        engine = bootstrap.build(chosen, log_stream=None, chance=random.Random(1), **more)
        made.append(engine)
        return engine

    yield one
    for engine in made:
        engine.close()


@pytest.fixture
def console(build: Callable[..., bootstrap.Engine]) -> bootstrap.Engine:
    """A running engine with the starter taxonomy."""
    return build()


@pytest.fixture
def idle(build: Callable[..., bootstrap.Engine]) -> bootstrap.Engine:
    """The same without threads of its own, whose looks at what has changed would now and then come before the test's."""
    return build(working=False)


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, databases: Databases, learned: str, servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory,
    overheard: Overheard,
) -> Iterator[Served]:
    """A console process with a user of each role, shared by a module's tests; nothing secret may be in its log at the end.

    A module's SERVED_WITH holds settings of its own.
    """
    import redis

    url, cache_url = databases.make(learned), f"{servers.redis_url}?db=2"
    with redis.Redis.from_url(cache_url) as client:
        # Another module's labels have left marks in the places of the same texts.
        client.flushdb()
    console = Served(url, cache_url, tmp_path_factory.mktemp("served"), **getattr(request.module, "SERVED_WITH", {}))
    try:
        yield console.start()
        assert console.leaked() == []
    finally:
        overheard.secret(*console.secrets)
        console.close()
        databases.drop(url)
