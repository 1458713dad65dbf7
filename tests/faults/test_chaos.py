"""The chaos run in short: everything fails at random, the application is killed three times, nothing is lost."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import chaos


@pytest.mark.slow
def test_twenty_seconds_of_chaos_lose_nothing(tmp_path: Path) -> None:
    assert chaos.main(["--tickets", "300", "--seconds", "20", "--seed", "3", "--json", str(tmp_path / "chaos.json")]) == 0
    measures = {measure["name"]: measure["value"] for measure in json.loads((tmp_path / "chaos.json").read_text())["measures"]}
    assert measures["chaos_tickets_accepted"] == 300
    assert measures["chaos_kills"] == 3
