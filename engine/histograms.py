"""Fixed-width counting of latencies and confidences, so that counts of any two spans of time add up exactly.

Latencies fall into bins whose edges are 0.5 ms * 2^(i/4), i = 0..64: one bin below 0.5 ms, sixty-four up to 32.8 s, one
above. A percentile read from them is inside the right bin, so from 0.5 ms on it is wrong by at most a factor of 2^(1/4) (19%),
and by far less where the latencies within a bin are spread evenly on a logarithmic scale; below, by less than 0.5 ms.
"""
from __future__ import annotations

from collections.abc import Sequence

FIRST_MS = 0.5
PER_DOUBLING = 4
DOUBLINGS = 16
EDGES_MS: tuple[float, ...] = tuple(FIRST_MS * 2 ** (i / PER_DOUBLING) for i in range(PER_DOUBLING * DOUBLINGS + 1))
LATENCY_BINS = len(EDGES_MS) + 1
CONFIDENCE_BINS = 20


def percentile_ms(counts: Sequence[int], share: float) -> float | None:
    """The latency in milliseconds that `share` in (0, 1] of the counted tickets stay at or under; None without tickets.

    `counts` has one count per latency bin. Within a bin the position is read on a logarithmic scale (linear in the first
    bin, which begins at 0); in the last, open bin it is the bin's lower edge, 32,768 ms.
    """
    if len(counts) != LATENCY_BINS:
        raise ValueError(f"{LATENCY_BINS} latency bins wanted, got {len(counts)}")
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= wanted:
            inside = (wanted - below) / count
            if index == 0:
                return FIRST_MS * inside
            low = EDGES_MS[index - 1]
            return low if index == LATENCY_BINS - 1 else low * (EDGES_MS[index] / low) ** inside
        below += count
    return EDGES_MS[-1]
