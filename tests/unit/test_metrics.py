"""The metrics follow Prometheus' conventions, count what happened, and add up over processes."""
from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.alerts import Reading
from engine.breaker import Circuit, ServiceState
from engine.errors import ConfigurationError
from engine.telemetry import shared
from engine.telemetry.fanout import Telemetry
from engine.telemetry.metrics import Metrics
from engine.usage import Usage
from tests.made_up import SECRET, decision, ticket

ROOT = Path(__file__).resolve().parents[2]
BASE_UNITS = ("seconds", "ratio", "bytes", "total", "info")
# Plain counts of things that exist have no unit.
COUNTS = {"routing_tickets_waiting", "routing_tickets_spooled", "routing_tickets_set_aside", "routing_consoles_without_worker", "routing_alerts_open",
          "routing_rollup_pending_facts",
          "routing_database_pool_connections", "routing_sessions", "routing_service_breaker_state",
          "routing_sample_size", "routing_drift_index", "routing_drift_chance_index", "routing_ready"}


def families(metrics: Metrics) -> dict[str, object]:
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return next(
        sample.value for family in text_string_to_metric_families(metrics.render().decode()) for sample in family.samples
        if sample.name == name and all(sample.labels.get(key) == wanted for key, wanted in labels.items())
    )


def used() -> Metrics:
    metrics = Metrics()
    metrics.decision(ticket(), decision(), store_ms=1.0)
    metrics.decision(ticket(), decision(method="cached", audit_department="Sales", degraded_by=("index",)))
    metrics.event("ticket_reviewed", department="Billing", correct=False)
    metrics.services({"index": ServiceState(service="index", circuit=Circuit.OPEN, calls=7, failures=3, refused=1, retries=2, last_error="",
                                            last_error_at=None, retry_in=1.0)})
    metrics.set_figures({
        "hit_rate": Reading(value=0.4, sample=60), "accuracy": Reading(value=0.9, sample=31),
        "calibration_error": Reading(value=0.01, sample=250), "drift_department": Reading(value=0.3, sample=400, chance=0.06),
        "shortfall": Reading(value=0.02, sample=90, chance=0.07),
    })
    metrics.alerts.labels("critical").set(1)
    metrics.pool.labels("idle").set(2)
    metrics.language_model(Usage(calls=3, input_tokens=500, output_tokens=40, cost=0.002, unusable={"empty": 1}))
    return metrics


def test_names_units_labels_and_help_follow_the_conventions() -> None:
    for name, family in families(used()).items():
        if name.startswith(("process_", "python_")):
            continue
        full = name + ("_total" if family.type == "counter" else "")
        assert re.fullmatch(r"routing_[a-z][a-z0-9_]*", full)
        assert family.documentation.endswith(".") and family.documentation[0].isupper() or family.documentation[0].isdigit()
        assert full.endswith(BASE_UNITS) or full in COUNTS, full
        assert not re.search(r"milli|_ms\b|percent|minutes|hours|_kb|_mb", full)
        assert family.type != "gauge" or not full.endswith("_total")
        for sample in family.samples:
            assert set(sample.labels) <= {"department", "method", "automation", "channel", "service", "outcome", "stage", "event", "severity",
                                          "state", "le", "figure", "distribution", "direction", "reason"}


def test_decisions_hits_labels_and_services_are_counted() -> None:
    metrics = used()
    assert value(metrics, "routing_decisions_total", method="cached", department="Billing", automation="auto", channel="web") == 1
    assert value(metrics, "routing_audited_hits_total") == value(metrics, "routing_audit_disagreements_total") == 1
    assert value(metrics, "routing_degraded_decisions_total", service="index") == 1
    assert value(metrics, "routing_labels_total", outcome="corrected") == 1
    assert value(metrics, "routing_stage_seconds_sum", stage="embed", method="learned") == 0.003
    assert value(metrics, "routing_stage_seconds_count", stage="embed", method="cached") == 1
    assert value(metrics, "routing_stage_seconds_count", stage="store", method="learned") == 1
    assert value(metrics, "routing_service_calls_total", service="index") == 7
    assert value(metrics, "routing_service_retries_total", service="index") == 2
    assert value(metrics, "routing_stage_seconds_sum", stage="store", method="learned") == 0.001
    assert value(metrics, "routing_service_breaker_state", service="index") == 2
    assert value(metrics, "routing_hit_ratio") == 0.4
    assert value(metrics, "routing_false_hit_ratio") != value(metrics, "routing_false_hit_ratio"), "unknown is NaN, not 0"
    assert value(metrics, "routing_sample_size", figure="hit_rate") == 60
    assert value(metrics, "routing_sample_size", figure="false_hit_rate") == 0, "what is not known rests on nothing"
    assert value(metrics, "routing_drift_index", distribution="department") == 0.3
    assert value(metrics, "routing_drift_chance_index", distribution="department") == 0.06
    assert SECRET not in metrics.render().decode()


def test_confirmations_and_overrules_are_counted_by_the_chosen_department() -> None:
    metrics = used()
    for event in ("ticket_confirmed", "ticket_overruled", "ticket_confirmed"):
        metrics.event(event, ticket_id="T-1", department="Billing")
    assert value(metrics, "routing_confirmations_total", department="Billing") == 2
    assert value(metrics, "routing_overrules_total", department="Billing") == 1


def test_what_the_language_model_used_is_counted_once_however_often_it_is_read() -> None:
    metrics = used()
    for _ in range(2):
        metrics.language_model(Usage(calls=5, input_tokens=800, output_tokens=60, cost=0.003, unusable={"empty": 1, "blocked": 2}))
    assert value(metrics, "routing_language_model_answers_total") == 5
    assert value(metrics, "routing_language_model_tokens_total", direction="input") == 800
    assert value(metrics, "routing_language_model_tokens_total", direction="output") == 60
    assert value(metrics, "routing_language_model_cost_dollars_total") == pytest.approx(0.003)
    assert value(metrics, "routing_language_model_unusable_answers_total", reason="blocked") == 2
    assert value(metrics, "routing_language_model_unusable_answers_total", reason="empty") == 1


def test_what_nobody_has_read_yet_is_unknown_and_not_zero(tmp_path: Path) -> None:
    metrics, figures = Metrics(), ("hit_ratio", "accuracy_ratio", "false_hit_ratio", "calibration_error_ratio", "target_shortfall_ratio")
    for name in figures:
        assert math.isnan(value(metrics, f"routing_{name}")), name
    for severity in ("critical", "warning"):
        assert math.isnan(value(metrics, "routing_alerts_open", severity=severity))
    metrics.set_alerts({"warning": 2})
    assert (value(metrics, "routing_alerts_open", severity="critical"), value(metrics, "routing_alerts_open", severity="warning")) == (0, 2)
    # In a folder of several processes one that has read nothing must not speak over the others.
    code = ("from pathlib import Path; from engine.alerts import Reading; from engine.telemetry.metrics import Metrics; import os; "
            f"folder = Path({str(tmp_path)!r}); m = Metrics(multiprocess_dir=folder); print(m.render().decode()); "
            "m.set_figures({'hit_rate': Reading(value=0.4, sample=60)}); m.set_alerts({}); other = os.fork(); "
            "other or (Metrics(multiprocess_dir=folder), os._exit(0)); os.waitpid(other, 0); print('LATER'); print(m.render().decode())")
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    before, later = done.split("LATER")
    assert not any(f"\nrouting_{name} " in before for name in figures) and "routing_alerts_open{" not in before
    assert "routing_hit_ratio 0.4" in later and 'routing_alerts_open{severity="critical"} 0.0' in later


def test_a_gauge_that_cannot_be_read_does_not_break_the_scrape() -> None:
    metrics = Metrics()
    metrics.on_render(lambda: 1 / 0)
    assert b"routing_decisions" in metrics.render()
    assert value(metrics, "routing_events_total", event="gauge_failed") == 2, "once for each scrape"


def test_only_an_audited_hit_that_the_learned_router_sends_elsewhere_is_a_disagreement() -> None:
    metrics = Metrics()
    metrics.decision(ticket(), decision(method="cached", audit_department="Billing"))
    assert (value(metrics, "routing_audited_hits_total"), value(metrics, "routing_audit_disagreements_total")) == (1, 0)
    metrics.decision(ticket(), decision(method="learned", audit_department="Sales"))
    assert (value(metrics, "routing_audited_hits_total"), value(metrics, "routing_audit_disagreements_total")) == (1, 0)


def test_lost_lines_and_unchecked_requests_are_counted_once() -> None:
    metrics, totals = Metrics(), iter((3, 3, 5))
    metrics.follow(metrics.log_lines_lost, lambda: next(totals))
    assert [value(metrics, "routing_log_lines_lost_total") for _ in range(3)] == [3, 3, 5]
    for kind in ("api", "submit", "api"):
        metrics.event("rate_limit_unchecked", service="cache", kind=kind)
    assert value(metrics, "routing_rate_limit_unchecked_total", kind="api") == 2


def test_a_process_of_another_user_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared._lives(os.getpid())

    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert shared._lives(1)


def test_a_broken_sink_loses_no_ticket_and_no_other_sink() -> None:
    class Broken:
        def decision(self, *_: object, **__: object) -> None:
            raise OSError("disk full")

        def event(self, *_: object, **__: object) -> None:
            raise OSError("disk full")

    metrics = Metrics()
    telemetry = Telemetry([Broken(), metrics])
    telemetry.decision(ticket(), decision())
    telemetry.event("ticket_spooled")
    assert telemetry.failures == 2
    assert value(metrics, "routing_decisions_total") == value(metrics, "routing_spooled_tickets_total") == 1
    telemetry.decision(ticket(), decision(), store_ms=2.0)
    assert value(metrics, "routing_stage_seconds_sum", stage="store", method="learned") == 0.002


def test_what_is_open_is_closed_in_reverse_and_one_that_fails_keeps_no_other_open() -> None:
    closed: list[str] = []

    def failing() -> None:
        closed.append("second")
        raise OSError("disk full")

    telemetry = Telemetry([], closing=[lambda: closed.append("first"), failing, lambda: closed.append("third")])
    telemetry.close()
    assert closed == ["third", "second", "first"] and telemetry.failures == 1


def test_what_services_were_asked_is_counted_once_however_often_it_is_read() -> None:
    metrics = used()
    for _ in range(2):
        metrics.services({"index": ServiceState(service="index", circuit=Circuit.CLOSED, calls=9, failures=4, refused=6, retries=2, last_error="",
                                                last_error_at=None, retry_in=0.0)})
    counted = {name: value(metrics, f"routing_service_{name}_total", service="index") for name in ("calls", "errors", "refusals", "retries")}
    assert counted == {"calls": 9, "errors": 4, "refusals": 6, "retries": 2}


def test_several_processes_add_up(tmp_path: Path) -> None:
    """Two processes count into one folder; a third answers for both."""
    code = ("from pathlib import Path; from engine.alerts import Reading; from engine.telemetry.metrics import Metrics; from tests.made_up import *; "
            f"m = Metrics(multiprocess_dir=Path({str(tmp_path)!r})); ")
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}

    def run(more: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code + more], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout

    run("m.decision(ticket(), decision()); m.waiting.set(5); m.close()")
    assert not list(tmp_path.glob("gauge_live*")), "what has ended in order leaves no gauge, also while nobody else begins"
    run("m.decision(ticket(), decision()); m.decision(ticket(), decision())")
    shown = run("print(m.render().decode())")
    assert 'routing_decisions_total{automation="auto",channel="web",department="Billing",method="learned"} 3.0' in shown
    assert "routing_tickets_waiting 5.0" not in shown, "a gauge of a process that has ended is gone"


def test_a_folder_named_in_the_env_file_alone_is_made_and_shared(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    (tmp_path / ".env").write_text(f"PROMETHEUS_MULTIPROC_DIR={folder}\n")
    code = ("import sys; from engine import settings; from engine.telemetry.metrics import Metrics; from tests.made_up import *; "
            "m = Metrics(multiprocess_dir=settings.load().prometheus_multiproc_dir); m.decision(ticket(), decision()); ")

    def run(more: str) -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, "-c", code + more], cwd=tmp_path, env=environment, capture_output=True, text=True)

    # The first process is killed: nobody takes its gauges out.
    killed = run("m.waiting.set(77); import os; os.kill(os.getpid(), 9)")
    assert killed.returncode == -9
    assert list(folder.glob("gauge_live*.db"))
    shown = run("print(m.render().decode())")
    assert shown.returncode == 0, shown.stderr
    assert 'method="learned"} 2.0' in shown.stdout
    assert "routing_tickets_waiting 77.0" not in shown.stdout


@pytest.mark.parametrize("place", ["file", "file/folder", "/proc", "/proc/no/such"])
def test_a_shared_folder_that_cannot_be_written_in_is_a_wrong_setting(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="^PROMETHEUS_MULTIPROC_DIR: .* is no folder that files can be written in"):
        Metrics(multiprocess_dir=tmp_path / place)
