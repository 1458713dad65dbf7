"""The tables say what the charts beside them draw."""
from __future__ import annotations

import numpy as np
import pytest

from engine.selective import RiskCoverage
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


def test_corrections_stand_with_the_most_first() -> None:
    table = chart_tables.corrections([Flow("Billing", "Sales", 7), Flow("Sales", "Billing", 9)])
    assert table.to_numpy().tolist() == [["Sales", "Billing", 9], ["Billing", "Sales", 7]]


def test_the_curve_stands_at_each_tenth_once_and_at_its_end() -> None:
    curve = RiskCoverage(np.array([0.9, 0.8, 0.7, 0.5]), np.array([0.05, 0.1, 0.35, 1.0]), np.array([1.0, 0.99, 0.95, 0.9]))
    assert chart_tables.tenths(curve).to_numpy().tolist() == [[10.0, 99.0, 0.8], [35.0, 95.0, 0.7], [100.0, 90.0, 0.5]]


def test_a_curve_without_labels_is_an_empty_table() -> None:
    assert chart_tables.tenths(RiskCoverage(np.zeros(0), np.zeros(0), np.zeros(0))).empty
