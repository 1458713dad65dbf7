"""The search through the run's logs finds what it looks for, however it was written."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import settings
from tests.overheard import Overheard

TICKET = 'someone took "my" card\nand 40 € at the station ü'


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Overheard]:
    made = Overheard(tmp_path)
    made.ticket(TICKET)
    made.secret("hunter-green-22")
    yield made
    made.close()


@pytest.mark.parametrize("line", [
    json.dumps({"event_type": "x", "fields": [{"deep": f"before {TICKET} after"}]}),
    json.dumps({"event_type": "x", "hunter-green-22": 1}, ensure_ascii=False),
    "Traceback: ValueError: hunter-green-22",
    'INFO GET /api/v1/audit?object=and 40 € at the station ü',
    json.dumps("someone took \"my\" card"),
])
def test_a_planted_line_is_found(run: Overheard, line: str) -> None:
    stream = run.stream("console")
    stream.write(json.dumps({"event_type": "routing_decision", "department": "Cards"}) + "\n")
    assert run.found() == []
    stream.write(line + "\n")
    assert len(run.found()) >= 1
    assert run.found()[0].startswith("console.log: ")


def test_names_of_departments_and_short_words_are_no_leak(run: Overheard) -> None:
    run.ticket("Billing and Payments", "hello")
    run.secret("short")
    run.names.add("Billing and Payments")
    run.stream("console").write(json.dumps({"department": "Billing and Payments", "said": "hello short"}) + "\n")
    assert run.found() == []


def test_every_secret_of_the_settings_is_looked_for(run: Overheard) -> None:
    run.settings(settings.load(
        google_api_key="key-of-the-model", database_url="postgresql://ann:word-of-postgres@host.invalid/x", redis_url="redis://localhost:1/0",
    ))
    assert run.secrets == {"hunter-green-22", "key-of-the-model", "word-of-postgres"}
