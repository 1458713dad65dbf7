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

import threadpoolctl

from db import counters, migrate, taxonomy
from db.attempts import Attempts
from db.audit import AuditTable
from db.decisions import Decisions
from db.embedded import EmbeddedServers
from db.exemplars import Exemplars
from db.outbox import Outbox
from db.outcomes import Outcomes
from db.policies import Policies
from db.reviewed import Reviewed
from db.retention import Retention
from db.session import connect
from db.sessions import SessionTable
from db.taxonomy import Taxonomy
from db.tokens import TokenTable
from db.trained import TrainedModels
from db.users import Users
from engine import settings as settings_module
from engine import audit as audit_module
from engine import backends, entrance, taxonomy_csv, watching
from engine.adapters.gemini import Gemini
from engine.adapters.pinecone_index import PineconeIndex
from engine.adapters.redis_cache import RedisCache
from engine.adapters.redis_counter import RedisCounter
from engine.audited import AuditedOutcomes, AuditedPolicies
from engine.drain import Drainer
from engine.guarded import GuardedCache, Services
from engine.health import Health
from engine.loading import StateLoader
from engine.ports import Clock
from engine.reembed import Reembedder
from engine.refit import Refitter
from engine.refresh import Refresher
from engine.reindex import Reindexer
from engine.resilience import Limits
from engine.router import ConfidenceRouter
from engine.settings import Settings
from engine.spool import Spool
from engine.state import RoutingState
from engine.telemetry.fanout import Telemetry
from engine.tracking import Tracking
from engine.training import Trainer
from engine.upkeep import Task, Upkeep
from engine.watching import Watch

# Longer than the longest deadline of a ticket, in seconds.
LAST_CALLERS = 30.0
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
    policies: AuditedPolicies
    reviewed: Reviewed
    tracking: Tracking
    health: Health
    state: Refresher
    accounts: entrance.Accounts
    sessions: entrance.Sessions
    tokens: entrance.Tokens
    audit: entrance.Audit
    limits: entrance.RateLimiter
    identity_provider: entrance.IdentityProvider | None
    retention: Retention
    log: Telemetry
    watch: Watch
    services: Services
    spool: Spool
    drainer: Drainer
    reembedder: Reembedder
    reindexer: Reindexer | None
    outbox: Outbox | None
    remote_index: PineconeIndex | None
    gemini: Gemini | None
    close: Callable[[], None]


def _now() -> datetime:
    return datetime.now(UTC)


def build(
    settings: Settings, *, chance: random.Random | None = None, log_stream: object = "stderr", clock: Clock = _now,
    renew: Callable[[], None] | None = None,
) -> Engine:
    """Start what must be embedded, migrate, learn if nothing was learned yet, and join everything.

    `renew` is called when another engine should take over, because the wanted embedder's vectors are complete.
    Raises ConfigurationError and ServiceUnavailable; what was opened before is closed again.
    """
    import sys

    # More threads help no matrix as small as a ticket's, and wait for each other whenever the machine is busy.
    threadpoolctl.threadpool_limits(1, user_api="blas")
    with ExitStack() as stack:
        log, metrics = watching.telemetry(settings, sys.stderr if log_stream == "stderr" else log_stream)
        stack.callback(log.close)
        postgres_url, redis_url = settings.postgres_url, settings.redis_address
        if postgres_url is None or redis_url is None:
            embedded = EmbeddedServers(settings.data_dir, postgres=postgres_url is None, valkey=redis_url is None).start()
            stack.callback(embedded.close)
            postgres_url = postgres_url or embedded.postgres_url
            redis_url = redis_url or embedded.redis_url
        chance = chance or random.Random()
        services = Services(stopwatch=time.monotonic, clock=clock, sleep=time.sleep, chance=random.Random())
        gate = services.breaker("database", failures=2, pause=4.0, longest=10.0)
        database = connect(postgres_url, pool_size=settings.database_pool_size, overflow=settings.database_pool_overflow, gate=gate)
        stack.callback(database.dispose)
        migrate.upgrade(database)
        analytics = database
        if settings.analytics_database_url is not None:
            analytics = connect(settings.analytics_database_url.get_secret_value(), name="console-charts")
            stack.callback(analytics.dispose)
        cache = RedisCache(redis_url, ttl=settings.cache_ttl_seconds, cluster=settings.redis_cluster)
        stack.callback(cache.close)
        embedders = backends.embedders(settings, database, services)
        embedder = embedders.current
        departments = Taxonomy(database)
        exemplars = Exemplars(database, embedder=embedder.name, dimensions=embedder.dimensions)
        outcomes, policies, models = Outcomes(database), Policies(database), TrainedModels(database)
        decisions = Decisions(database)
        trainer = Trainer(embedder=embedder, exemplars=exemplars, models=models)
        if taxonomy.is_empty(database):
            some, topics, seeds = taxonomy_csv.starter(STARTER)
            departments.save(some, topics)
            trainer.load(seeds)
        trainer.ensure()
        index = backends.index(settings, database, exemplars, embedder, services=services, log=log)
        language_model, gemini = backends.language_model(settings, services)
        spool = Spool(settings.data_dir.expanduser().resolve() / "spool")
        stack.callback(spool.close)
        counter = RedisCounter(redis_url)
        stack.callback(counter.close)
        door = entrance.build(
            settings, users=Users(database), attempts=Attempts(database), sessions=SessionTable(database), tokens=TokenTable(database),
            audit=AuditTable(database, seal=audit_module.seal), counter=counter, clock=clock, log=log,
        )
        audit = door.audit
        reviewed = Reviewed(database)
        tracking = Tracking(reviewed, clock=clock, has_real_tickets=decisions.has_real_tickets)

        loader = StateLoader(
            policies=policies, models=models, taxonomy=departments, exemplars=exemplars, labels=reviewed,
            tracking=tracking,
            versions=lambda: counters.read(database), embedder=embedder.name,
        )
        state = Refresher(load=loader.load, stamp=loader.stamp, log=log)
        stack.callback(state.close)
        router = ConfidenceRouter(
            embedder=embedder,
            index=index.first,
            index_copy=index.copy,
            language_model=language_model,
            spool=spool,
            forget_all=lambda: (counters.leave_cache(database), state.refresh()),
            cache=GuardedCache(cache, services.service("cache", limits=Limits(seconds=2.0), longest=10.0)),
            decisions=decisions,
            outcomes=AuditedOutcomes(outcomes, audit),
            state=state,
            learn=trainer.learn,
            log=log,
            clock=clock,
            stopwatch=time.perf_counter,
            chance=chance,
            minimum=settings.ticket_min_characters,
            maximum=settings.ticket_max_characters,
        )
        stack.callback(router.close)
        health = Health(
            backends.checks(
                settings, database=lambda: _version(database), cache=cache.ping, model=lambda: _model_version(state.current()),
                index=index, embedders=embedders, gemini=gemini,
                notes=lambda: f"{spool.waiting()} waiting, {spool.refused()} set aside",
            ),
            stopwatch=time.perf_counter, states=services.states,
        )
        drainer = Drainer(
            spool=spool, route=router.route_tickets, store=decisions, open_for_calls=lambda: gate.asks_allowed, log=log
        )
        wanted = Exemplars(database, embedder=embedders.wanted.name, dimensions=embedders.wanted.dimensions)

        def switch() -> None:
            """Every exemplar has its vector of the wanted embedder: learn with it, then use it."""
            if models.live_number(embedder=embedders.wanted.name) is None:
                Trainer(embedder=embedders.wanted, exemplars=wanted, models=models).train()
            if renew is not None:
                renew()

        switching = embedders.wanted is not embedder
        reembedder = Reembedder(embedder=embedders.wanted, exemplars=wanted, log=log, ready=switch if switching else None)
        watch = watching.watch(
            settings, database=database, analytics=analytics, log=log, metrics=metrics, services=services, health=health, spool=spool,
            has_real_tickets=decisions.has_real_tickets, clock=clock,
        )
        stack.callback(watch.close)
        watch.upkeep.start()
        refitter = Refitter(train=trainer.train, exemplars=exemplars, models=models, embedder=embedder.name, log=log)
        learning = Upkeep((Task("refit", 30.0, refitter.refit_when_due),), log=log, stopwatch=time.monotonic)
        for worker in filter(None, (drainer, reembedder, index.reindexer, learning)):
            stack.callback(worker.close)
            worker.start()
        state.start()
        closing = stack.pop_all()
        return Engine(
            settings=settings, router=router, trainer=trainer, decisions=decisions, outcomes=outcomes, exemplars=exemplars,
            taxonomy=departments, policies=AuditedPolicies(policies, audit), watch=watch, reviewed=reviewed, tracking=tracking,
            accounts=door.accounts, sessions=door.sessions, tokens=door.tokens, audit=audit, limits=door.limits,
            identity_provider=backends.identity_provider(settings), retention=Retention(database), health=health, state=state, log=log, close=closing.close,
            services=services, spool=spool, drainer=drainer, reindexer=index.reindexer, outbox=index.notes, remote_index=index.remote,
            reembedder=reembedder, gemini=gemini,
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
            _running = build(settings_module.load(), renew=_renew)
        return _running


def _renew() -> None:
    """Put a new engine in place of the running one, which is closed when its last callers are gone."""
    global _running
    fresh = build(settings_module.load(), renew=_renew)
    with _lock:
        old, _running = _running, fresh
    if old is not None:
        closing = threading.Timer(LAST_CALLERS, old.close)
        closing.daemon = True
        closing.start()


def stop() -> None:
    """Close the process's engine; the next `running` builds a new one."""
    global _running
    with _lock:
        engine, _running = _running, None
    if engine is not None:
        engine.close()
