"""Metrics to Amazon CloudWatch under `CallCentre/Routing`, gathered for a minute and sent by a thread of its own.

Optional: needs boto3 (requirements-extra.txt) and CLOUDWATCH_ACCESS_KEY with CLOUDWATCH_SECRET_KEY.
"""
from __future__ import annotations

import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

from engine.domain import Decision, Method, Ticket
from engine.errors import ConfigurationError

NAMESPACE = "CallCentre/Routing"
EVERY = 60.0
# What one call of the interface takes: values of one metric, and metrics.
VALUES, METRICS = 150, 1000
# Distinct values kept per metric while CloudWatch is away.
MOST = 5_000


class CloudWatch:
    """A sink for decisions and events. A ticket costs a few dictionary updates; sending happens elsewhere."""

    def __init__(self, client: Any, *, every: float = EVERY) -> None:
        self._client = client
        self._every = every
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._times: dict[str, Counter[float]] = defaultdict(Counter)
        self._counts: Counter[str] = Counter()
        self.failures = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cloudwatch", daemon=True)
        self._thread.start()

    @classmethod
    def from_settings(cls, settings: Any) -> CloudWatch:
        """With the keys, region and endpoint of the settings. Raises ConfigurationError without boto3."""
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise ConfigurationError("CLOUDWATCH_ACCESS_KEY: boto3 is missing; pip install -r requirements-extra.txt") from error
        return cls(boto3.client(
            "cloudwatch", region_name=settings.cloudwatch_region, endpoint_url=settings.cloudwatch_endpoint,
            aws_access_key_id=settings.cloudwatch_access_key.get_secret_value(),
            aws_secret_access_key=settings.cloudwatch_secret_key.get_secret_value(),
            config=Config(connect_timeout=3, read_timeout=5, retries={"max_attempts": 2, "mode": "standard"}),
        ))

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None:
        """Gather a stored decision."""
        with self._lock:
            self._counts["Decisions"] += 1
            self._counts["CacheHits"] += decision.method is Method.CACHED
            self._counts["RoutedAlone"] += decision.automation.value == "auto"
            self._counts["LowConfidence"] += decision.confidence < 0.60
            self._counts["DegradedDecisions"] += bool(decision.degraded_by)
            if decision.audit_department is not None:
                self._counts["AuditedHits"] += 1
                self._counts["AuditDisagreements"] += decision.audit_department != decision.department
            # Three digits are enough for a time, and keep the number of distinct values small.
            self._time("ProcessingTime", decision.timings.get("total", 0.0))

    def event(self, name: str, **fields: object) -> None:
        """Gather what CloudWatch should know of."""
        counted = {"service_unavailable": "ServiceErrors", "ticket_spooled": "SpooledTickets", "alert_opened": "AlertsOpened"}.get(name)
        if counted is not None:
            with self._lock:
                self._counts[counted] += 1

    def flush(self) -> bool:
        """Send what was gathered; False when CloudWatch did not take it, which then keeps it for the next time."""
        with self._sending:
            with self._lock:
                times, self._times = self._times, defaultdict(Counter)
                counts, self._counts = self._counts, Counter()
            data = _data(times, counts)
            try:
                while data:
                    self._client.put_metric_data(Namespace=NAMESPACE, MetricData=data[:METRICS])
                    data = data[METRICS:]
            except Exception:  # noqa: BLE001 - botocore makes its error classes at run time
                self.failures += 1
                with self._lock:
                    self._counts.update(counts)
                    for name, values in times.items():
                        if len(self._times[name]) < MOST:
                            self._times[name].update(values)
                return False
            return True

    def close(self) -> None:
        """Send the rest and stop."""
        self._stopped.set()
        self._thread.join(timeout=15)
        self.flush()

    def _time(self, name: str, milliseconds: float) -> None:
        self._times[name][float(f"{milliseconds:.3g}")] += 1

    def _work(self) -> None:
        while not self._stopped.wait(self._every):
            self.flush()


def _data(times: dict[str, Counter[float]], counts: Counter[str]) -> list[dict[str, Any]]:
    if not counts and not times:
        return []
    now = datetime.now(UTC)
    data: list[dict[str, Any]] = []
    if decisions := counts["Decisions"]:
        data.append(_one("CacheHitRate", 100 * counts["CacheHits"] / decisions, "Percent", now))
        data.append(_one("AutomationRate", 100 * counts["RoutedAlone"] / decisions, "Percent", now))
        data.append(_one("LowConfidenceRate", 100 * counts["LowConfidence"] / decisions, "Percent", now))
    if audited := counts["AuditedHits"]:
        data.append(_one("AuditDisagreementRate", 100 * counts["AuditDisagreements"] / audited, "Percent", now))
    data += [_one(name, count, "Count", now) for name, count in sorted(counts.items())]
    for name, values in times.items():
        pairs = sorted(values.items())
        for first in range(0, len(pairs), VALUES):
            some = pairs[first : first + VALUES]
            data.append({
                "MetricName": name, "Timestamp": now, "Unit": "Milliseconds", "Values": [value for value, _ in some],
                "Counts": [float(count) for _, count in some],
            })
    return data


def _one(name: str, value: float, unit: str, at: datetime) -> dict[str, Any]:
    return {"MetricName": name, "Timestamp": at, "Unit": unit, "Value": float(value)}
