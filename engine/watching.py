"""Which sinks hear of decisions, and what runs beside routing. Part of the bootstrap, like it allowed to know every adapter; the
database comes from there as `WatchedTables`."""
from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO

import numpy as np

from engine import reported, telling
from engine.adapters.machine import instance_name, memory_share
from engine.alert_rules import SHIPPED, Measure, Rule
from engine.alerts import SUBJECT_OF_ALL, Alerts, Reading, Trail
from engine.breaker import ServiceState
from engine.errors import ServiceUnavailable
from engine.guarded import Services
from engine.health import Health
from engine.notify import Notifier
from engine.outage import Outage
from engine.ports import Clock
from engine.readings import ALIVE, Readings
from engine.intervals import effective_count
from engine.reliability import debiased_calibration_error
from engine.settings import Settings
from engine.spool import Spool
from engine.telemetry.fanout import Sink, Telemetry
from engine.telemetry.log import DecisionLog
from engine.telemetry.metrics import Metrics
from engine.telemetry.services import ServiceCounts
from engine.upkeep import Task, Upkeep
from engine.usage import Usage
from engine.watched import AlertTable, RollupStore, ServiceTable, WatchedTables


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Charts, alerts, metrics, and the threads that keep them going: `notices` waits for receivers, `upkeep` for nobody outside."""

    charts: Any
    rollups: RollupStore
    alerts: Alerts
    alert_table: AlertTable
    notifier: Notifier
    metrics: Metrics
    waiting: Callable[[], int]
    instances: Callable[[], Sequence[reported.Instance]]
    upkeep: Upkeep
    notices: Upkeep
    lookout: telling.Lookout
    close: Callable[[], None]


def telemetry(settings: Settings, stream: TextIO | None) -> tuple[Telemetry, Metrics]:
    """Everything that hears of decisions and events, as one."""
    log = DecisionLog(settings.routing_log_path, stream=stream)
    metrics = Metrics(multiprocess_dir=settings.prometheus_multiproc_dir)
    metrics.follow(metrics.log_lines_lost, lambda: log.lost)
    sinks: list[Sink] = [log, metrics]
    closing = [log.close, metrics.close]
    if settings.cloudwatch_access_key is not None:
        from engine.adapters.cloudwatch import CloudWatch

        exporter = CloudWatch.from_settings(
            settings, standing=metrics.standing, failed=lambda reason: log.event("export_failed", receiver="cloudwatch", reason=reason)
        )
        metrics.follow(metrics.cloudwatch_failures, lambda: exporter.failures)
        sinks.append(exporter)
        closing.append(exporter.close)
    if settings.otel_endpoint is not None:
        from engine.adapters.tracing import Tracing

        tracing = Tracing(settings.otel_endpoint, failed=lambda reason: log.event("export_failed", receiver="opentelemetry", reason=reason))
        metrics.follow(metrics.traces_dropped, lambda: tracing.dropped)
        sinks.append(tracing)
        closing.append(tracing.close)
    together = Telemetry(sinks, closing=closing)
    metrics.follow(metrics.telemetry_failures, lambda: together.failures)
    return together, metrics


def instances(table: ServiceTable, clock: Clock) -> Sequence[reported.Instance]:
    """The processes that reported within the last two minutes. Raises ServiceUnavailable."""
    return table.alive(since=clock() - ALIVE)


def workers(table: ServiceTable, clock: Clock) -> str:
    """The names of the running workers. Raises ServiceUnavailable, also where there is none."""
    names = [instance.name for instance in instances(table, clock) if instance.worker]
    if not names:
        raise ServiceUnavailable("worker", "none reports")
    return ", ".join(names)


def told(table: ServiceTable, clock: Clock) -> dict[str, ServiceState]:
    """What those processes know of their services; nothing without the database."""
    try:
        return reported.together(instances(table, clock))
    except ServiceUnavailable:
        return {}


def watch(
    settings: Settings, *, tables: WatchedTables, log: Telemetry, metrics: Metrics, services: Services, health: Health, spool: Spool,
    has_real_tickets: Callable[[], bool], audit: Trail, clock: Clock, lookout: telling.Lookout,
    usage: Callable[[], Usage] | None = None, worker: bool = False,
) -> Watch:
    """Join what watches the router; `upkeep.start` and `notices.start` set it going, `close` stops both.

    A `worker` says that it is one, and what it finds says nothing about the availability of consoles. `lookout` watches the
    database, also while there is no engine. `usage` is the language model's, where there is one.
    """
    table, alert_table, rollups = tables.services, tables.alerts, tables.rollups

    def calibration(since: datetime) -> tuple[float, int]:
        rows = tables.figures.labels(since, demo=not has_real_tickets())
        weights = np.array([r.weight for r in rows])
        error = debiased_calibration_error([r.confidence for r in rows], [r.correct for r in rows], weights=weights)
        return error, int(effective_count(weights) + 0.5)

    counts, name = ServiceCounts(clock=clock, refusals_of={"index"}), instance_name()
    known = 0

    def waiting() -> int:
        # A ticket is stored in one statement with its decision, so the spools hold all that is accepted and not routed yet.
        # What this instance last reported is a few seconds old; what lies on its disk is not.
        nonlocal known
        known = spool.share() + sum(i.spooled for i in table.alive(since=clock() - ALIVE) if i.name != name)
        return known

    channels, outage = telling.channels(settings, clock), lookout.outage
    notifier = Notifier(store=alert_table, channels=channels, page=telling.page(settings), clock=clock, log=log, chance=random.Random())
    outage.follow(answers=lambda: health.test("database").ok, log=log)
    readings = Readings(
        figures=tables.figures, services=table, waiting=waiting, demo=lambda: not has_real_tickets(), calibration=calibration,
        kept=lambda since: tables.reviewed.kept(demo=not has_real_tickets(), since=since), covered=alert_table.covered,
        changed=tables.taxonomy.changed,
    )
    alerts = Alerts(store=alert_table, measure=readings, audit=audit, log=log, clock=clock, channels=notifier.channels)

    def report() -> None:
        ready = health.ready()
        metrics.ready.set(ready)
        if tables.replica_version is not None:
            # Whoever looks at charts next need not be the one who finds out.
            health.test("replica")
        counts.take(services.states())
        if not worker:
            counts.add("console", calls=1, errors=0 if ready else 1)
        now = clock()
        if outage.settle(lambda told: alert_table.cover(told, until=now)):
            counts.flush(table)
        table.beat(
            name, memory_share=memory_share(), spooled=spool.share(), set_aside=spool.set_aside_share(), now=now,
            services=reported.as_rows(services.states()), worker=worker, needs_worker=settings.background_work == "worker" and not worker,
        )
        _inform(outage, rule=telling.about_the_database(alerts.rules()), table=alert_table, channels=channels, now=now)

    def evaluate() -> None:
        with tables.evaluating() as mine:
            if mine:
                alerts.evaluate()

    def gauges() -> None:
        now = clock()
        metrics.set_figures(figures(readings, now, wanted=metrics.figures))
        metrics.set_alerts(alert_table.open_by_severity())
        metrics.waiting.set(waiting())
        metrics.without_worker.set(reported.without_worker(instances(table, clock)))
        metrics.pending.set(rollups.pending())
        metrics.sessions.set(table.sessions(now=now, idle=timedelta(seconds=settings.session_idle_seconds)))

    def quick() -> None:
        metrics.services(services.states())
        if usage is not None:
            metrics.language_model(usage())
        metrics.memory.set(memory_share())
        metrics.spool.set(spool.waiting())
        metrics.set_aside.set(len(spool.set_aside))
        # While the database is away, nobody else's spool is known, but this one fills.
        metrics.waiting.set(max(known, spool.waiting()))
        for state, connections in zip(("in_use", "idle"), tables.pool(), strict=True):
            metrics.pool.labels(state).set(connections)
        metrics.pool.labels("most").set(settings.database_pool_size + settings.database_pool_overflow)

    metrics.on_render(quick)
    # Without a database that answers there would be no engine to watch.
    metrics.ready.set(1)

    def prune() -> None:
        rollups.prune()
        table.prune(now=clock())

    upkeep = Upkeep(
        (
            # Charts count what is not rolled up yet as well; larger batches cost less for each ticket.
            Task("roll", 5.0, rollups.roll), Task("report", 15.0, report, at_once=worker), Task("alerts", 15.0, evaluate),
            Task("gauges", 15.0, gauges, at_once=True), Task("prune", 3600.0, prune),
        ),
        log=log, stopwatch=time.monotonic,
    )
    notices = Upkeep((Task("notices", 5.0, notifier.send_due), Task("repeats", 30.0, notifier.repeat)), log=log, stopwatch=time.monotonic)

    def close() -> None:
        upkeep.close()
        notices.close()
        with suppress(ServiceUnavailable):
            table.leave(name)

    return Watch(
        charts=tables.charts, rollups=rollups, alerts=alerts, alert_table=alert_table, notifier=notifier, metrics=metrics, waiting=waiting,
        instances=lambda: instances(table, clock), upkeep=upkeep, notices=notices, lookout=lookout, close=close,
    )


def _inform(outage: Outage, *, rule: Rule, table: AlertTable, channels: Collection[str], now: datetime) -> None:
    """Tell the outage's watch, while the database answers, what it has to know when it does not: the rule, silences, who was told."""
    silences = [s.until for s in table.silences(now) if s.rule in ("", rule.name) and s.subject == SUBJECT_OF_ALL]
    opened = {name: table.open_told(name, now) for name in channels}
    outage.learn(
        rule, quiet_until=max(silences, default=None),
        told=[name for name, rows in opened.items() if any((r.rule, r.subject) == (rule.name, SUBJECT_OF_ALL) for r in rows)],
    )


def figures(readings: Callable[[Rule, datetime], Sequence[Reading]], now: datetime, *, wanted: Collection[str]) -> dict[str, Reading]:
    """What the shipped rules read of the whole console at `now`, by the measures that are `wanted`."""
    found = {}
    for rule in SHIPPED:
        if rule.measure.value in wanted and rule.measure.value not in found:
            whole = next((r for r in readings(rule, now) if r.subject == SUBJECT_OF_ALL), None)
            # With fewer labels, what an alert rule of any system reads from the gauge of the calibration would be noise.
            if whole is not None and whole.sample >= (rule.minimum if rule.measure is Measure.CALIBRATION_ERROR else 1):
                found[rule.measure.value] = whole
    return found
