"""What Grafana and Prometheus are told to read exists at /metrics."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from engine.alert_rules import SHIPPED
from tests.unit.test_metrics import used

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NOT_OURS = {"up"}  # Prometheus makes it for every target


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


def test_every_alert_rule_reads_metrics_that_exist_and_has_a_shipped_twin() -> None:
    groups = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "alerting" / "routing.yml").read_text())["groups"]
    shipped = {rule.name.replace("_", "-"): rule for rule in SHIPPED}
    for rule in groups[0]["rules"]:
        twin = shipped[rule["uid"]]
        assert (rule["title"], rule["labels"]["severity"]) == (twin.title, twin.severity.value)
        expression = rule["data"][0]["model"]["expr"]
        assert asked(expression) <= exposed(), expression
        assert float(expression.rsplit(" ", 1)[1]) == twin.threshold


@pytest.mark.parametrize("name", ["prometheus.yml", "filebeat.yml", "grafana/provisioning/datasources/prometheus.yml",
                                  "grafana/provisioning/dashboards/routing.yml"])
def test_the_other_files_are_yaml_without_secrets(name: str) -> None:
    text = (DEPLOY / name).read_text()
    assert yaml.safe_load(text)
    assert "password" not in text and "api_key" not in text


def test_prometheus_scrapes_the_path_that_is_served_with_a_token() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == "/metrics" and job["authorization"]["credentials_file"]
