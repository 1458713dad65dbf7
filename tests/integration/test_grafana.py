"""What Grafana and Prometheus are told to read exists at /metrics."""
from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from engine.alert_rules import SHIPPED, Measure
from tests.unit.test_metrics import used

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NOT_OURS = {"up"}  # Prometheus makes it for every target
# The services that rules ask for by name; `tests/integration/test_gauges.py` sees that a console counts under these names.
SERVICES = {"database", "index"}
# What lies further back is a gauge that the console computes.
LONGEST_READ = timedelta(hours=1)
READ_NOW = {Measure.MEMORY_SHARE, Measure.WAITING, Measure.SPOOLED, Measure.SET_ASIDE, Measure.WITHOUT_WORKER}


def exposed() -> set[str]:
    text = used().render().decode()
    names = set(re.findall(r"^# TYPE (\w+)", text, re.M)) | set(re.findall(r"^(\w+)(?:\{| )", text, re.M))
    return names | {f"{name}{end}" for name in names for end in ("_bucket", "_count", "_sum") if f"# TYPE {name} histogram" in text}


def asked(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    return set(re.findall(r"\b(routing_\w+|up|process_\w+)\b", bare)) - NOT_OURS


def test_every_panel_has_a_unit_a_title_and_metrics_that_exist() -> None:
    board = json.loads((DEPLOY / "grafana" / "routing.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 10
    for panel in board["panels"]:
        assert panel["title"] and panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert asked(target["expr"]) and asked(target["expr"]) <= exposed(), target["expr"]


def test_every_shipped_rule_has_its_twin_and_every_twin_says_what_its_rule_says() -> None:
    groups = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "alerting" / "routing.yml").read_text())["groups"]
    twins = {rule["uid"]: rule for rule in groups[0]["rules"]}
    assert sorted(twins) == sorted(rule.name.replace("_", "-") for rule in SHIPPED)
    for rule in SHIPPED:
        twin = twins[rule.name.replace("_", "-")]
        assert (twin["title"], twin["labels"]["severity"]) == (rule.title, rule.severity.value)
        assert twin["for"] == (f"{rule.hold.seconds // 60}m" if rule.hold else "0s")
        expression = twin["data"][0]["model"]["expr"]
        assert asked(expression) <= exposed(), expression
        compared = re.findall(r"(>=|<|>) bool ([0-9.]+)", expression)
        assert (">" if rule.above else "<", rule.threshold) == (compared[0][0], float(compared[0][1])), expression
        # One reading of memory or of the database is always there, and so is what waits.
        assert [(">=", rule.minimum)] * (rule.minimum > 1) == [(sign, int(number)) for sign, number in compared[1:]], expression
        if rule.measure in (Measure.DRIFT_CONFIDENCE, Measure.DRIFT_DEPARTMENT):
            assert re.search(r"routing_drift_index\{[^}]*\}\) > bool max\(routing_drift_chance_index", expression)
        if rule.window <= LONGEST_READ and rule.measure not in READ_NOW:
            minutes = rule.window.seconds // 60
            ranges = set(re.findall(r"\[(\w+)[:\]]", expression))
            assert ranges <= {f"{minutes}m", f"{minutes // 60}h"}, expression


def test_no_expression_of_an_alert_lets_a_figure_of_0_pass_for_normal() -> None:
    """Grafana fires on any number but 0: a comparison that hands the compared figure on is silent at a hit rate of exactly 0."""
    rules = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "alerting" / "routing.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        bare = re.sub(r'"[^"]*"|\{[^}]*\}', "", rule["data"][0]["model"]["expr"])
        assert re.findall(r"[<>]=?", bare) and re.search(r"[<>]=?+(?! bool )", bare) is None, bare


def test_every_label_that_is_asked_for_has_that_value_somewhere() -> None:
    board = json.loads((DEPLOY / "grafana" / "routing.json").read_text())
    rules = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "alerting" / "routing.yml").read_text())["groups"][0]["rules"]
    expressions = [t["expr"] for panel in board["panels"] for t in panel["targets"]] + [rule["data"][0]["model"]["expr"] for rule in rules]
    series = [line.split(" ")[0] for line in used().render().decode().splitlines() if not line.startswith("#")]
    jobs = {job["job_name"] for job in yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]}
    for expression in expressions:
        for name, selected in re.findall(r"(\w+)\{([^}]*)\}", expression):
            for label, value in re.findall(r'(\w+)="([^"]*)"', selected):
                if name in NOT_OURS:
                    assert label == "job" and value in jobs
                elif label == "service":
                    assert value in SERVICES, expression
                else:
                    assert any(s.startswith(name + "{") and f'{label}="{value}"' in s for s in series), f"{name}: {label}={value}"
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            names = asked(expression)
            for label in grouped.split(", "):
                assert any(s.split("{")[0] in names and f'{label}="' in s for s in series), f"{expression}: {label}"


@pytest.mark.parametrize("name", ["prometheus.yml", "filebeat.yml", "grafana/provisioning/datasources/prometheus.yml",
                                  "grafana/provisioning/dashboards/routing.yml"])
def test_the_other_files_are_yaml_without_secrets(name: str) -> None:
    text = (DEPLOY / name).read_text()
    assert yaml.safe_load(text)
    assert "password" not in text and "api_key" not in text


def test_prometheus_scrapes_the_path_that_is_served_with_a_token() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == "/metrics" and job["authorization"]["credentials_file"]
