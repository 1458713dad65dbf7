"""What Prometheus scrapes at `/metrics`. Names and units follow its conventions: base units, `_total` for counters.

With several processes on one machine (console and workers) give all of them the same PROMETHEUS_MULTIPROC_DIR: each
writes its values into files there, and whichever is scraped answers for all.
"""
from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

from engine.alerts import Reading
from engine.breaker import ServiceState
from engine.domain import Decision, Method, Ticket
from engine.telemetry import shared
from engine.usage import Usage

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST
# A second series per counter that tells when it began doubles what is scraped, and nobody reads it.
disable_created_metrics()
_UNKNOWN = Reading(value=float("nan"), sample=0)
BREAKER = {"closed": 0, "half_open": 1, "open": 2}


class _Kept(dict[Any, Any]):
    """Remembers what `make` gave for each key."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> Any:
        self[key] = made = self._make(key)
        return made


class Metrics:
    """A sink for decisions and events, and gauges that somebody sets. `render` is the text that is scraped."""

    def __init__(self, *, multiprocess_dir: Path | None = None) -> None:
        self._shared = multiprocess_dir
        self._registry = registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._refreshers: list[Callable[[], None]] = []
        if multiprocess_dir is None:
            ProcessCollector(registry=registry)
        else:
            shared.join(multiprocess_dir)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"routing_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str, mode: str = "livemax") -> Gauge:
            return Gauge(f"routing_{name}", text, labels, registry=registry, multiprocess_mode=mode)

        def read(name: str, text: str, *labels: str) -> Gauge:
            # Every process reads it from the same database: what was read last holds, and who has not read it yet says nothing.
            return gauge(name, text, *labels, mode="livemostrecent")

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"routing_{name}", text, labels, registry=registry, buckets=buckets)

        self.decisions = counter("decisions", "Stored decisions.", "department", "method", "automation", "channel")
        self.degraded = counter("degraded_decisions", "Decisions made without a service that should have been asked.", "service")
        self.audited = counter("audited_hits", "Cache hits that also walked through the other stages.")
        self.disagreements = counter("audit_disagreements", "Audited cache hits that the learned router would have sent elsewhere.")
        self.labels = counter("labels", "Labels given by supervisors.", "department", "outcome")
        self.overrules = counter("overrules", "Departments that agents chose themselves.", "department")
        self.confirmations = counter("confirmations", "Departments that agents confirmed.", "department")
        self.spooled_tickets = counter("spooled_tickets", "Accepted tickets kept on disk because the database was away.")
        self.unchecked = counter("rate_limit_unchecked", "Requests let through because the shared counter did not answer.", "kind")
        self.processing = histogram("processing_seconds", "Time from accepting a ticket to its decision.", SECONDS, "method")
        self.stages = histogram("stage_seconds", "Time of one stage for one ticket, by the method that decided it.", SECONDS, "stage", "method")
        self.confidence = histogram("confidence_ratio", "Shown confidence of stored decisions.", RATIOS, "method")
        self.calls = counter("service_calls", "Calls of a service.", "service")
        self.errors = counter("service_errors", "Calls of a service that failed.", "service")
        self.retries = counter("service_retries", "Calls of a service that were tried again.", "service")
        self.refusals = counter("service_refusals", "Calls of a service that were not made because its breaker was open.", "service")
        self.breaker = gauge("service_breaker_state", "0 closed, 1 half open, 2 open: not asked for the time being.", "service")
        self.log_lines_lost = counter("log_lines_lost", "Lines of the decision log that its file did not take.")
        self.traces_dropped = counter("traces_dropped", "Traces that were not kept while the collector did not take any.")
        self.cloudwatch_failures = counter("cloudwatch_failures", "Times that CloudWatch did not take what was to be sent.")
        self.telemetry_failures = counter("telemetry_failures", "Decisions and events that one of those who are told of them did not take.")
        self.events = counter("events", "Lines of the decision log that are not decisions.", "event")
        self.hit_ratio = read("hit_ratio", "Share of decisions of the last hour answered from earlier tickets.")
        self.false_hit_ratio = read("false_hit_ratio", "Share of the cache hits of the last 7 days that were wrong, estimated from labels.")
        self.accuracy = read("accuracy_ratio", "Estimated accuracy of the decisions of the last 7 days.")
        self.calibration = read(
            "calibration_error_ratio", "Calibration error of the labels of the last 30 days, without the part of chance; NaN under 200 labels."
        )
        self.samples = read("sample_size", "Decisions or labels that a figure rests on.", "figure")
        self.drift = read("drift_index", "Population stability index of the last day against the 14 days before.", "distribution")
        self.drift_by_chance = read("drift_chance_index", "What that index stays under in 99 of 100 comparisons of such samples without drift.", "distribution")
        self.shortfall = read(
            "target_shortfall_ratio", "How far what goes alone is less accurate than the target in force; labels of the last 30 days, NaN without a target."
        )
        self.shortfall_by_chance = read(
            "target_shortfall_chance_ratio", "What that shortfall stays under in 999 of 1,000 such samples where the target is met."
        )
        # By the name that a measure of the alert rules has.
        self.figures = {
            "hit_rate": self.hit_ratio, "false_hit_rate": self.false_hit_ratio, "accuracy": self.accuracy,
            "calibration_error": self.calibration, "drift_confidence": self.drift.labels("confidence"),
            "drift_department": self.drift.labels("department"), "shortfall": self.shortfall,
        }
        self.by_chance = {
            "drift_confidence": self.drift_by_chance.labels("confidence"), "drift_department": self.drift_by_chance.labels("department"),
            "shortfall": self.shortfall_by_chance,
        }
        self.ready = read("ready", "1 when all that routing needs has answered the last probe, else 0.")
        self.waiting = gauge("tickets_waiting", "Accepted tickets that are not routed yet.")
        self.spool = gauge("tickets_spooled", "Accepted tickets on this machine's disk that wait for the database.")
        self.set_aside = gauge("tickets_set_aside", "Accepted tickets on this machine's disk that cannot be stored as they are.")
        self.without_worker = read("consoles_without_worker", "Consoles that leave work to a worker while none reports.")
        self.alerts = read("alerts_open", "Open alerts.", "severity")
        self.pending = gauge("rollup_pending_facts", "Facts about decisions that are not rolled up yet.")
        self.pool = gauge("database_pool_connections", "Connections of the pool.", "state", mode="livesum")
        self.sessions = gauge("sessions", "Signed-in sessions that have not expired.")
        self.memory = gauge("memory_used_ratio", "Used memory of the machine or container.")
        self.answers = counter("language_model_answers", "Answers of the language model, usable or not.")
        self.unusable = counter("language_model_unusable_answers", "Answers of the language model that were discarded.", "reason")
        self.tokens = counter("language_model_tokens", "Tokens that the language model has read or written.", "direction")
        self.cost = counter("language_model_cost_dollars", "What these tokens cost at the configured prices, in US dollars.")
        self._last: dict[str, tuple[int, int, int, int]] = {}
        self._used = Usage()
        # Looking a series up by its labels takes longer than counting in it.
        self._counted = _Kept(lambda key: self.decisions.labels(*key))
        self._of_method = _Kept(lambda method: (self.processing.labels(method), self.confidence.labels(method)))
        self._stage = _Kept(lambda key: self.stages.labels(*key))
        if multiprocess_dir is None:
            # Until somebody has read them they are unknown, and not 0.
            self.set_figures({})
            self.set_alerts(None)

    def decision(self, ticket: Ticket, decision: Decision, *, store_ms: float | None = None) -> None:
        """Count a stored decision."""
        self._counted[decision.department, decision.method, decision.automation, ticket.channel].inc()
        for service in decision.degraded_by:
            self.degraded.labels(service).inc()
        if decision.method is Method.CACHED and decision.audit_department is not None:
            self.audited.inc()
            if decision.audit_department != decision.department:
                self.disagreements.inc()
        processing, confidence = self._of_method[decision.method]
        confidence.observe(decision.confidence)
        for stage, milliseconds in decision.timings.items():
            (processing if stage == "total" else self._stage[stage, decision.method]).observe(milliseconds / 1000)
        if store_ms is not None:
            self._stage["store", decision.method].observe(store_ms / 1000)

    def event(self, name: str, **fields: object) -> None:
        """Count an event, and what is in it."""
        self.events.labels(name).inc()
        if name == "ticket_reviewed":
            self.labels.labels(str(fields.get("department", "")), "confirmed" if fields.get("correct") else "corrected").inc()
        elif name == "ticket_overruled":
            self.overrules.labels(str(fields.get("department", ""))).inc()
        elif name == "ticket_confirmed":
            self.confirmations.labels(str(fields.get("department", ""))).inc()
        elif name == "ticket_spooled":
            self.spooled_tickets.inc()
        elif name == "rate_limit_unchecked":
            self.unchecked.labels(str(fields.get("kind", ""))).inc()

    def services(self, states: Mapping[str, ServiceState]) -> None:
        """Take over what the services' breakers have counted since the last time."""
        for name, state in states.items():
            before, now = self._last.get(name, (0, 0, 0, 0)), (state.calls, state.failures, state.retries, state.refused)
            self._last[name] = now
            for counter, earlier, later in zip((self.calls, self.errors, self.retries, self.refusals), before, now, strict=True):
                counter.labels(name).inc(max(0, later - earlier))
            self.breaker.labels(name).set(BREAKER[state.circuit.value])

    def language_model(self, usage: Usage) -> None:
        """Take over what the language model's adapter has counted since the last time."""
        before, self._used = self._used, usage
        self.answers.inc(usage.calls - before.calls)
        self.tokens.labels("input").inc(usage.input_tokens - before.input_tokens)
        self.tokens.labels("output").inc(usage.output_tokens - before.output_tokens)
        self.cost.inc(max(0.0, usage.cost - before.cost))
        for reason, number in usage.unusable.items():
            self.unusable.labels(reason).inc(number - before.unusable.get(reason, 0))

    def follow(self, counter: Counter, total: Callable[[], int]) -> None:
        """Just before each scrape `counter` takes over what somebody else has counted since the last time, of `total` since the start."""
        taken = 0

        def refresh() -> None:
            nonlocal taken
            before, taken = taken, total()
            counter.inc(taken - before)

        self.on_render(refresh)

    def set_figures(self, figures: Mapping[str, Reading]) -> None:
        """Figures read from the database; one that is missing is shown as NaN, not as 0, with a sample of 0."""
        for name, gauge in self.figures.items():
            figure = figures.get(name, _UNKNOWN)
            gauge.set(figure.value)
            self.samples.labels(name).set(figure.sample)
            if name in self.by_chance:
                self.by_chance[name].set(_UNKNOWN.value if figure.chance is None else figure.chance)

    def set_alerts(self, opened: Mapping[str, int] | None) -> None:
        """How many alerts are open by severity, those that are missing 0; None while nobody knows."""
        for severity in ("critical", "warning"):
            self.alerts.labels(severity).set(float("nan") if opened is None else opened.get(severity, 0))

    def standing(self) -> dict[str, float]:
        """What was read last of the whole console, by the name of its metric without `routing_` and summed over labels.

        What is not known is left out; before the first reading that is everything.
        """
        def read(name: str, **labels: str) -> float:
            value = self._registry.get_sample_value(f"routing_{name}", labels)
            return float("nan") if value is None else value

        found = {name: read(name) for name in ("false_hit_ratio", "accuracy_ratio", "calibration_error_ratio", "tickets_waiting")}
        found["alerts_open"] = sum(read("alerts_open", severity=severity) for severity in ("critical", "warning"))
        if math.isnan(found["alerts_open"]):
            return {}
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def on_render(self, refresh: Callable[[], None]) -> None:
        """`refresh` sets gauges just before each scrape; it must not wait for anything."""
        self._refreshers.append(refresh)

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        with self._lock:
            for refresh in self._refreshers:
                try:
                    refresh()
                except Exception:  # noqa: BLE001 - a gauge that cannot be read stays at its last value
                    self.events.labels("gauge_failed").inc()
        if self._shared is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._shared))
        return generate_latest(together)

    def close(self) -> None:
        """Take this process' live gauges out of the shared folder; its counters stay."""
        if self._shared is not None:
            import os

            mark_process_dead(os.getpid(), path=str(self._shared))
