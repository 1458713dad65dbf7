"""Metrics to Amazon CloudWatch under `CallCentre/Routing`, gathered for a minute and sent by a thread of its own.

Optional: needs boto3 (requirements-extra.txt) and CLOUDWATCH_ACCESS_KEY with CLOUDWATCH_SECRET_KEY.
"""
from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from engine.domain import Decision, Method, Ticket
from engine.errors import ConfigurationError

NAMESPACE = "CallCentre/Routing"
EVERY = 60.0
# What one call of the interface takes: values of one metric, and metrics.
VALUES, METRICS = 150, 1000
# Figures of the whole console: what they are called here, what they are multiplied with, their unit.
STANDING = {
    "accuracy_ratio": ("Accuracy", 100.0, "Percent"),
    "false_hit_ratio": ("FalseHitRate", 100.0, "Percent"),
    "calibration_error_ratio": ("CalibrationError", 100.0, "Percent"),
    "tickets_waiting": ("TicketsWaiting", 1.0, "Count"),
    "alerts_open": ("OpenAlerts", 1.0, "Count"),
}
# Shares of decisions, or of audited hits: the counts they are made of. Each decision is sent as 0 or 100, so that an average
# over minutes and instances weighs every decision the same, however few a minute had.
SHARES = {
    "CacheHitRate": ("CacheHits", "Decisions"),
    "AutomationRate": ("RoutedAlone", "Decisions"),
    "LowConfidenceRate": ("LowConfidence", "Decisions"),
    "AuditDisagreementRate": ("AuditDisagreements", "AuditedHits"),
}
UNITS = {"ProcessingTime": "Milliseconds", "Confidence": "Percent"}
# Distinct values kept per metric while CloudWatch is away.
MOST = 5_000


class CloudWatch:
    """A sink for decisions and events. A ticket costs a few dictionary updates; sending happens elsewhere.

    `standing` gives the figures of the whole console as they are known at the moment, by the names of STANDING. `failed` hears why
    CloudWatch took nothing, once until it does; `failures` counts each time.
    """

    def __init__(
        self, client: Any, *, standing: Callable[[], Mapping[str, float]] = dict, failed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._client = client
        self._standing = standing
        self._failed = failed
        self._failing = False
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._values: dict[str, Counter[float]] = defaultdict(Counter)
        self._counts: Counter[str] = Counter()
        self.failures = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cloudwatch", daemon=True)
        self._thread.start()

    @classmethod
    def from_settings(cls, settings: Any, *, standing: Callable[[], Mapping[str, float]], failed: Callable[[str], None]) -> CloudWatch:
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
        ), standing=standing, failed=failed)

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
            # Three digits are enough for a time and whole percents for a confidence, and keep the number of distinct values small.
            self._values["ProcessingTime"][float(f"{decision.timings.get('total', 0.0):.3g}")] += 1
            self._values["Confidence"][float(round(100 * decision.confidence))] += 1

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
                values, self._values = self._values, defaultdict(Counter)
                counts, self._counts = self._counts, Counter()
            data = _data(values, counts, self._standing())
            try:
                while data:
                    self._client.put_metric_data(Namespace=NAMESPACE, MetricData=data[:METRICS])
                    data = data[METRICS:]
            except Exception as error:  # noqa: BLE001 - botocore makes its error classes at run time
                self.failures += 1
                with self._lock:
                    self._counts.update(counts)
                    for name, some in values.items():
                        if len(self._values[name]) < MOST:
                            self._values[name].update(some)
                if not self._failing:
                    self._failed(getattr(error, "response", {}).get("Error", {}).get("Code") or type(error).__name__)
                self._failing = True
                return False
            self._failing = False
            return True

    def close(self) -> None:
        """Send the rest and stop."""
        self._stopped.set()
        self._thread.join(timeout=15)
        self.flush()

    def _work(self) -> None:
        while not self._stopped.wait(EVERY):
            self.flush()


def _data(values: Mapping[str, Counter[float]], counts: Counter[str], standing: Mapping[str, float]) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    data = [
        _some(name, {0.0: counts[whole] - counts[part], 100.0: counts[part]}, "Percent", now)
        for name, (part, whole) in SHARES.items() if counts[whole]
    ]
    data += [_one(name, count, "Count", now) for name, count in sorted(counts.items())]
    for name, numbers in values.items():
        pairs = sorted(numbers.items())
        data += [_some(name, dict(pairs[first : first + VALUES]), UNITS[name], now) for first in range(0, len(pairs), VALUES)]
    for known, value in standing.items():
        name, factor, unit = STANDING[known]
        data.append(_one(name, factor * value, unit, now))
    return data


def _some(name: str, numbers: Mapping[float, int], unit: str, at: datetime) -> dict[str, Any]:
    pairs = [(value, count) for value, count in numbers.items() if count]
    return {
        "MetricName": name, "Timestamp": at, "Unit": unit, "Values": [value for value, _ in pairs],
        "Counts": [float(count) for _, count in pairs],
    }


def _one(name: str, value: float, unit: str, at: datetime) -> dict[str, Any]:
    return {"MetricName": name, "Timestamp": at, "Unit": unit, "Value": float(value)}
