"""The chaos run in short: everything fails at random, servers and application are killed, nothing is lost."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_short_chaos_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "chaos.json"
    command = [sys.executable, "-m", "benchmarks.chaos", "--tickets", "200", "--seconds", "12", "--seed", "3", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    measures = {measure["name"]: measure["value"] for measure in json.loads(out.read_text())["measures"]}
    assert measures["chaos_tickets_accepted"] == 200
    assert measures["chaos_kills"] == 3
    assert measures["chaos_server_kills"] >= 2
    assert measures["chaos_server_pauses"] >= 2
