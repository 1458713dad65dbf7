"""The command line as its users meet it: a process, its output, its exit code."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(console_settings, tmp_path):
    """Runs `python -m engine …` on the test's database."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATABASE_URL": console_settings.postgres_url,
        "REDIS_URL": console_settings.redis_address, "DATA_DIR": str(tmp_path / "data"), "PYTHONWARNINGS": "default",
    }

    def command(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "engine", *arguments], cwd=ROOT, env=environment | more, capture_output=True, text=True, timeout=120,
        )

    return command


def test_route_prints_a_json_decision_for_billing(run) -> None:
    done = run("route", "--text", "you took the money twice for my october bill")
    assert done.returncode == 0, done.stderr
    decision = json.loads(done.stdout)
    assert decision["department"] == "Billing and Payments"
    assert 0 <= decision["confidence"] <= 1
    assert len(decision["alternatives"]) == 3
    assert decision["evidence"][0]["text"]


def test_a_rejected_ticket_is_one_line_on_standard_error_and_exit_code_2(run) -> None:
    done = run("route", "--text", " ")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().splitlines() == ["error: body: at least 2 characters; found an empty text. Nothing was stored. Change the body and send it again."]


def test_wrong_use_is_exit_code_2(run) -> None:
    assert run("route").returncode == 2
    assert run("no-such-command").returncode == 2


def test_a_half_given_group_of_settings_names_what_is_missing(run) -> None:
    done = run("health", DATABASE_URL="", POSTGRES_HOST="db.example", POSTGRES_DB="x")
    assert done.returncode == 2
    assert "POSTGRES_USER must be set too" in done.stderr


def test_a_database_url_that_is_none_is_a_configuration_error_without_its_password(run) -> None:
    done = run("health", DATABASE_URL="postgresql:/secret@nonsense")
    assert done.returncode == 2
    assert "DATABASE_URL" in done.stderr
    assert "secret" not in done.stderr


def test_a_database_that_is_away_is_exit_code_1_in_one_line(run) -> None:
    done = run("health", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_health_lists_every_service(run) -> None:
    done = run("health", "--json")
    assert done.returncode == 0, done.stderr
    assert {"database", "cache", "embedder", "model"} <= {row["service"] for row in json.loads(done.stdout)}


def test_import_says_what_it_stored_and_a_second_run_stores_nothing(run, tmp_path) -> None:
    file = tmp_path / "tickets.csv"
    file.write_text("body\nwhere is my parcel\nsomeone stole my card\n")
    first, second = run("import", str(file)), run("import", str(file))
    assert json.loads(first.stdout)["stored"] == 2, first.stderr
    assert json.loads(second.stdout) | {"departments": 0} == {"stored": 0, "stored_before": 2, "methods": {}, "departments": 0}


def test_import_of_a_missing_file_is_an_error_and_not_a_traceback(run) -> None:
    done = run("import", "/nowhere/tickets.csv")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_says_from_where_to_where(run) -> None:
    assert set(json.loads(run("migrate").stdout)) == {"before", "after"}


def test_load_replaces_departments_and_exemplars(run, tmp_path) -> None:
    labelled = tmp_path / "labelled.csv"
    rows = [("please water the roses", "garden"), ("cut the hedge", "garden"), ("boil the pasta", "kitchen"), ("wash the dishes", "kitchen")]
    labelled.write_text("text,category\n" + "".join(f"{text},{label}\n" for text, label in rows))
    done = run("load", "--exemplars", str(labelled), "--label-column", "category")
    assert json.loads(done.stdout)["departments"] == 2, done.stderr
    decision = json.loads(run("route", "--text", "water the roses please").stdout)
    assert decision["department"] == "garden"


def test_load_of_a_bad_taxonomy_changes_nothing(run, tmp_path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("text,department\nhello there,No Such Department\n")
    done = run("load", "--exemplars", str(bad))
    assert done.returncode == 2
    assert "'No Such Department' is not known. Nothing was loaded." in done.stderr
    assert json.loads(run("route", "--text", "you took the money twice for my october bill").stdout)["department"] == "Billing and Payments"


def test_demo_fills_an_empty_database_and_refuses_one_with_real_tickets(run) -> None:
    assert run("demo", "--tickets", "40").returncode == 0
    assert run("route", "--text", "where is my parcel").returncode == 0
    done = run("demo", "--tickets", "40")
    assert done.returncode == 1
    assert "real tickets" in done.stderr
