"""What a rollup counts: its columns, its levels of time, and the SQL that turns a decision into them."""
from __future__ import annotations

from datetime import timedelta

from engine.figures import BANDS
from engine.histograms import CONFIDENCE_BINS, EDGES_MS, LATENCY_BINS
from engine.timeline import WIDTH, Level

DIMENSIONS = ("department", "method", "policy", "channel", "demo")
LATENCY = tuple(f"l{i:02}" for i in range(LATENCY_BINS))
CONFIDENCE = tuple(f"c{i:02}" for i in range(CONFIDENCE_BINS))
REVIEWED = tuple(f"r{i:02}" for i in range(CONFIDENCE_BINS))
CORRECT = tuple(f"k{i:02}" for i in range(CONFIDENCE_BINS))
# total_us is the sum of processing times in whole microseconds: whole numbers add up exactly, fractions would not.
COUNTS = ("n", "auto", "degraded", "audited", "false_hits", "total_us")
# Labels weighted with 1 / the chance of having been picked for review, and the squares, in whole thousandths. A label that
# somebody chose to give, instead of being asked by chance, weighs nothing: it says nothing about the tickets not looked at.
WEIGHTS = ("weight", "weight_correct", "weight_squared")
# The same for each band of confidence.
BAND_WEIGHTS = tuple(f"{kind}_{name.lower()}" for name, _, _ in BANDS for kind in ("weight", "correct", "squared"))
MEASURES = (*COUNTS, *WEIGHTS, *BAND_WEIGHTS, *LATENCY, *CONFIDENCE, *REVIEWED, *CORRECT)
BIG = frozenset({*COUNTS, *WEIGHTS, *BAND_WEIGHTS})
# Fine buckets are needed for recent windows and for the edges of longer ones; coarse ones stay for ever.
KEPT = {Level.MINUTE: timedelta(days=3), Level.HALF_HOUR: timedelta(days=33), Level.FOUR_HOURS: timedelta(days=400)}
# Every count is kept three times: by all dimensions, by department and method, and by method alone. A view without
# filters then reads a few rows for each bar, however many tickets there are.
FULL, BY_DEPARTMENT, BY_METHOD = 0, 1, 2
_EDGES = "array[" + ", ".join(repr(edge) for edge in EDGES_MS) + "]::float8[]"


def bucket_sql(level: Level, time: str) -> str:
    """The beginning of the bucket that holds `time`. The session must run in UTC."""
    if level is Level.MONTH:
        return f"date_trunc('month', {time})"
    return f"date_bin('{int(WIDTH[level].total_seconds())} seconds', {time}, timestamptz '2000-01-01 00:00:00+00')"


def cut_sql(name: str) -> str:
    """A dimension as it is kept in the rollup's `cut`: nothing where the cut leaves it out."""
    if name == "department":
        return f"case when cut < {BY_METHOD} then department else '' end"
    empty = {"policy": "0", "channel": "''"}.get(name)
    return f"case when cut = {FULL} then {name} else {empty} end" if empty else name


def facts_sql(where: str = "true") -> str:
    """Rows of routing_history as signed facts: +1 for a decision that is there."""
    return f"""
        select 1 as sign, created_at, {', '.join(DIMENSIONS)}, automation = 'auto' as auto, cardinality(degraded_by) > 0 as degraded,
            audit_department is not null as audited, coalesce(audit_department <> department, false) as false_hit,
            round(total_ms * 1000)::bigint as us, width_bucket(total_ms, {_EDGES}) as latency_bin,
            least(floor(confidence * 20), 19)::int as confidence_bin, actual_outcome as actual,
            (case when review_wanted then round(1000 / greatest(review_probability, 0.0001)) else 0 end)::bigint as weight
        from routing_history where {where}
    """


def cells_sql(facts: str) -> str:
    """Facts in the shape of rollup rows with `bucket` = the decision's own time; a count of nothing is null."""
    reviewed = "actual is not null"
    columns = [
        "sign as n", "case when auto then sign end as auto", "case when degraded then sign end as degraded",
        "case when audited then sign end as audited", "case when false_hit then sign end as false_hits", "sign * us as total_us",
        f"case when {reviewed} then sign * weight end as weight",
        "case when actual = department then sign * weight end as weight_correct",
        f"case when {reviewed} then sign * weight * weight / 1000 end as weight_squared",
        *(column for band in BANDS for column in _band_columns(*band, reviewed=reviewed)),
        *(f"case latency_bin when {i} then sign end as {name}" for i, name in enumerate(LATENCY)),
        *(f"case confidence_bin when {i} then sign end as {name}" for i, name in enumerate(CONFIDENCE)),
        *(f"case when confidence_bin = {i} and {reviewed} then sign end as {name}" for i, name in enumerate(REVIEWED)),
        *(f"case when confidence_bin = {i} and actual = department then sign end as {name}" for i, name in enumerate(CORRECT)),
    ]
    return f"select created_at as bucket, {', '.join(DIMENSIONS)}, {', '.join(columns)} from ({facts}) as facts"


def _band_columns(name: str, low: int, high: int, *, reviewed: str) -> list[str]:
    inside, name = f"confidence_bin >= {low} and confidence_bin < {high}", name.lower()
    return [
        f"case when {reviewed} and {inside} then sign * weight end as weight_{name}",
        f"case when actual = department and {inside} then sign * weight end as correct_{name}",
        f"case when {reviewed} and {inside} then sign * (weight * weight / 1000) end as squared_{name}",
    ]


def summed_sql() -> str:
    """`sum(name) as name` for each measure, null where nothing was counted: nulls take no room in a row."""
    return ", ".join(f"nullif(sum({name}), 0)::{'bigint' if name in BIG else 'int'} as {name}" for name in MEASURES)
