"""What people read from counts: shares of the right whole, intervals around them, and nothing where nothing was counted."""
from __future__ import annotations

import numpy as np
import pytest

from engine.figures import Tally
from engine.histograms import CONFIDENCE_BINS, EDGES_MS, LATENCY_BINS, percentile_ms


def bins(size: int, **counts: int) -> np.ndarray:
    made = np.zeros(size, dtype=np.int64)
    for name, count in counts.items():
        made[int(name[1:])] = count
    return made


def labels(number: int, right: int) -> np.ndarray:
    """The weight, the weight of the right ones and the sum of squares of so many labels of tickets of which all are labelled."""
    return np.array([number * 1000, right * 1000, number * 1000], dtype=np.int64)


def test_shares_are_of_what_they_say() -> None:
    tally = Tally(n=200, hits=80, auto=50, audited=16, false_hits=4, total_us=500_000, confidence=bins(CONFIDENCE_BINS, b3=20, b11=10, b12=70, b17=100))
    assert (tally.hit_rate, tally.auto_rate, tally.disagreement_rate, tally.mean_ms) == (0.4, 0.25, 0.25, 2.5)
    assert (tally.low, tally.low_share) == (30, 0.15)
    assert [(band.name, band.n) for band in tally.bands()] == [("High", 100), ("Medium", 70), ("Low", 30)]


def test_without_anything_counted_there_is_no_share_and_the_interval_says_nothing() -> None:
    tally = Tally()
    assert [tally.hit_rate, tally.false_hit_rate, tally.disagreement_rate, tally.auto_rate, tally.low_share, tally.mean_ms, tally.accuracy] == [None] * 7
    assert tally.false_hit_interval == tally.accuracy_interval == (0.0, 1.0)
    assert tally.hit_labels == tally.sampled_labels == 0.0 and tally.percentile_ms(0.5) is None


def test_what_labels_say_of_all_of_hits_and_of_bands_lies_within_its_interval() -> None:
    weight, right, squared = labels(100, 90).tolist()
    tally = Tally(
        n=500, hits=300, weight=weight, weight_correct=right, weight_squared=squared, hit_weights=labels(40, 38),
        band_weights=np.array([labels(60, 59), labels(30, 25), labels(10, 6)]),
    )
    assert (tally.accuracy, tally.false_hit_rate) == (0.9, pytest.approx(0.05))
    assert (tally.sampled_labels, tally.hit_labels) == (pytest.approx(100), pytest.approx(40))
    for rate, (low, high) in ((tally.accuracy, tally.accuracy_interval), (tally.false_hit_rate, tally.false_hit_interval)):
        assert 0 < low < rate < high < 1
    bands = {band.name: band for band in tally.bands()}
    assert [round(bands[name].labels) for name in ("High", "Medium", "Low")] == [60, 30, 10]
    assert all(band.interval[0] < band.accuracy < band.interval[1] for band in bands.values())
    assert bands["Low"].accuracy == 0.6


def test_labels_of_tickets_that_stand_for_many_count_as_fewer() -> None:
    assert Tally(hit_weights=np.array([11_000, 11_000, 101_000])).hit_labels == pytest.approx(11**2 / 101)


def test_a_percentile_ends_with_the_bin_that_reaches_it() -> None:
    counts = bins(LATENCY_BINS, b0=50, b8=50).tolist()
    assert percentile_ms(counts, 0.5) == EDGES_MS[0], "half of them are in the first bin, so half of all stay under its end"
    assert percentile_ms(counts, 0.25) == EDGES_MS[0] / 2
    assert percentile_ms(counts, 1.0) == pytest.approx(EDGES_MS[8])
    assert percentile_ms(bins(LATENCY_BINS, b65=1).tolist(), 0.5) == EDGES_MS[-1], "the last bin has no end"
