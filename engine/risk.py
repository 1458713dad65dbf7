"""Thresholds with a guarantee: how sure the router must be so that a target accuracy is kept on new tickets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.checks import checked_confidence, checked_flags, checked_weights
from engine.forecast import labels_enough
from engine.intervals import clopper_pearson_lower, clopper_pearson_upper
from engine.selective import RiskCoverage, auroc, coverage_at, risk_coverage
from engine.label_counts import MOST_LABELS, Batch, LabelCounts, check_promise, fewest_deciding, typical_need
from engine.sampled import Stratum

__all__ = [
    "Basis",
    "DepartmentThreshold",
    "RiskCoverage",
    "Threshold",
    "auroc",
    "coverage_at",
    "derive_per_department",
    "derive_threshold",
    "risk_coverage",
]

Horizon = int | Literal["same"] | None
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A threshold with what it promises, or the statement that nothing can be promised yet.

    value          confidence at and above which a ticket may be routed alone; None when it cannot be promised
    target, delta  the promise: accuracy of at least `target`, kept with probability 1 - `delta`
    horizon        over how many coming tickets it is counted; None for the long run alone
    labels         reviewed tickets it was derived from
    covered        how many of them are at or above the value; `errors` of them were routed wrong
    coverage       share of tickets at or above the value, in [0, 1] (weighted if weights were given)
    error_rate     share of wrong ones among these (weighted); None when nothing is covered
    upper_error    exact upper bound of the long-run error rate, at level `delta`; 1.0 when nothing is covered
    labels_needed  about how many more reviewed tickets would do if they turned out much like the present ones, a little drawn
                   towards halfway between target and perfection, so that fewer may do; 0 when the promise holds already, None
                   when no number would do at the accuracy observed
    labels_enough  with how many more the promise is given in about four of five cases or more, as far as the present ones tell how
                   accurate the coming ones are; 0 when it holds already, None when they do not tell that any number will do
    noisy_batch    True when labels would do for the long run, but in a batch as small as `horizon` chance alone breaks the
                   target too often, however many labels there are
    """

    value: float | None
    target: float
    delta: float
    horizon: int | None
    labels: int
    covered: int
    errors: int
    coverage: float
    error_rate: float | None
    upper_error: float
    labels_needed: int | None
    labels_enough: int | None
    noisy_batch: bool = False

    @property
    def reason(self) -> str:
        """One sentence for the page."""
        if self.value is not None:
            return (
                f"At {self.value:.4f} and above {self.coverage:.1%} of tickets can be routed alone; of {self.covered} "
                f"reviewed ones {self.errors} were wrong, in the long run at most {self.upper_error:.2%}."
            )
        if self.noisy_batch:
            return (
                f"No number of labels is likely to allow a promise of {self.target:.1%} for a batch of {self.horizon:,} tickets: in "
                "one as small chance alone breaks it too often. Count over more tickets."
            )
        if self.labels_needed is None:
            return f"No threshold reaches {self.target:.1%} on the {self.labels} reviewed tickets; more would not help."
        if self.labels_enough is None:
            return (
                f"Not enough labels: about {self.labels_needed:,} more where the answers are clearly better than {self.target:.1%}; whether "
                "they are, the present ones do not tell."
            )
        if self.labels_enough == self.labels_needed:
            return f"Not enough labels: about {self.labels_needed:,} more are likely to do: the promise is given in four of five cases then."
        return (
            f"Not enough labels: about {self.labels_needed:,} more if they turn out much like the present ones; with "
            f"{self.labels_enough:,} more the promise is given in four of five cases."
        )


class Basis(StrEnum):
    """What a department's threshold rests on: its own labels, those of all departments with few labels, or nothing."""

    OWN = "own"
    POOLED = "pooled"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class DepartmentThreshold:
    """A department's threshold and its basis; with basis `none` the value of `threshold` is None.

    With basis `pooled` the counts in `threshold` are those of all departments with few labels together; `labels` are the
    department's own, which may be none.
    """

    department: str
    threshold: Threshold
    basis: Basis
    labels: int


def derive_threshold(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    target: float,
    delta: float = 0.05,
    horizon: Horizon = "same",
    weights: ArrayLike | None = None,
    strata: Iterable[Stratum] = (),
) -> Threshold:
    """The lowest threshold that keeps `target` accuracy among the tickets at or above it, with probability 1 - `delta`.

    `confidence` [n] in [0, 1] must come from a calibrator that did not see these labels; `correct` [n] booleans;
    0 < target < 1, 0 < delta < 1.

    What is promised. Both of
    - the long-run error rate above the threshold is at most 1 - target, by an exact binomial (Clopper-Pearson) bound;
    - among the next `horizon` tickets those above the threshold contain at most that share of errors, by the exact
      hypergeometric prediction bound (A. R. Thatcher, JRSS B 26, 1964). A batch that is counted afterwards is noisy
      too, so a bound on the long run alone would be seen broken in more than `delta` of the batches. The default
      "same" is a batch as large as the labels; None promises the long run only and covers a little more.
    How. Fixed-sequence testing from the most confident down over fixed candidates (A. N. Angelopoulos, S. Bates,
    E. J. Candes, M. I. Jordan, L. Lei, "Learn then Test", 2021), with the fallback rule (B. L. Wiens, Pharmaceutical
    Statistics 2, 2003) to start anew further down should a start with few tickets fail by bad luck; the selective
    guarantee is that of Y. Geifman, R. El-Yaniv, "Selective classification for deep neural networks" (2017).
    Assumption. The labelled tickets are exchangeable with the coming ones: same mix of customers, same taxonomy, same
    model, reviewed regardless of how they look (or at rates given by `weights`); errors do not become more frequent
    as the confidence rises. When the mix drifts nothing is promised any more: see `engine.drift`.

    `weights` [n] are inverse sampling rates where labels were not drawn evenly. Conservative reading: at each
    candidate the evidence is cut to sum(w) / max(w) labels with the weighted error rate, rounded up - as if the
    over-sampled tickets had been thinned out until all were sampled at the lowest rate. The thinned sample would be an
    even one, and the weighted rate varies no more than its rate does. With equal weights nothing is lost.
    `strata` says at which rates the tickets were drawn, labelled or not: a rate so low that none of its tickets has a label
    yet counts all the same, else the others would speak for them.
    Raises ValueError for NaN, wrong shapes, or a number outside its range.
    """
    shown = checked_confidence(confidence)
    right = checked_flags(correct, len(shown), "correct")
    mass = checked_weights(weights, len(shown))
    check_promise(target, delta)
    _check_horizon(horizon)
    batch = None if horizon is None else Batch(per_label=1.0) if horizon == "same" else Batch(tickets=horizon)
    return _derive(shown, right, mass, target=target, delta=delta, batch=batch, strata=strata)


def _derive(
    shown: Doubles, right: NDArray[np.bool_], mass: Doubles, *, target: float, delta: float, batch: Batch | None,
    strata: Iterable[Stratum],
) -> Threshold:
    ahead = None if batch is None else batch.size(len(shown))
    counts = LabelCounts.of(shown, right, mass, heaviest=max((1.0 / stratum.rate for stratum in strata), default=0.0))
    at = counts.lowest(target, delta, horizon=ahead)
    if at is None:
        wanted, noisy = _forecast(counts, target, delta, labels=len(shown), batch=batch)
        enough = None if wanted is None else labels_enough(counts, target, delta, batch=batch, least=max(wanted, len(shown) + 1))
        return Threshold(
            value=None, target=target, delta=delta, horizon=ahead, labels=len(shown), covered=0, errors=0, coverage=0.0,
            error_rate=None, upper_error=1.0, labels_needed=None if wanted is None else max(1, wanted - len(shown)),
            labels_enough=None if enough is None else enough - len(shown), noisy_batch=noisy,
        )
    return Threshold(
        value=float(counts.thresholds[at]),
        target=target,
        delta=delta,
        horizon=ahead,
        labels=len(shown),
        covered=int(counts.covered[at]),
        errors=int(counts.wrong[at]),
        coverage=float(counts.coverage[at]),
        error_rate=float(counts.rate[at]),
        upper_error=clopper_pearson_upper(int(counts.errors[at]), int(counts.trials[at]), delta=delta),
        labels_needed=0,
        labels_enough=0,
    )


def _forecast(
    counts: LabelCounts, target: float, delta: float, *, labels: int, batch: Batch | None
) -> tuple[int | None, bool]:
    """How many labels in all would do, None when no number would; then also whether it is the batch that forbids it."""
    hopeless = counts.out_of_reach(target, delta)

    def wanted(ahead: Batch | None) -> int | None:
        found, fewest = counts.labels_wanted(target, delta, batch=ahead), fewest_deciding(delta, batch=ahead)
        if found is not None or (hopeless and labels >= fewest):
            return found
        # Not shown to be out of reach: ask for as many as a good router needs, beside those that leave it open.
        typical = typical_need(target, delta, batch=ahead)
        return typical if typical is None else max(typical, fewest) if hopeless else typical + labels

    found = wanted(batch)
    return found, found is None and batch is not None and wanted(None) is not None


def derive_per_department(
    confidence: ArrayLike,
    correct: ArrayLike,
    departments: Sequence[str],
    *,
    target: float,
    delta: float = 0.05,
    horizon: Literal["same"] | None = "same",
    weights: ArrayLike | None = None,
    minimum: int | None = None,
    known: Iterable[str] = (),
    strata: Iterable[Stratum] = (),
) -> dict[str, DepartmentThreshold]:
    """A threshold per department, own where its labels allow, pooled where they are few; sorted by department.

    `departments` [n] are the departments the router *answered*, since it is those that a threshold is applied to.
    - `own`: the department's own promise holds, and it has at least `minimum` labels or cannot use the pooled one.
    - `pooled`: it has fewer labels than `minimum`; the threshold derived from all such departments together holds, and the
      department's own labels above it do not contradict (exact lower bound of its error rate at level `delta` not above
      1 - target). The promise is about the tickets of these departments together, not about this one alone. Departments
      with many labels have no part in it: their good ones would hide what is wrong with the small ones.
    - `none`: neither; `threshold.labels_needed` and `labels_enough` say what its own promise would take.
    Whether a department is small is decided by the count alone, never by how its labels turned out, which would bias
    the test. `minimum` None means: as many as a department halfway between target and perfection would need.
    A promise is counted over as many coming tickets of the department itself as it had (by weight) among those labelled, or over the
    long run alone (`horizon` None).
    Each promise holds with probability 1 - delta by itself, not all of them together. `known` names departments that are
    to be answered for although they may have no labels yet; `strata` are as in `derive_threshold`, those of all departments.
    """
    names = np.asarray([str(name) for name in departments], dtype=object)
    shown = checked_confidence(confidence)
    if names.shape != shown.shape:
        raise ValueError(f"departments must have shape {shown.shape}, got {names.shape}")
    right = checked_flags(correct, len(shown), "correct")
    mass = checked_weights(weights, len(shown))
    check_promise(target, delta)
    if minimum is not None and minimum < 0:
        raise ValueError(f"minimum must not be negative, got {minimum}")
    if horizon not in ("same", None):
        # Of a batch of all tickets nobody knows how many will be this department's.
        raise ValueError(f"horizon must be None or 'same' for departments, got {horizon!r}")
    distinct = sorted({*names.tolist(), *map(str, known)})
    total = float(mass.sum())
    if minimum is None:
        minimum = typical_need(target, delta, batch=None if horizon is None else Batch(per_label=1.0)) or MOST_LABELS

    drawn = list(strata)

    def derive(*own: str) -> Threshold:
        part = np.isin(names, own)
        rates = [stratum for stratum in drawn if stratum.department in own]
        return _derive(shown[part], right[part], mass[part], target=target, delta=delta, batch=share(part), strata=rates)

    def share(part: NDArray[np.bool_]) -> Batch | None:
        # As many tickets of the department as it had among all that were labelled, however often it was reviewed.
        labels, ratio = int(part.sum()), float(mass[part].sum()) / total if total else 0.0
        if horizon is None:
            return None
        return Batch(per_label=len(shown) * ratio / labels if labels else 1.0)

    def contradicted(part: NDArray[np.bool_], threshold: Threshold) -> bool:
        own = LabelCounts.of(shown[part], right[part], mass[part])
        above = np.flatnonzero(own.thresholds >= threshold.value)
        if not len(above):
            return False
        errors, trials = int(own.errors[above[-1]]), int(own.trials[above[-1]])
        return clopper_pearson_lower(errors, trials, delta=delta) > 1.0 - target

    small = {name for name in distinct if int((names == name).sum()) < minimum}
    pooled = derive(*small)
    found = {}
    for name in distinct:
        part = names == name
        if name in small and pooled.value is not None and not contradicted(part, pooled):
            found[name] = DepartmentThreshold(name, pooled, Basis.POOLED, int(part.sum()))
        else:
            own = derive(name)
            found[name] = DepartmentThreshold(name, own, Basis.NONE if own.value is None else Basis.OWN, int(part.sum()))
    return found


def _check_horizon(horizon: Horizon) -> None:
    if horizon != "same" and horizon is not None and (not isinstance(horizon, int) or horizon < 0):
        raise ValueError(f"horizon must be a number of tickets, None or 'same', got {horizon!r}")
