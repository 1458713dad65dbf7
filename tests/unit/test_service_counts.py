"""What services were asked is counted by the minute and handed on once, whenever the database takes it."""
from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from engine.errors import ServiceUnavailable
from engine.telemetry.services import ServiceCounts

MINUTE = datetime(2026, 3, 17, 14, 37, tzinfo=UTC)


class Table:
    """Where counts are added up, while it is `there`; `meanwhile` happens while it does not answer."""

    def __init__(self) -> None:
        self.rows: dict[tuple[datetime, str], tuple[int, int]] = {}
        self.there = True
        self.meanwhile = lambda: None

    def add(self, counts: Mapping[tuple[datetime, str], tuple[int, int]]) -> None:
        self.meanwhile()
        if not self.there:
            raise ServiceUnavailable("database", "away")
        for key, (calls, errors) in counts.items():
            before = self.rows.get(key, (0, 0))
            self.rows[key] = (before[0] + calls, before[1] + errors)


def test_counts_of_one_minute_are_one_row_and_are_handed_on_once() -> None:
    now, table = [MINUTE], Table()
    counts = ServiceCounts(clock=lambda: now[0])
    for seconds in (0, 12.5, 59.9, 60.0):
        now[0] = MINUTE + timedelta(seconds=seconds)
        counts.add("index", calls=2, errors=1)
    for _ in range(2):
        counts.flush(table)
    assert table.rows == {(MINUTE, "index"): (6, 3), (MINUTE + timedelta(minutes=1), "index"): (2, 1)}


def test_what_cannot_be_handed_on_is_kept_with_what_comes_meanwhile() -> None:
    table = Table()
    counts = ServiceCounts(clock=lambda: MINUTE)
    counts.add("database", calls=9, errors=3)
    table.there, table.meanwhile = False, lambda: counts.add("database", calls=1, errors=1)
    with pytest.raises(ServiceUnavailable):
        counts.flush(table)
    assert table.rows == {}
    table.there, table.meanwhile = True, lambda: None
    counts.flush(table)
    assert table.rows == {(MINUTE, "database"): (10, 4)}
