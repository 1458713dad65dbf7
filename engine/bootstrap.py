"""Settings become a running Engine: the only module that knows every adapter and the database."""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from db import counters, migrate, taxonomy
from db.charts import Charts
from db.decisions import Decisions
from db.embedded import EmbeddedServers
from db.exemplars import Exemplars
from db.outcomes import Outcomes
from db.policies import Policies
from db.session import connect
from db.taxonomy import Taxonomy
from db.trained import TrainedModels
from engine import settings as settings_module
from engine import taxonomy_csv
from engine.accuracy import AccuracyTracker
from engine.adapters.minilm import MiniLM
from engine.adapters.redis_cache import RedisCache
from engine.health import Check, Health
from engine.model import RoutingModel
from engine.refresh import Refresher
from engine.router import ConfidenceRouter
from engine.settings import Settings
from engine.state import RoutingState
from engine.telemetry.log import DecisionLog
from engine.training import Trainer

STARTER = Path(__file__).resolve().parent.parent / "db" / "starter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything a page, a route or a command may use. `close` closes what was opened, in reverse order."""

    settings: Settings
    router: ConfidenceRouter
    trainer: Trainer
    decisions: Decisions
    outcomes: Outcomes
    exemplars: Exemplars
    taxonomy: Taxonomy
    policies: Policies
    charts: Charts
    health: Health
    state: Refresher
    log: DecisionLog
    close: Callable[[], None]


def build(settings: Settings, *, chance: random.Random | None = None, log_stream: object = "stderr") -> Engine:
    """Start what must be embedded, migrate, learn if nothing was learned yet, and join everything.

    Raises ConfigurationError and ServiceUnavailable; what was opened before is closed again.
    """
    import sys

    with ExitStack() as stack:
        log = DecisionLog(settings.routing_log_path, stream=sys.stderr if log_stream == "stderr" else log_stream)
        stack.callback(log.close)
        postgres_url, redis_url = settings.postgres_url, settings.redis_address
        if postgres_url is None or redis_url is None:
            embedded = EmbeddedServers(settings.data_dir, postgres=postgres_url is None, valkey=redis_url is None).start()
            stack.callback(embedded.close)
            postgres_url = postgres_url or embedded.postgres_url
            redis_url = redis_url or embedded.redis_url
        database = connect(postgres_url, pool_size=settings.database_pool_size, overflow=settings.database_pool_overflow)
        stack.callback(database.dispose)
        migrate.upgrade(database)
        analytics = database
        if settings.analytics_database_url is not None:
            analytics = connect(settings.analytics_database_url.get_secret_value(), name="console-charts")
            stack.callback(analytics.dispose)
        cache = RedisCache(redis_url, ttl=settings.cache_ttl_seconds)
        stack.callback(cache.close)
        embedder = MiniLM(model_path=settings.embedder_model_path, tokenizer_path=settings.embedder_tokenizer_path)
        departments = Taxonomy(database)
        exemplars = Exemplars(database, embedder=embedder.name, dimensions=embedder.dimensions)
        outcomes, policies, models = Outcomes(database), Policies(database), TrainedModels(database)
        decisions = Decisions(database)
        trainer = Trainer(embedder=embedder, exemplars=exemplars, models=models)
        if taxonomy.is_empty(database):
            some, topics, seeds = taxonomy_csv.starter(STARTER)
            departments.save(some, topics)
            trainer.load(seeds)
        if models.live_number(embedder=embedder.name) is None and exemplars.count():
            trainer.train()

        def load() -> RoutingState:
            policy, number = policies.live(), models.live_number(embedder=embedder.name)
            seen = counters.read(database)
            return RoutingState(
                policy=policy,
                departments=tuple(departments.departments()),
                model=RoutingModel.from_arrays(number, *models.load(number)) if number is not None else None,
                accuracy=AccuracyTracker().snapshot(datetime.now(UTC)),
                versions={
                    "policy": str(policy.number),
                    "taxonomy": str(seen.get(taxonomy.TAXONOMY_VERSION, 0)),
                    "embedder": embedder.name,
                    "model": str(number or 0),
                },
            )

        watched = (taxonomy.TAXONOMY_VERSION, "policy", "model")
        state = Refresher(
            load=load,
            stamp=lambda: tuple(counters.read(database).get(name, 0) for name in watched),
            log=log,
        )
        stack.callback(state.close)
        router = ConfidenceRouter(
            embedder=embedder,
            index=exemplars,
            cache=cache,
            decisions=decisions,
            outcomes=outcomes,
            state=state,
            learn=trainer.learn,
            log=log,
            clock=lambda: datetime.now(UTC),
            stopwatch=time.perf_counter,
            chance=chance or random.Random(),
            minimum=settings.ticket_min_characters,
            maximum=settings.ticket_max_characters,
        )
        health = Health(
            [
                Check("database", "embedded" if settings.postgres_url is None else "configured", lambda: _version(database)),
                Check("cache", "embedded" if settings.redis_address is None else "configured", cache.ping, needed=False),
                Check("embedder", "embedded", lambda: f"{embedder.name}, {embedder.embed(['ping']).shape[1]} dimensions"),
                Check("model", "embedded", lambda: _model_version(state.current())),
            ],
            stopwatch=time.perf_counter,
        )
        state.start()
        closing = stack.pop_all()
        return Engine(
            settings=settings, router=router, trainer=trainer, decisions=decisions, outcomes=outcomes, exemplars=exemplars,
            taxonomy=departments, policies=policies, charts=Charts(analytics), health=health, state=state, log=log, close=closing.close,
        )


def migrate_only(settings: Settings) -> tuple[str | None, str | None]:
    """Bring the database to the newest schema; the revisions before and after."""
    with ExitStack() as stack:
        url = settings.postgres_url
        if url is None:
            embedded = EmbeddedServers(settings.data_dir, valkey=False).start()
            stack.callback(embedded.close)
            url = embedded.postgres_url
        database = connect(url)
        stack.callback(database.dispose)
        return migrate.upgrade(database)


def _version(database) -> str:  # noqa: ANN001
    from sqlalchemy import text

    from db.session import reading

    with reading(database) as connection:
        version = connection.execute(text("select split_part(version(), ' ', 2)")).scalar_one()
        return f"PostgreSQL {version}, schema {migrate.current(database)}"


def _model_version(state: RoutingState) -> str:
    if state.model is None:
        return "nothing learned yet: the triage department takes every ticket"
    return f"model {state.model.number}, {len(state.departments)} departments"


_running: Engine | None = None
_lock = threading.Lock()


def running() -> Engine:
    """The process's one engine, built at first use. Pages and routes both come here."""
    global _running
    with _lock:
        if _running is None:
            _running = build(settings_module.load())
        return _running


def stop() -> None:
    """Close the process's engine; the next `running` builds a new one."""
    global _running
    with _lock:
        engine, _running = _running, None
    if engine is not None:
        engine.close()
