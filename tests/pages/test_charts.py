"""Every chart of the dashboard says its unit, its time range and how many decisions or labels it rests on."""
from __future__ import annotations

import re
from collections import namedtuple
from datetime import UTC, datetime, timedelta

import numpy as np
import plotly.graph_objects as go
import pytest

from engine.figures import Tally
from engine.timeline import Level
from pages.parts import charts

Flow = namedtuple("Flow", "department actual n")


def tally(n: int, labels: int) -> Tally:
    latency, confidence, reviewed, correct = np.zeros(66, int), np.zeros(20, int), np.zeros(20, int), np.zeros(20, int)
    latency[10], confidence[18], reviewed[18], correct[18] = n, n, labels, labels
    return Tally(
        n=n, latency=latency, confidence=confidence, reviewed=reviewed, correct=correct, weight=1000 * labels, weight_correct=1000 * labels,
        weight_squared=1000 * labels, band_weights=np.array([[1000 * labels] * 3, [0] * 3, [0] * 3]),
    )


def figures(*, empty: bool) -> dict[str, go.Figure]:
    at = datetime(2026, 3, 17, 14, tzinfo=UTC)
    bars = [] if empty else [(at, "cached", tally(1_200, 30)), (at, "learned", tally(300, 4))]
    rows = [("Billing", method, one) for _, method, one in bars]
    whole = sum((one for _, _, one in bars), start=Tally())
    return {
        "routing": charts.distribution_over_time(bars, Level.HALF_HOUR, n=whole.n), "latency": charts.latency_over_time(bars, Level.HALF_HOUR),
        "confidence": charts.confidence(whole), "departments": charts.departments(rows), "accuracy": charts.accuracy(rows, target=0.85),
        "corrections": charts.flows([] if empty else [Flow("Billing", "Sales", 7)], labels=whole.labels),
    }


SAMPLES = {
    "routing": "n = 1,500 decisions", "latency": "n = 1,500 decisions", "confidence": "n = 1,500 decisions",
    "departments": "n = 1,500 decisions", "accuracy": "n = 34 labels", "corrections": "n = 7 corrected of 34 labels",
}
UNITS = {
    "routing": ("time (UTC)", "tickets per half hour"), "latency": ("time (UTC)", "milliseconds"), "confidence": ("confidence", "tickets"),
    "departments": ("tickets", None), "accuracy": ("share of all tickets that went right (estimated)", None),
    "corrections": ("belonged to", "sent to"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_note_under_the_title_holds_the_time_range_and_the_sample(name: str) -> None:
    figure = charts.dated(figures(empty=False)[name], "last 7 days")
    _, note = figure.layout.title.text.split("<br>", 1)
    assert "last 7 days · " in note and SAMPLES[name] in note
    # What is longer ends outside the picture on a telephone, and nothing tells that something is missing.
    assert all(len(re.sub("<[^>]*>", "", line)) <= 60 for line in note.split("<br>"))
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == UNITS[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_toolbar_has_room_of_its_own_beside_the_drawing(name: str) -> None:
    layout = figures(empty=False)[name].layout
    assert layout.modebar.orientation == "v" and layout.margin.r >= 36


def test_few_labels_push_neither_the_goal_s_name_nor_a_department_that_is_right_out_of_the_picture() -> None:
    few = charts.accuracy([("Billing", "learned", tally(3, 3))], target=0.85)
    assert few.layout.xaxis.range[0] < 0.5, "what was asked for stands near the right end"
    assert few.data[0].cliponaxis is False
    assert few.layout.margin.r == 40


@pytest.mark.parametrize("name", SAMPLES)
def test_without_any_decision_a_chart_says_so_instead_of_breaking(name: str) -> None:
    figure = charts.dated(figures(empty=True)[name], "last hour")
    assert "last hour · " in figure.layout.title.text
    assert "n = 0" in figure.layout.title.text or "no ticket of this time range is reviewed yet" in figure.layout.title.text


@pytest.mark.parametrize(("name", "said"), [
    ("routing", "No ticket in this view"), ("latency", "No ticket in this view"), ("departments", "No ticket in this view"),
    ("accuracy", "No label in this view"), ("corrections", "No label in this view"),
])
def test_where_nothing_is_to_be_drawn_a_caption_stands_in_place_of_axes(name: str, said: str) -> None:
    empty = figures(empty=True)[name]
    assert [note.text for note in empty.layout.annotations] == [said]
    assert (empty.layout.xaxis.visible, empty.layout.yaxis.visible) == (False, False)
    drawn = figures(empty=False)[name]
    assert drawn.layout.xaxis.visible is not False and said not in str(drawn.layout.annotations)


def test_labels_without_a_correction_are_not_called_none() -> None:
    assert charts.flows([], labels=34).layout.annotations[0].text == "Every reviewed ticket had gone right"


def test_each_method_has_its_p95_solid_and_its_p50_dotted() -> None:
    figure = figures(empty=False)["latency"]
    assert figure.layout.title.text.startswith("Time per ticket by method")
    p95, p50 = (trace for trace in figure.data if trace.legendgroup == "cached")
    one = tally(1_200, 30)
    assert (p95.y, p95.line.dash) == ((one.percentile_ms(0.95),), None)
    assert (p50.y, p50.line.dash) == ((one.percentile_ms(0.5),), "dot")
    assert "dotted: p50" in figure.layout.title.text


def test_a_single_point_in_time_has_hours_around_it_and_no_fractions_of_a_second() -> None:
    at = datetime(2026, 3, 17, 14, tzinfo=UTC)
    start, end = charts.latency_over_time([(at, "cached", tally(3, 0))], Level.HALF_HOUR).layout.xaxis.range
    assert (end - start, start < at < end) == (timedelta(hours=3), True)
    many = [(at + timedelta(hours=hour), "cached", tally(3, 0)) for hour in range(9)]
    assert charts.latency_over_time(many, Level.HALF_HOUR).layout.xaxis.range is None


@pytest.mark.parametrize("level", Level)
def test_a_single_bar_can_be_seen_and_bars_side_by_side_do_not_overlap(level: Level) -> None:
    at = datetime(2026, 2, 1, tzinfo=UTC)
    bar = charts.distribution_over_time([(at, "cached", tally(3, 0))], level, n=3).data[0]
    day = 86_400_000
    shortest = {Level.MONTH: 28 * day, Level.DAY: day, Level.FOUR_HOURS: day / 6, Level.HALF_HOUR: day / 48, Level.MINUTE: day / 1440}[level]
    assert 0.8 * shortest < bar.width < shortest


def test_few_tickets_are_counted_in_whole_ones() -> None:
    at = datetime(2026, 3, 17, 14, tzinfo=UTC)
    few, many = [(at, "cached", tally(2, 0)), (at, "learned", tally(3, 0))], [(at, "cached", tally(2, 0)), (at, "learned", tally(4, 0))]
    for bars, dtick in ((few, 1), (many, None)):
        routed = charts.distribution_over_time(bars, Level.HALF_HOUR, n=0)
        assert routed.layout.yaxis.dtick == dtick and routed.layout.xaxis.range is not None
        assert charts.departments([("Billing", method, one) for _, method, one in bars]).layout.xaxis.dtick == dtick


def test_with_many_departments_every_name_has_its_line() -> None:
    names = [f"Department {number}" for number in range(30)]
    rows = [(name, "cached", tally(50, 40)) for name in names]
    for figure in (charts.departments(rows), charts.accuracy(rows, target=0.85), charts.flows([Flow(a, "Sales", 1) for a in names], labels=1_200)):
        assert figure.layout.yaxis.dtick == 1
        assert (figure.layout.height - figure.layout.margin.t - 60) / len(names) >= 20


def test_each_band_s_accuracy_is_weighted_like_the_figure_beside_it() -> None:
    """Twenty overruled tickets that were wrong weigh nothing: 10 sampled labels, all right, are 100%."""
    one = tally(500, 10)
    one.reviewed[18] += 20
    assert (one.bands()[0].accuracy, one.accuracy) == (1.0, 1.0)
    assert "right 100.0% (72.2%–100.0%, 10 labels)" in charts.confidence(one).data[0].name
    assert "10 labels" in charts.confidence(one).data[0].name
