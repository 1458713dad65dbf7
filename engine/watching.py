"""Which sinks hear of decisions, and what runs beside routing. Part of the bootstrap, like it allowed to know every adapter."""
from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TextIO

import numpy as np
from sqlalchemy import Engine as Database

from db.alerts import Alerts as AlertTable
from db.charts import Charts
from db.locks import Lock
from db.rollups import Rollups
from db.services import Services as ServiceTable
from engine import reported
from engine.adapters.alertmanager import Alertmanager
from engine.adapters.machine import instance_name, memory_share
from engine.adapters.mail import Mail
from engine.adapters.webhook import Webhook
from engine.alert_rules import SHIPPED, Measure, Rule
from engine.alerts import Alerts, Trail
from engine.breaker import ServiceState
from engine.errors import ServiceUnavailable
from engine.guarded import Services
from engine.health import Health
from engine.notify import Channel, Notifier
from engine.outage import Outage
from engine.ports import Clock
from engine.timeline import ChartWindow
from engine.readings import ALIVE, Readings
from engine.intervals import effective_size
from engine.reliability import debiased_calibration_error
from engine.settings import Settings
from engine.spool import Spool
from engine.telemetry.fanout import Sink, Telemetry
from engine.telemetry.log import DecisionLog
from engine.telemetry.metrics import Metrics
from engine.telemetry.services import ServiceCounts
from engine.upkeep import Task, Upkeep

# With fewer, what an alert rule of any system reads from the gauge would be noise.
FEWEST_CALIBRATION_LABELS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Charts, alerts, metrics, and the thread that keeps them going."""

    charts: Charts
    rollups: Rollups
    alerts: Alerts
    alert_table: AlertTable
    notifier: Notifier
    metrics: Metrics
    waiting: Callable[[], int]
    instances: Callable[[], Sequence[reported.Instance]]
    upkeep: Upkeep
    close: Callable[[], None]


def telemetry(settings: Settings, stream: TextIO | None) -> tuple[Telemetry, Metrics]:
    """Everything that hears of decisions and events, as one."""
    log = DecisionLog(settings.routing_log_path, stream=stream)
    metrics = Metrics(multiprocess_dir=settings.prometheus_multiproc_dir)
    sinks: list[Sink] = [log, metrics]
    closing = [log.close, metrics.close]
    if settings.cloudwatch_access_key is not None:
        from engine.adapters.cloudwatch import CloudWatch

        exporter = CloudWatch.from_settings(settings)
        sinks.append(exporter)
        closing.append(exporter.close)
    if settings.otel_endpoint is not None:
        from engine.adapters.tracing import Tracing

        tracing = Tracing(settings.otel_endpoint)
        sinks.append(tracing)
        closing.append(tracing.close)
    return Telemetry(sinks, closing=closing), metrics


def instances(database: Database, clock: Clock) -> Sequence[reported.Instance]:
    """The processes that reported within the last two minutes. Raises ServiceUnavailable."""
    return ServiceTable(database).alive(since=clock() - ALIVE)


def told(database: Database, clock: Clock) -> dict[str, ServiceState]:
    """What those processes know of their services; nothing without the database."""
    try:
        return reported.together(instances(database, clock))
    except ServiceUnavailable:
        return {}


def watch(
    settings: Settings, *, database: Database, analytics: Database, log: Telemetry, metrics: Metrics, services: Services, health: Health,
    spool: Spool, has_real_tickets: Callable[[], bool], audit: Trail, clock: Clock,
) -> Watch:
    """Join what watches the router; `upkeep.start` sets it going, `close` stops it."""
    charts, rollups = Charts(analytics, clock=clock), Rollups(database, clock=clock)
    table, alert_table = ServiceTable(database), AlertTable(database)
    # Alerts look at the primary: a replica that lags would keep them open or quiet for too long.
    readings_from = charts if analytics is database else Charts(database, clock=clock)

    def calibration(since: datetime) -> tuple[float, int]:
        rows = readings_from.labels(since, demo=not has_real_tickets())
        weights = np.array([r.weight for r in rows])
        error = debiased_calibration_error([r.confidence for r in rows], [r.correct for r in rows], weights=weights)
        return error, int(effective_size(float(weights.sum()), float(np.square(weights).sum())) + 0.5)

    counts, name = ServiceCounts(clock=clock, refusals_of={"index"}), instance_name()
    known = 0

    def waiting() -> int:
        # A ticket is stored in one statement with its decision, so the spools hold all that is accepted and not routed yet.
        # What this instance last reported is a few seconds old; what lies on its disk is not.
        nonlocal known
        known = spool.share() + sum(i.spooled for i in table.alive(since=clock() - ALIVE) if i.name != name)
        return known

    channels, page = _channels(settings, clock), f"{settings.own_url}/alerts"
    notifier = Notifier(store=alert_table, channels=channels, page=page, clock=clock, log=log, chance=random.Random())
    outage = Outage(
        answers=lambda: health.test("database").ok, channels=channels, rule=_about_the_database(SHIPPED), page=page, instance=name, clock=clock,
        log=log,
    )
    readings = Readings(
        figures=readings_from, services=table, waiting=waiting, demo=lambda: not has_real_tickets(), calibration=calibration
    )
    alerts = Alerts(store=alert_table, measure=readings, audit=audit, log=log, clock=clock, channels=notifier.channels)

    def report() -> None:
        ready = health.ready()
        counts.take(services.states())
        counts.add("console", calls=1, errors=0 if ready else 1)
        counts.flush(table)
        now = clock()
        table.beat(
            name, memory_share=memory_share(), spooled=spool.share(), now=now, services=reported.as_rows(services.states())
        )
        rule = _about_the_database(alerts.rules())
        silences = [s.until for s in alert_table.silences(now) if s.rule in ("", rule.name) and s.subject in ("", name)]
        outage.learn(rule, quiet_until=max(silences, default=None))

    def evaluate() -> None:
        with table.alone(Lock.EVALUATING) as mine:
            if mine:
                alerts.evaluate()

    def gauges() -> None:
        now, demo = clock(), not has_real_tickets()
        hour, week = (charts.totals(ChartWindow(_minute(now - length), now, demo)) for length in (timedelta(hours=1), timedelta(days=7)))
        error, labels = calibration(now - timedelta(days=30))
        metrics.set_ratios(
            hit=hour.hit_rate, false_hit=week.false_hit_rate, accuracy=week.accuracy,
            calibration=error if labels >= FEWEST_CALIBRATION_LABELS else None,
        )
        opened = alert_table.open_by_severity()
        for severity in ("critical", "warning"):
            metrics.alerts.labels(severity).set(opened.get(severity, 0))
        metrics.waiting.set(waiting())
        metrics.pending.set(rollups.pending())
        metrics.sessions.set(table.sessions(now=now))

    def quick() -> None:
        metrics.services(services.states())
        metrics.memory.set(memory_share())
        metrics.spool.set(spool.waiting())
        # While the database is away, nobody else's spool is known, but this one fills.
        metrics.waiting.set(max(known, spool.waiting()))
        metrics.pool.labels("in_use").set(database.pool.checkedout())
        metrics.pool.labels("idle").set(database.pool.checkedin())
        metrics.pool.labels("most").set(settings.database_pool_size + settings.database_pool_overflow)

    metrics.on_render(quick)

    def prune() -> None:
        rollups.prune()
        table.prune(now=clock())

    upkeep = Upkeep(
        (
            # Charts count what is not rolled up yet as well; larger batches cost less for each ticket.
            Task("roll", 5.0, rollups.roll), Task("report", 15.0, report), Task("alerts", 15.0, evaluate),
            Task("outage", 5.0, outage.look), Task("notices", 5.0, notifier.send_due), Task("repeats", 30.0, notifier.repeat), Task("gauges", 15.0, gauges),
            Task("prune", 3600.0, prune),
        ),
        log=log, stopwatch=time.monotonic,
    )

    def close() -> None:
        upkeep.close()
        with suppress(ServiceUnavailable):
            table.leave(name)

    return Watch(
        charts=charts, rollups=rollups, alerts=alerts, alert_table=alert_table, notifier=notifier, metrics=metrics, waiting=waiting,
        instances=lambda: instances(database, clock), upkeep=upkeep, close=close,
    )


def _about_the_database(rules: Sequence[Rule]) -> Rule:
    return next(rule for rule in rules if rule.measure is Measure.DATABASE_FAILURES)


def _channels(settings: Settings, clock: Clock) -> Mapping[str, Channel]:
    found: dict[str, Channel] = {}
    if settings.alert_webhook_url is not None:
        found["webhook"] = Webhook(settings.alert_webhook_url.get_secret_value())
    if settings.smtp_host is not None and settings.alert_mail_to is not None:
        found["mail"] = Mail(
            host=settings.smtp_host, port=settings.smtp_port, sender=settings.alert_mail_from or f"console@{settings.smtp_host}",
            receivers=[address.strip() for address in settings.alert_mail_to.split(",") if address.strip()], user=settings.smtp_user,
            password=settings.smtp_password.get_secret_value() if settings.smtp_password else None, encryption=settings.smtp_encryption,
        )
    if settings.alertmanager_url is not None:
        found["alertmanager"] = Alertmanager(settings.alertmanager_url, clock=clock)
    return found


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
