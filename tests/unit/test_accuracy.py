"""Historical accuracy: equal to a recount in any order, honest about sampling, and a gate that says why."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.accuracy import AccuracySnapshot, AccuracyTracker, Band, Gate, GateState, ReviewedLabel, band_of
from engine.intervals import clopper_pearson_lower, wilson

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def label(ticket: int | str, correct: bool = True, **changes: object) -> ReviewedLabel:
    values = {"department": "billing", "method": "learned", "confidence": 0.9, "at": NOW} | changes
    return ReviewedLabel(ticket_id=str(ticket), correct=correct, **values)  # type: ignore[arg-type]


labels = st.builds(
    ReviewedLabel,
    ticket_id=st.sampled_from([f"T-{i}" for i in range(12)]),
    department=st.sampled_from(["billing", "cards", "loans"]),
    method=st.sampled_from(["cached", "learned", "fallback"]),
    confidence=st.floats(0, 1),
    correct=st.booleans(),
    at=st.integers(0, 60).map(lambda days: NOW - timedelta(days=days, hours=3)),
    sampling_rate=st.sampled_from([1.0, 0.3, 0.05, 1 / 7]),
    revision=st.integers(0, 3),
)


@given(st.lists(labels, max_size=40), st.randoms())
def test_labels_and_corrections_in_any_order_equal_a_recount(drawn: list[ReviewedLabel], random: object) -> None:
    tracker = AccuracyTracker()
    for one in drawn:
        tracker.record(one)
    shuffled = drawn + drawn[: len(drawn) // 2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert tracker.snapshot(NOW).cells == AccuracyTracker.from_labels(shuffled).snapshot(NOW).cells
    last = {}
    for one in sorted(drawn, key=lambda one: one.rank):
        last[one.ticket_id] = one
    assert tracker.snapshot(NOW).cells == AccuracyTracker.from_labels(last.values()).snapshot(NOW).cells
    assert len(tracker) == len(last)


@given(st.lists(labels, max_size=40))
def test_every_cell_counts_what_counting_by_hand_gives(drawn: list[ReviewedLabel]) -> None:
    last = {one.ticket_id: one for one in sorted(drawn, key=lambda one: one.rank)}.values()
    snapshot = AccuracyTracker.from_labels(drawn).snapshot(NOW)
    seen: Counter[tuple[str, str, Band]] = Counter()
    right: Counter[tuple[str, str, Band]] = Counter()
    for one in last:
        key = (one.department, one.method, band_of(one.confidence))
        seen[key] += 1
        right[key] += one.correct
    for (department, method, band), count in seen.items():
        cell = snapshot.cell(department, method, band=band)
        assert (cell.n, cell.successes) == (count, right[department, method, band])
        assert cell.rate is not None
        assert 0.0 <= cell.lower <= cell.rate <= cell.upper <= 1.0
    for department in snapshot.departments:
        assert snapshot.cell(department).n == sum(n for key, n in seen.items() if key[0] == department)
    assert snapshot.cell(None).n == len(last)


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_many_threads_recording_and_correcting_equal_a_recount() -> None:
    rng = np.random.default_rng(3)
    drawn = [
        label(int(t), bool(rng.random() < 0.8), revision=int(rng.integers(0, 3)), sampling_rate=float(rate), at=NOW - timedelta(days=int(t)))
        for t, rate in zip(rng.integers(0, 100, 3000), rng.choice([1.0, 0.1], 3000), strict=True)
    ]
    start = threading.Barrier(4)

    def work(tracker: AccuracyTracker, part: list[ReviewedLabel]) -> None:
        start.wait()
        for one in part:
            tracker.record(one)
            if one.revision == 2 and one.correct is False:
                tracker.snapshot(NOW)

    counted = AccuracyTracker.from_labels(drawn).snapshot(NOW).cells
    for _ in range(8):
        tracker = AccuracyTracker()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, [tracker] * 4, (drawn[i::4] for i in range(4))))
        assert tracker.snapshot(NOW).cells == counted


def test_a_correction_replaces_the_label_even_when_it_arrives_first() -> None:
    tracker = AccuracyTracker()
    assert tracker.record(label(1, False, revision=1))
    assert not tracker.record(label(1, True))
    assert (tracker.snapshot(NOW).cell("billing").n, tracker.snapshot(NOW).cell("billing").successes) == (1, 0)
    assert tracker.record(label(1, True, revision=2))
    assert tracker.snapshot(NOW).cell("billing").successes == 1
    assert not tracker.record(label(1, True, revision=2)), "the very same one"
    assert tracker.record(label(1, False, revision=3, at=NOW - timedelta(days=1))), "whatever time it gives"
    assert tracker.snapshot(NOW).cell("billing").successes == 0


def test_even_labels_have_the_plain_wilson_interval() -> None:
    tracker = AccuracyTracker.from_labels(label(i, i % 10 > 0) for i in range(200))
    cell = tracker.snapshot(NOW).cell("billing", "learned")
    assert (cell.rate, cell.effective) == (0.9, 200.0)
    assert (cell.lower, cell.upper) == pytest.approx(wilson(180, 200))


def test_over_sampled_doubtful_tickets_do_not_pull_the_rate_down() -> None:
    """All doubtful tickets are reviewed (60% right), sure ones at one in twenty (98% right); 5 in 6 are sure."""
    rng = np.random.default_rng(4)
    sure = rng.random(60_000) < 5 / 6
    right = rng.random(60_000) < np.where(sure, 0.98, 0.6)
    seen = rng.random(60_000) < np.where(sure, 0.05, 1.0)
    tracker = AccuracyTracker.from_labels(
        label(i, bool(right[i]), sampling_rate=0.05 if sure[i] else 1.0) for i in np.flatnonzero(seen)
    )
    cell = tracker.snapshot(NOW).cell("billing", "learned")
    assert cell.rate == pytest.approx(right.mean(), abs=0.01)
    assert cell.lower <= right.mean() <= cell.upper
    assert cell.successes / cell.n < 0.75
    assert cell.effective < cell.n


def test_the_recent_view_halves_with_every_half_life() -> None:
    tracker = AccuracyTracker.from_labels(
        [label(0, True), label(1, False, at=NOW - timedelta(days=7)), label(2, True, at=NOW - timedelta(days=14))]
    )
    cell = tracker.snapshot(NOW, half_life=7.0).cell("billing")
    assert cell.rate == pytest.approx(2 / 3)
    assert cell.recent == pytest.approx((1 + 0.25) / (1 + 0.5 + 0.25))
    assert cell.recent_effective == pytest.approx(1.75)


def test_the_time_zone_of_a_label_does_not_matter() -> None:
    there = timezone(timedelta(hours=13))
    one = AccuracyTracker.from_labels([label(1, at=NOW - timedelta(days=5))])
    other = AccuracyTracker.from_labels([label(1, at=(NOW - timedelta(days=5)).astimezone(there))])
    assert one.snapshot(NOW).cells == other.snapshot(NOW).cells


def test_a_decision_of_a_clock_that_is_ahead_counts_as_one_of_today() -> None:
    cell = AccuracyTracker.from_labels([label(1, at=NOW + timedelta(days=14))]).snapshot(NOW).cell("billing")
    assert (cell.recent_effective, cell.recent) == (pytest.approx(1.0), 1.0)


def test_labels_so_old_that_their_weight_vanishes_leave_no_recent_rate() -> None:
    cell = AccuracyTracker.from_labels([label(1, at=datetime(1990, 1, 1, tzinfo=UTC))]).snapshot(NOW, half_life=1.0)
    assert cell.cell("billing").recent is None
    assert cell.cell("billing").rate == 1.0


def test_old_labels_alone_give_nothing_lately_and_an_interval_that_widens_with_their_age() -> None:
    cells = [
        AccuracyTracker.from_labels(label(i, i % 10 > 0, at=NOW - timedelta(days=age)) for i in range(500)).snapshot(NOW).cell("billing")
        for age in (0, 28, 180)
    ]
    widths = [cell.recent_upper - cell.recent_lower for cell in cells]
    assert [cell.recent for cell in cells[:2]] == [pytest.approx(0.9)] * 2
    assert cells[1].recent_effective == pytest.approx(125)
    assert widths[0] < widths[1] < widths[2] == 1.0
    assert cells[2].recent is None


@pytest.mark.parametrize(
    ("confidence", "band"),
    [(1.0, Band.HIGH), (0.85, Band.HIGH), (0.8499, Band.MEDIUM), (0.6, Band.MEDIUM), (0.5999, Band.LOW)],
)
def test_a_band_includes_its_lower_end(confidence: float, band: Band) -> None:
    assert band_of(confidence) is band


def test_too_few_labels_are_unproven_and_do_not_gate() -> None:
    snapshot = AccuracyTracker.from_labels(label(i) for i in range(12)).snapshot(NOW)
    gate = snapshot.gated("billing", "learned", threshold=0.8, minimum=30)
    assert (gate.state, gate.gated, gate.reason) == (GateState.UNPROVEN, False, "unproven: 12 reviewed of 30 needed")
    empty = AccuracySnapshot.empty(NOW).gated("billing", "learned", threshold=0.8, minimum=0)
    assert empty.state is GateState.UNPROVEN


def test_enough_good_labels_are_proven() -> None:
    snapshot = AccuracyTracker.from_labels(label(i, i % 20 > 0) for i in range(100)).snapshot(NOW)
    gate = snapshot.gated("billing", "learned", threshold=0.8, minimum=30)
    assert gate.state is GateState.PROVEN
    assert "95 of 100" in gate.reason


def test_a_lower_bound_under_the_threshold_gates_and_says_why() -> None:
    snapshot = AccuracyTracker.from_labels(label(i, i % 6 > 0) for i in range(60)).snapshot(NOW)
    gate = snapshot.gated("billing", "learned", threshold=0.8, minimum=30)
    assert gate.gated
    assert gate.reason == (
        "50 of 60 reviewed learned decisions for billing were right: at least 72.0% accurate is proven, under 80.0%"
    )
    assert not snapshot.gated("billing", "cached", threshold=0.8, minimum=30).gated


def gate_of(right: int, wrong: int, *, threshold: float = 0.8, rate: float = 1.0) -> Gate:
    drawn = [label(i, i < right, sampling_rate=rate) for i in range(right + wrong)]
    return AccuracyTracker.from_labels(drawn).snapshot(NOW).gated("billing", "learned", threshold=threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("right", [0, 1, 4, 8])
def test_one_wrong_label_among_few_closes_nothing_however_high_the_threshold(right: int, threshold: float) -> None:
    """The interval of 0 of 1 ends at 79.3%, under the default of 80%; one unlucky label is no evidence."""
    assert gate_of(right, 1, threshold=threshold).state is GateState.UNPROVEN


@pytest.mark.parametrize(("right", "wrong"), [(0, 2), (0, 3), (0, 9), (1, 3), (3, 4)])
def test_labels_that_speak_against_the_threshold_gate_however_few_they_are(right: int, wrong: int) -> None:
    gate = gate_of(right, wrong)
    most = 1 - clopper_pearson_lower(wrong, right + wrong, delta=0.05)
    assert gate.gated
    assert gate.reason.endswith(f"{right} of {right + wrong} reviewed learned decisions for billing were right: at most {most:.1%} accurate, under 80.0%")


@pytest.mark.parametrize(("right", "wrong"), [(2, 2), (4, 4), (6, 3)])
def test_fewer_than_ten_labels_that_chance_explains_gate_nothing(right: int, wrong: int) -> None:
    """Six of nine is under 80%, but 80% shows no more than that in one of four cases."""
    assert gate_of(right, wrong).state is GateState.UNPROVEN


@pytest.mark.parametrize(("right", "wrong", "gated"), [(7, 3, True), (8, 2, False), (20, 9, True), (23, 6, True), (24, 5, False)])
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_from_ten_labels_on_the_share_of_right_ones_gates(right: int, wrong: int, gated: bool, rate: float) -> None:
    gate = gate_of(right, wrong, rate=rate)
    assert gate.gated is gated
    assert f"{right / (right + wrong):.1%} accurate so far, under 80.0%" in gate.reason or not gated


@pytest.mark.parametrize("rate", [1.0, 0.7, 0.3, 0.05])
def test_thirty_even_labels_are_judged_by_what_they_prove(rate: float) -> None:
    gate = gate_of(24, 6, rate=rate)
    assert gate.gated and "at least 62.7% accurate is proven, under 80.0%" in gate.reason


@given(st.integers(1, 60), st.floats(0, 1), st.sampled_from([1.0, 0.3, 0.05]), st.data())
def test_more_right_answers_of_as_many_never_close_the_gate(n: int, threshold: float, rate: float, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n - 1))
    fewer, more = (gate_of(count, n - count, threshold=threshold, rate=rate) for count in (right, right + 1))
    assert fewer.gated or not more.gated


@given(st.lists(st.sampled_from([1.0, 0.3, 0.05]), min_size=1, max_size=40), st.floats(0, 1), st.data())
def test_a_wrong_answer_turned_right_never_closes_the_gate_whatever_the_labels_weigh(rates: list[float], threshold: float, data: st.DataObject) -> None:
    correct = data.draw(st.lists(st.booleans(), min_size=len(rates), max_size=len(rates)))
    turned = list(correct)
    turned[data.draw(st.integers(0, len(rates) - 1))] = True
    before, after = (
        AccuracyTracker.from_labels(label(i, flags[i], sampling_rate=rate) for i, rate in enumerate(rates))
        .snapshot(NOW).gated("billing", "learned", threshold=threshold)
        for flags in (correct, turned)
    )
    assert before.gated or not after.gated


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 1), st.floats(0, 1))
def test_a_lower_threshold_never_closes_the_gate(right: int, wrong: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert gate_of(right, wrong, threshold=high).gated or not gate_of(right, wrong, threshold=low).gated


def test_one_wrong_label_today_does_not_close_what_a_long_past_has_proven() -> None:
    past = [label(f"past-{i}", i % 50 > 0, at=NOW - timedelta(days=200)) for i in range(5000)]
    snapshot = AccuracyTracker.from_labels([*past, label("today", False)]).snapshot(NOW)
    assert snapshot.gated("billing", "learned", threshold=0.8).state is GateState.PROVEN


@pytest.mark.parametrize(("right", "wrong", "gated"), [(0, 9, False), (0, 10, True), (12, 0, False), (9, 4, False)])
def test_what_came_lately_closes_the_gate_on_ten_labels_whose_whole_interval_is_under_the_threshold(right: int, wrong: int, gated: bool) -> None:
    """Twelve right ones of twelve prove no more than 76%: too few to prove 80% must not undo what the past has proven."""
    past = [label(f"past-{i}", i % 50 > 0, at=NOW - timedelta(days=200)) for i in range(5000)]
    snapshot = AccuracyTracker.from_labels([*past, *(label(f"today-{i}", i < right) for i in range(right + wrong))]).snapshot(NOW)
    assert snapshot.gated("billing", "learned", threshold=0.8).gated is gated


def test_few_labels_that_are_clearly_bad_gate_already() -> None:
    snapshot = AccuracyTracker.from_labels(label(i, i == 0) for i in range(10)).snapshot(NOW)
    assert snapshot.gated("billing", "learned", threshold=0.8, minimum=30).gated


def test_a_recent_fall_gates_whatever_the_past_was() -> None:
    past = [label(f"past-{i}", i % 50 > 0, at=NOW - timedelta(days=200)) for i in range(5000)]
    fall = [label(f"fall-{i}", i % 2 > 0, at=NOW) for i in range(60)]
    before = AccuracyTracker.from_labels(past).snapshot(NOW).gated("billing", "learned", threshold=0.8)
    after = AccuracyTracker.from_labels(past + fall).snapshot(NOW).gated("billing", "learned", threshold=0.8)
    assert before.state is GateState.PROVEN
    assert after.gated
    assert "lately" in after.reason


def test_few_heavy_labels_are_not_taken_for_many() -> None:
    """40 labels, two of them standing for 100 tickets each, are worth about two."""
    drawn = [label(i, sampling_rate=0.01 if i < 2 else 1.0) for i in range(40)]
    gate = AccuracyTracker.from_labels(drawn).snapshot(NOW).gated("billing", "learned", threshold=0.8, minimum=30)
    assert gate.state is GateState.UNPROVEN
    assert "worth 3 even ones" in gate.reason


@pytest.mark.parametrize(
    ("rates", "wrong"), [([0.5, 1.0], 1), ([0.5, 0.5, 1.0], 2), ([0.2] + [1.0] * 11, 1)], ids=["worth two", "worth three", "worth seven"]
)
def test_what_uneven_labels_are_worth_is_rounded_in_favour_of_the_group(rates: list[float], wrong: int) -> None:
    """One wrong one of two, two of three, and a share of 69% on fewer than ten: all of it may be chance at 80%."""
    snapshot = AccuracyTracker.from_labels(label(i, i >= wrong, sampling_rate=rate) for i, rate in enumerate(rates)).snapshot(NOW)
    assert snapshot.gated("billing", "learned", threshold=0.8).state is GateState.UNPROVEN


def test_where_no_accuracy_is_asked_for_nothing_is_held_back() -> None:
    assert not gate_of(0, 40, threshold=0.0).gated


def test_a_snapshot_does_not_change_afterwards() -> None:
    tracker = AccuracyTracker.from_labels([label(1)])
    snapshot = tracker.snapshot(NOW)
    tracker.record(label(2, False))
    assert snapshot.cell("billing").n == 1
    with pytest.raises(TypeError):
        snapshot.cells["billing", None, None] = snapshot.cell("billing")  # type: ignore[index]


@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": float("nan")},
        {"confidence": 1.1},
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.5},
        {"sampling_rate": float("nan")},
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"department": ""},
        {"revision": -1},
    ],
)
def test_unfit_labels_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|needs|without"):
        label(1, **changes)


def test_unfit_questions_are_refused() -> None:
    tracker = AccuracyTracker()
    with pytest.raises(ValueError, match="no time zone"):
        tracker.snapshot(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="half_life"):
        tracker.snapshot(NOW, half_life=0.0)
    with pytest.raises(ValueError, match="threshold must lie"):
        tracker.snapshot(NOW).gated("a", "b", threshold=float("nan"))
    with pytest.raises(ValueError, match="minimum must not"):
        tracker.snapshot(NOW).gated("a", "b", threshold=0.8, minimum=-1)
