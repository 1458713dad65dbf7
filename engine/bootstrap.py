"""Settings become a running Engine: the only module that knows the database, and with its parts every adapter."""
from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import threadpoolctl
from sqlalchemy import Engine as Database

from db import migrate
from db.archive import Archive
from db.decisions import Decisions
from db.embedded import EmbeddedServers
from db.exemplars import Exemplars
from db.outbox import Outbox
from db.outcomes import Outcomes
from db.retention import Retention
from db.reviewed import Reviewed
from db.session import connect, doubt, reach
from db.storage import Storage
from db.taxonomy import Taxonomy
from engine import audit as audit_module
from engine import settings as settings_module
from engine import backends, entrance, preparing, taxonomy_csv, telling, watching
from engine.adapters.gemini import Gemini
from engine.adapters.pinecone_index import PineconeIndex
from engine.adapters.redis_cache import RedisCache
from engine.adapters.redis_client import RedisClient
from engine.adapters.redis_counter import RedisCounter
from engine.audited import AuditedOutcomes, AuditedPolicies
from engine.background import Background
from engine.drain import Drainer
from engine.guarded import GuardedCache, GuardedCounter, Services
from engine.health import Health
from engine.loading import StateLoader
from engine.ports import Clock
from engine.reembed import Reembedder
from engine.refresh import Refresher
from engine.reindex import Reindexer
from engine.resilience import Limits
from engine.router import ConfidenceRouter
from engine.settings import Settings
from engine.spool import Spool
from engine.telemetry.fanout import Telemetry
from engine.tracking import Tracking
from engine.training import Trainer
from engine.watching import Watch

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


def now() -> datetime:
    """The clock of every engine that is given no other."""
    return datetime.now(UTC)


def build(
    settings: Settings, *, chance: random.Random | None = None, log_stream: object = "stderr", clock: Clock = now,
    renew: Callable[[], None] | None = None, working: bool = True, worker: bool = False,
    lookout: telling.Lookout | None = None,
) -> Engine:
    """Start what must be embedded, migrate, learn if nothing was learned yet, and join everything.

    `renew` is called when another engine should take over, because the wanted embedder's vectors are complete.
    `lookout` watches the database for longer than this engine lives; by default the engine has one of its own.
    A `worker` serves nobody and prepares later answers (`engine.preparing`) also for consoles that leave that to one.
    Without `working` no thread drains, reports, alerts or learns; health then tells what the working processes report.
    Raises ConfigurationError and ServiceUnavailable; what was opened before is closed again.
    """
    # More threads help no matrix as small as a ticket's, and wait for each other whenever the machine is busy.
    threadpoolctl.threadpool_limits(1, user_api="blas")
    with ExitStack() as stack:
        log, metrics = watching.telemetry(settings, sys.stderr if log_stream == "stderr" else log_stream)
        stack.callback(log.close)
        services = Services(stopwatch=time.monotonic, clock=clock, sleep=time.sleep, chance=random.Random())
        # An address that is none is told while the database is away too.
        replica = _replica(settings, services, stack)
        postgres_url, redis_url, keeper = _servers(settings, log, stack)
        chance = chance or random.Random()
        gate = services.breaker("database", failures=2, pause=4.0, longest=10.0)
        database = connect(postgres_url, pool_size=settings.database_pool_size, overflow=settings.database_pool_overflow, gate=gate)
        stack.callback(database.dispose)
        migrate.upgrade(database)
        # The first look at its health tries to store something: a read-only standby is told before its first ticket, and by what stores nothing itself.
        doubt(database).set()
        storage = Storage(database, replica=replica, clock=clock, seal=audit_module.seal)
        redis = RedisClient(redis_url, cluster=settings.redis_cluster, ca=settings.redis_ca_path)
        stack.callback(redis.close)
        cache = RedisCache(redis, ttl=settings.cache_ttl_seconds)
        counter = GuardedCounter(RedisCounter(redis), services.side_door("cache", limits=Limits(seconds=2.0), longest=10.0))
        embedders = backends.embedders(settings, storage, services)
        embedder = embedders.current
        exemplars, decisions, policies, models = storage.exemplars(embedder), storage.decisions, storage.policies, storage.models
        trainer = Trainer(
            embedder=embedder, exemplars=exemplars, models=models, catalogue=storage.catalogue(embedder), policy=policies.live
        )
        trainer.begin(*taxonomy_csv.starter(STARTER))
        trainer.ensure()
        index = backends.index(
            settings, storage, exemplars, embedder, services=services, log=log, live=lambda: state.current().live,
            working=working,
        )
        language_model, gemini = backends.language_model(settings, services)
        spool = Spool(settings.spool_folder)
        stack.callback(spool.close)
        door = entrance.build(
            settings, users=storage.users, attempts=storage.attempts, sessions=storage.sessions, tokens=storage.tokens,
            audit=storage.audit, counter=counter, clock=clock, log=log,
        )
        audit = door.audit
        tracking = Tracking(storage.reviewed, clock=clock, has_real_tickets=decisions.has_real_tickets)

        loader = StateLoader(
            policies=policies, models=models, taxonomy=storage.taxonomy, exemplars=exemplars, tracking=tracking,
            versions=storage.counters, embedder=embedder.name, database=storage.identity(), log=log,
        )
        state = Refresher(load=loader.load, stamp=loader.stamp, log=log)
        stack.callback(state.close)
        router = ConfidenceRouter(
            embedder=embedder, index=index.first, index_copy=index.copy, language_model=language_model, spool=spool,
            lease=backends.leases(storage, embedder, index),
            forget_all=lambda: (storage.leave_cache(), state.refresh()),
            cache=GuardedCache(cache, services.service("cache", limits=Limits(seconds=2.0), longest=10.0)),
            decisions=decisions,
            outcomes=AuditedOutcomes(storage.outcomes, audit),
            state=state, learn=trainer.learn, log=log, clock=clock, stopwatch=time.perf_counter, chance=chance,
            minimum=settings.ticket_min_characters, maximum=settings.ticket_max_characters,
        )
        stack.callback(router.close)
        health = Health(
            backends.checks(
                settings, database=storage.version, replica=storage.replica_version, cache=cache.ping,
                model=lambda: backends.model_version(state.current()),
                index=index, embedders=embedders, gemini=gemini,
                notes=spool.state,
                workers=lambda: watching.workers(storage.services, clock),
            ),
            stopwatch=time.perf_counter, states=services.states if working else lambda: watching.told(storage.services, clock),
        )
        drainer = Drainer(
            spool=spool, route=router.route_tickets, store=decisions, open_for_calls=lambda: gate.asks_allowed, log=log
        )
        own_lookout = telling.lookout(settings, answers=lambda: True, clock=clock, log=log) if lookout is None else None
        watch = watching.watch(
            settings, tables=storage, log=log, metrics=metrics, services=services, health=health, spool=spool,
            has_real_tickets=decisions.has_real_tickets, audit=audit, clock=clock, usage=gemini.usage if gemini else None,
            lookout=lookout or own_lookout, worker=worker,
        )
        stack.callback(watch.close)
        preparation = preparing.prepare(
            storage, trainer=trainer, current=embedder, wanted=embedders.wanted, complete=embedders.complete, policy=policies.live,
            reindexer=index.reindexer, renew=renew, log=log, here=worker or settings.background_work == "console",
        )
        loops = (keeper, watch.upkeep, watch.notices, own_lookout, drainer, *preparation.loops, state) if working else ()
        if working and not worker:
            backends.tell_of(health.test("spool"), log)
        for loop in filter(None, loops):
            stack.callback(loop.close)
            loop.start()
        identity_provider, closing = backends.identity_provider(settings), stack.pop_all()
        return Engine(
            settings=settings, router=router, trainer=trainer, decisions=decisions, outcomes=storage.outcomes, exemplars=exemplars,
            taxonomy=storage.taxonomy, policies=AuditedPolicies(policies, audit), watch=watch, reviewed=storage.reviewed, tracking=tracking,
            accounts=door.accounts, sessions=door.sessions, tokens=door.tokens, audit=audit, limits=door.limits,
            identity_provider=identity_provider, retention=storage.retention, health=health, state=state, log=log, close=closing.close,
            services=services, spool=spool, drainer=drainer, reindexer=index.reindexer, outbox=index.notes, remote_index=index.remote,
            reembedder=preparation.reembedder, gemini=gemini,
        )


def _replica(settings: Settings, services: Services, stack: ExitStack) -> Database | None:
    if settings.analytics_url is None:
        return None
    replica = connect(
        settings.analytics_url, name="console-charts", gate=backends.replica_breaker(services), setting="ANALYTICS_DATABASE_URL"
    )
    stack.callback(replica.dispose)
    return replica


def _servers(settings: Settings, log: Telemetry, stack: ExitStack) -> tuple[str, str, Background | None]:
    """Where Postgres and Redis are, those started here that are not given, and what starts these again when they have ended."""
    postgres_url, redis_url = settings.postgres_url, settings.redis_address
    if postgres_url is not None:
        # Nothing is started beside a database that is away.
        reach(postgres_url)
        if redis_url is not None:
            return postgres_url, redis_url, None
    embedded = EmbeddedServers(
        settings.data_dir, postgres=postgres_url is None, valkey=redis_url is None, environment=settings_module.bare_environment()
    )
    stack.callback(embedded.close)
    embedded.start()
    return postgres_url or embedded.postgres_url, redis_url or embedded.redis_url, backends.keeper(embedded, log)


def migrate_only(settings: Settings, *, begun: Callable[[str, str], None]) -> tuple[str | None, str | None]:
    """Bring the database to the newest schema, telling `begun` as db.migrate does; the revisions. Raises ConfigurationError for the replica's URL too."""
    with ExitStack() as stack:
        if settings.analytics_url is not None:
            connect(settings.analytics_url, setting="ANALYTICS_DATABASE_URL").dispose()
        url = settings.postgres_url
        if url is None:
            embedded = EmbeddedServers(settings.data_dir, valkey=False, environment=settings_module.bare_environment())
            stack.callback(embedded.close)
            url = embedded.start().postgres_url
        database = connect(url)
        stack.callback(database.dispose)
        return migrate.upgrade(database, begun=begun)


def archive(settings: Settings) -> Archive:
    """What backs the database up and restores it; opens nothing yet."""
    return Archive(settings.postgres_url, settings.data_dir, environment=settings_module.bare_environment(), seal=audit_module.seal)
