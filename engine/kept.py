"""Is what was asked for kept? Labels of tickets that went alone, held against the target accuracy they went under."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scipy.special import betaincinv

from engine.intervals import effective_size, wilson_weighted

# The question is asked again with every label, so one in a hundred would be wrong in most years: see `Kept.chance`.
OPENS = 0.001
LASTS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Labels of tickets of `department` ("" = of all) that went alone under the target, drawn by chance for review.

    target   the share of them that was to be right, in [0, 1]
    weight, right, squared   sum of the labels' weights (1 / chance of having been drawn), of the right ones', of the squares
    """

    department: str
    target: float
    weight: float
    right: float
    squared: float

    @classmethod
    def together(cls, parts: Iterable[Kept]) -> Kept | None:
        """All departments as one; None without any. The parts have one target."""
        found = list(parts)
        if not found:
            return None
        sums = {name: sum(getattr(part, name) for part in found) for name in ("weight", "right", "squared")}
        return cls(department="", target=found[0].target, **sums)

    @property
    def labels(self) -> float:
        """How many evenly drawn labels say as much (Kish's effective size)."""
        return effective_size(self.weight, self.squared)

    @property
    def accuracy(self) -> float:
        """Share right among what went alone, in [0, 1] (Hajek's estimator)."""
        return min(1.0, self.right / self.weight)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of `accuracy`."""
        return wilson_weighted(min(self.right, self.weight), self.weight, squared_weight=self.squared)

    @property
    def shortfall(self) -> float:
        """How far the accuracy is under the target; negative above it."""
        return self.target - self.accuracy

    def chance(self, level: float = OPENS) -> float:
        """How much of the shortfall chance explains: more than this has probability `level` at most where the target is met.

        The distance from the error rate to its exact lower bound (Clopper and Pearson 1934; here with the effective size, as
        `wilson_weighted` does), so that a shortfall above it means that the bound itself is worse than the target. One look
        at one sample keeps the level; looking again with every label does not. Simulated for a router exactly as good as its
        target, over windows of 30 days and a whole year with 5 to 100 labels a day: with `OPENS` a shortfall was once above chance in 4
        to 13 of 100 years (with 0.01 it was in 33 to 71), and in 0 to 0.5 where 96% are right under a target of 95%.
        """
        size = self.labels
        wrong = (1.0 - self.accuracy) * size
        if wrong <= 0.0:
            return 0.0
        return (1.0 - self.accuracy) - float(betaincinv(wrong, size - wrong + 1.0, level))

    def missed(self) -> bool:
        """True where the labels say that fewer are right than was asked for."""
        return self.shortfall > max(0.0, self.chance())
