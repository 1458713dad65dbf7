"""Which sinks hear of decisions, and what runs beside routing. Part of the bootstrap, like it allowed to know every adapter."""
from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TextIO

from sqlalchemy import Engine as Database

from db.alerts import Alerts as AlertTable
from db.charts import Charts
from db.rollups import Rollups
from db.services import Services as ServiceTable
from engine.adapters.alertmanager import Alertmanager
from engine.adapters.machine import instance_name, memory_share
from engine.adapters.mail import Mail
from engine.adapters.webhook import Webhook
from engine.alerts import Alerts
from engine.errors import ServiceUnavailable
from engine.guarded import Services
from engine.health import Health
from engine.notify import Channel, Notifier
from engine.ports import Clock
from engine.timeline import ChartWindow
from engine.readings import ALIVE, Readings
from engine.reliability import expected_calibration_error
from engine.settings import Settings
from engine.spool import Spool
from engine.telemetry.fanout import Sink, Telemetry
from engine.telemetry.log import DecisionLog
from engine.telemetry.metrics import Metrics
from engine.telemetry.services import ServiceCounts
from engine.upkeep import Task, Upkeep

_EVALUATING = 7_203_813


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


def watch(
    settings: Settings, *, database: Database, analytics: Database, log: Telemetry, metrics: Metrics, services: Services, health: Health,
    spool: Spool, has_real_tickets: Callable[[], bool], clock: Clock,
) -> Watch:
    """Join what watches the router; `upkeep.start` sets it going, `close` stops it."""
    charts, rollups = Charts(analytics, clock=clock), Rollups(database, clock=clock)
    table, alert_table = ServiceTable(database), AlertTable(database)
    # Alerts look at the primary: a replica that lags would keep them open or quiet for too long.
    readings_from = charts if analytics is database else Charts(database, clock=clock)

    def calibration(since: datetime) -> tuple[float, int]:
        rows = readings_from.labels(since, demo=not has_real_tickets())
        error = expected_calibration_error([r.confidence for r in rows], [r.correct for r in rows], weights=[r.weight for r in rows])
        return error, len(rows)

    def waiting() -> int:
        return sum(i.spooled for i in table.alive(since=clock() - ALIVE))

    notifier = Notifier(
        store=alert_table, channels=_channels(settings), page=f"{settings.console_url.rstrip('/')}/alerts", clock=clock, log=log,
        chance=random.Random(),
    )
    readings = Readings(
        figures=readings_from, services=table, waiting=waiting, demo=lambda: not has_real_tickets(), calibration=calibration
    )
    alerts = Alerts(store=alert_table, measure=readings, log=log, clock=clock, channels=notifier.channels)
    counts, name = ServiceCounts(clock=clock), instance_name()

    def report() -> None:
        ready = health.ready()
        counts.take(services.states())
        counts.add("console", calls=1, errors=0 if ready else 1)
        counts.flush(table)
        table.beat(name, memory_share=memory_share(), spooled=spool.waiting(), now=clock())

    def evaluate() -> None:
        with table.alone(_EVALUATING) as mine:
            if mine:
                alerts.evaluate()

    def gauges() -> None:
        now, demo = clock(), not has_real_tickets()
        hour, week = (charts.totals(ChartWindow(_minute(now - length), now, demo)) for length in (timedelta(hours=1), timedelta(days=7)))
        metrics.set_ratios(
            hit=hour.hit_rate, false_hit=week.false_hit_rate, accuracy=week.accuracy, calibration=calibration(now - timedelta(days=30))[0]
        )
        opened = [alert.severity for alert in alert_table.latest(limit=500) if alert.resolved_at is None]
        for severity in ("critical", "warning"):
            metrics.alerts.labels(severity).set(opened.count(severity))
        metrics.waiting.set(waiting())
        metrics.pending.set(rollups.pending())
        metrics.sessions.set(table.sessions(now=now))

    def quick() -> None:
        metrics.services(services.states())
        metrics.memory.set(memory_share())
        metrics.spool.set(spool.waiting())
        metrics.pool.labels("in_use").set(database.pool.checkedout())
        metrics.pool.labels("idle").set(database.pool.checkedin())
        metrics.pool.labels("most").set(settings.database_pool_size + settings.database_pool_overflow)

    metrics.on_render(quick)

    def prune() -> None:
        rollups.prune()
        table.prune(now=clock())

    upkeep = Upkeep(
        (
            Task("roll", 2.0, rollups.roll), Task("report", 15.0, report), Task("alerts", 15.0, evaluate),
            Task("notices", 5.0, notifier.send_due), Task("gauges", 15.0, gauges), Task("prune", 3600.0, prune),
        ),
        log=log, stopwatch=time.monotonic,
    )

    def close() -> None:
        upkeep.close()
        with suppress(ServiceUnavailable):
            table.leave(name)

    return Watch(
        charts=charts, rollups=rollups, alerts=alerts, alert_table=alert_table, notifier=notifier, metrics=metrics, waiting=waiting,
        upkeep=upkeep, close=close,
    )


def _channels(settings: Settings) -> Mapping[str, Channel]:
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
        found["alertmanager"] = Alertmanager(settings.alertmanager_url)
    return found


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
