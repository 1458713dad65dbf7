"""Confidence intervals for a share: what a count of right answers says about the rate behind it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri


def wilson(successes: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Two-sided Wilson score interval for a rate, as (lower, upper) in [0, 1].

    `successes` of `n` trials, 0 <= successes <= n; both may be fractional, so that an effective sample size can stand
    in for a count. `level` is the coverage of the whole interval, in (0, 1). No trials say nothing: (0, 1).
    With z the normal quantile of (1 + level) / 2 and p = successes / n the bounds are
    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    Its coverage is right on average, not for every rate: where a promise is made use `clopper_pearson_upper`.
    Raises ValueError for NaN, a count outside 0..n or a level outside (0, 1).
    """
    _check_counts(successes, n, what="successes")
    _check_open_unit(level, "level")
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri((1.0 + level) / 2.0))
    rate = successes / n
    spread = z * math.sqrt(max(rate * (1.0 - rate) / n + z * z / (4.0 * n * n), 0.0))
    centre = rate + z * z / (2.0 * n)
    scale = 1.0 + z * z / n
    # At the ends the two terms cancel exactly in theory; rounding must not exclude the observed rate.
    lower = 0.0 if successes == 0 else max(0.0, (centre - spread) / scale)
    upper = 1.0 if successes == n else min(1.0, (centre + spread) / scale)
    return min(lower, rate), max(upper, rate)


def effective_size(total_weight: float, squared_weight: float) -> float:
    """How many equally weighted labels carry as much information: (sum w)^2 / sum w^2, or 0.0 without labels.

    Source: L. Kish, "Survey Sampling" (1965). Never more than the number of labels; equal to it for equal weights.
    """
    if not (math.isfinite(total_weight) and math.isfinite(squared_weight)) or total_weight < 0 or squared_weight < 0:
        raise ValueError(f"weight sums must be finite and not negative, got {total_weight} and {squared_weight}")
    return total_weight * total_weight / squared_weight if squared_weight > 0 else 0.0


def effective_count(weights: ArrayLike) -> float:
    """`effective_size` of labels with these weights [n], finite and not negative."""
    each = np.asarray(weights, dtype=np.float64)
    return effective_size(float(each.sum()), float(np.square(each).sum()))


def wilson_weighted(successful_weight: float, total_weight: float, *, squared_weight: float) -> tuple[float, float]:
    """95% Wilson interval of a rate estimated with inverse-probability weights, as (lower, upper).

    The rate is `successful_weight / total_weight` (sums of weights, the Hajek estimator); `squared_weight` is the sum
    of the squared weights. The interval is Wilson's with Kish's effective size in the place of n: wider than the
    count of labels suggests, as it must be when a few labels stand for many tickets. Equal weights give `wilson`.
    """
    _check_counts(successful_weight, total_weight, what="successful_weight")
    size = effective_size(total_weight, squared_weight)
    if size == 0.0:
        return 0.0, 1.0
    return wilson(min(size, size * (successful_weight / total_weight)), size)


def clopper_pearson_upper(errors: int, n: int, *, delta: float) -> float:
    """Exact upper bound of an error rate: the true one is above it with probability at most `delta`.

    One-sided, for `errors` among `n` independent trials, 0 <= errors <= n; `delta` in (0, 1). It is the rate at which
    seeing `errors` or fewer has probability `delta`: the 1 - delta quantile of Beta(errors + 1, n - errors).
    1.0 when there are no trials or nothing but errors.
    Source: C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits ...", Biometrika 26 (1934).
    """
    _check_whole(errors, n)
    _check_open_unit(delta, "delta")
    return 1.0 if errors == n else float(betaincinv(errors + 1.0, float(n - errors), 1.0 - delta))


def clopper_pearson_lower(errors: int, n: int, *, delta: float) -> float:
    """Exact lower bound of an error rate: the true one is below it with probability at most `delta`.

    One-sided: the `delta` quantile of Beta(errors, n - errors + 1); 0.0 without trials or without errors.
    """
    _check_whole(errors, n)
    _check_open_unit(delta, "delta")
    return 0.0 if errors == 0 else float(betaincinv(float(errors), n - errors + 1.0, delta))


def _check_open_unit(value: float, name: str) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie between 0 and 1, got {value}")


def _check_counts(part: float, whole: float, *, what: str) -> None:
    if not (math.isfinite(part) and math.isfinite(whole) and 0 <= part <= whole):
        raise ValueError(f"{what} must lie in 0..n, got {part} of {whole}")


def _check_whole(errors: int, n: int) -> None:
    _check_counts(errors, n, what="errors")
    if errors != int(errors) or n != int(n):
        raise ValueError(f"exact bounds need whole counts, got {errors} of {n}")
