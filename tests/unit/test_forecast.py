"""The number of labels that is said to be enough is enough in four of five cases, whichever tickets were reviewed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from engine.forecast import _RATES, _quantile
from engine.risk import Threshold, derive_threshold
from engine.sampled import Stratum


class Stream:
    """Reviewed tickets as they come: under 0.9 all of them, the surer ones at `rate`. `right` None means that what is shown is true."""

    def __init__(self, seed: int, *, mean: float, spread: float, rate: float, right: float | None = None, tickets: int = 90_000) -> None:
        rng = np.random.default_rng(seed)
        shown = expit(rng.normal(mean, spread, tickets))
        correct = rng.random(tickets) < (shown if right is None else right)
        drawn = np.where(shown < 0.9, 1.0, rate)
        seen = rng.random(tickets) < drawn
        self.shown, self.correct, self.drawn = shown[seen], correct[seen], drawn[seen]
        self.strata = [Stratum("all", drawn, tickets, rate) for drawn in (1.0, rate)]

    def first(self, labels: int, *, target: float) -> Threshold:
        assert labels <= len(self.shown)
        part = slice(0, labels)
        return derive_threshold(self.shown[part], self.correct[part], target=target, weights=1.0 / self.drawn[part], strata=self.strata)


@pytest.mark.parametrize(
    ("labels", "rate", "target", "mean"),
    [(100, 1.0, 0.95, 4.0), (200, 0.2, 0.95, 4.0), (400, 0.05, 0.95, 4.0), (300, 1.0, 0.95, 3.0)],
    ids=["all reviewed", "a fifth of the sure ones", "a twentieth of the sure ones", "harder tickets"],
)
def test_with_as_many_labels_as_are_said_to_be_enough_the_promise_is_given_in_four_of_five_cases(
    labels: int, rate: float, target: float, mean: float
) -> None:
    asked, given = 0, 0
    for seed in range(20):
        stream = Stream(seed, mean=mean, spread=2.0, rate=rate)
        early = stream.first(labels, target=target)
        if early.value is None and early.labels_enough is not None and labels + early.labels_enough <= len(stream.shown):
            asked += 1
            given += stream.first(labels + early.labels_enough, target=target).value is not None
            assert early.labels_needed is not None and early.labels_enough >= early.labels_needed
    assert asked >= 10
    assert given >= 0.8 * asked


def test_of_a_router_that_is_worse_than_the_target_it_is_mostly_said_that_the_labels_do_not_tell() -> None:
    """93% are right however sure it is; after 300 labels chance makes some part of them look like 95% all the same, in a few cases."""
    found = [Stream(seed, mean=2.6, spread=0.7, rate=1.0, right=0.93).first(300, target=0.95) for seed in range(20)]
    assert sum(early.labels_enough is not None for early in found) <= 9
    undecided = [early for early in found if early.labels_enough is None and early.labels_needed is not None]
    assert undecided
    assert all("do not tell" in early.reason for early in undecided)


def test_few_right_labels_do_not_tell_that_a_number_will_do() -> None:
    three, forty = (derive_threshold(np.full(n, 0.97), np.full(n, True), target=0.95) for n in (3, 40))
    assert three.labels_enough is None
    assert forty.labels_enough is not None
    assert forty.reason == (
        f"Not enough labels: about {forty.labels_needed:,} more if they turn out much like the present ones; with "
        f"{forty.labels_enough:,} more the promise is given in four of five cases."
    )


def test_one_number_is_said_where_the_first_is_as_likely_to_do_as_the_second_asks_for() -> None:
    found = derive_threshold(np.full(30, 0.97), np.full(30, True), target=0.8, delta=0.01)
    assert found.value is None and found.labels_needed == found.labels_enough
    assert found.reason == f"Not enough labels: about {found.labels_needed:,} more are likely to do: the promise is given in four of five cases then."


def test_fewer_than_the_first_number_may_do() -> None:
    """It draws what was seen towards a router of the middling kind: 40 right ones are no proof of one that is always right."""
    early = derive_threshold(np.full(40, 0.97), np.full(40, True), target=0.95)
    assert early.labels_needed is not None and early.labels_needed > 100
    assert derive_threshold(np.full(100, 0.97), np.full(100, True), target=0.95).value is not None


def test_the_errors_counted_with_are_not_exceeded_in_four_of_five_cases() -> None:
    """Against drawing them: which rate it is, then how many of 500."""
    rng = np.random.default_rng(3)
    rates = np.quantile(rng.beta(3.0, 97.0, 200_000), _RATES)[None, :]
    drawn = rng.binomial(500, rng.choice(rates[0], 200_000))
    (most,) = _quantile(np.array([500]), rates)
    assert (drawn <= most).mean() >= 0.8 - 0.003
    assert (drawn <= most - 1).mean() < 0.8 + 0.003
    assert _quantile(np.array([0]), rates).tolist() == [0], "none to come, none wrong"
