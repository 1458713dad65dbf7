"""The tables say what the charts beside them draw."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from engine import targets
from engine.figures import Tally
from engine.selective import RiskCoverage
from engine.timeline import Level
from pages.parts import chart_tables, charts
from tests.pages.test_charts import Flow, tally


def test_departments_stand_with_their_tickets_by_method_and_their_accuracy_as_drawn() -> None:
    rows = [("Billing", "cached", tally(1_200, 30)), ("Billing", "learned", tally(300, 4)), ("Sales", "learned", tally(2_000, 0))]
    table = chart_tables.departments(rows)
    assert list(table.columns) == ["Department", "Tickets", "Known case", "Learned router", "Right", "At least", "At most", "Labels"]
    assert table.iloc[0, :4].tolist() == ["Sales", 2_000, 0, 2_000] and table.iloc[0, 4:7].isna().all() and table.iloc[0, 7] == 0
    assert table.iloc[1, :4].tolist() == ["Billing", 1_500, 1_200, 300]
    drawn = charts.accuracy(rows, target=0.85).data[0]
    right, low = drawn.x[0], drawn.x[0] - drawn.error_x.arrayminus[0]
    assert table.iloc[1, 4:].tolist() == pytest.approx([100 * right, 100 * low, 100 * (right + drawn.error_x.array[0]), 34])


def test_the_charts_over_time_stand_interval_by_interval_with_what_they_draw() -> None:
    first = datetime(2026, 3, 17, 14, tzinfo=UTC)
    then = first + timedelta(minutes=30)
    bars = [(then, "cached", tally(5, 0)), (first, "learned", tally(300, 4)), (first, "cached", tally(1_200, 30)), (then, "fallback", Tally())]
    shown = chart_tables.routing(bars)
    assert list(shown.columns) == ["From (UTC)", "Tickets", "Known case", "Learned router"]
    assert shown.to_numpy().tolist() == [[first, 1_500, 1_200, 300], [then, 5, 5, 0]]
    times = chart_tables.latency(bars)
    assert times.iloc[:, :3].to_numpy().tolist() == [[first, "Known case", 1_200], [first, "Learned router", 300], [then, "Known case", 5]]
    drawn = charts.latency_over_time(sorted(bars[:3], key=lambda bar: bar[0]), Level.HALF_HOUR)
    p95, p50 = (next(line for line in drawn.data if line.name == name).y for name in ("Known case", "Known case, p50"))
    assert times.iloc[[0, 2], 3].tolist() == pytest.approx(list(p50)) and times.iloc[[0, 2], 4].tolist() == pytest.approx(list(p95))
    assert times.iloc[:, 5].tolist() == [targets.P95_MS[name] for name in ("cached", "learned", "cached")]


def test_the_shown_confidence_stands_in_twentieths_and_in_bands_with_what_was_right() -> None:
    assert chart_tables.confidence(tally(1_500, 34)).to_numpy().tolist() == [["90 to 95%", 1_500]]
    shown = chart_tables.bands(tally(1_500, 34))
    assert shown.iloc[:, 0].tolist() == ["High, from 85%", "Medium, 60 to 85%", "Low, under 60%"] and shown["Tickets"].tolist() == [1_500, 0, 0]
    high = tally(1_500, 34).bands()[0]
    assert shown.iloc[0, 2:].tolist() == pytest.approx([100 * high.accuracy, *(100 * edge for edge in high.interval), 34])
    assert shown.iloc[1:, 2:5].isna().all(axis=None) and shown["Labels"].tolist() == [34, 0, 0]


def test_without_a_ticket_the_tables_of_the_charts_are_empty() -> None:
    assert chart_tables.routing([]).empty and chart_tables.latency([]).empty and chart_tables.confidence(Tally()).empty


def test_corrections_stand_with_the_most_first() -> None:
    table = chart_tables.corrections([Flow("Billing", "Sales", 7), Flow("Sales", "Billing", 9)])
    assert table.to_numpy().tolist() == [["Sales", "Billing", 9], ["Billing", "Sales", 7]]


def test_the_curve_stands_at_each_tenth_once_and_at_its_end() -> None:
    curve = RiskCoverage(np.array([0.9, 0.8, 0.7, 0.5]), np.array([0.05, 0.1, 0.35, 1.0]), np.array([1.0, 0.99, 0.95, 0.9]))
    assert chart_tables.tenths(curve).to_numpy().tolist() == [[10.0, 99.0, 0.8], [35.0, 95.0, 0.7], [100.0, 90.0, 0.5]]


def test_a_curve_without_labels_is_an_empty_table() -> None:
    assert chart_tables.tenths(RiskCoverage(np.zeros(0), np.zeros(0), np.zeros(0))).empty
