"""The dashboard's figures from rollups, with the facts that are not rolled up yet, all in one snapshot.

A window is cut into whole buckets, coarse ones inside and finer ones at its edges; what is left of a minute at either
end is counted from the raw rows. Every figure equals the count of the raw rows at the moment of the snapshot.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Row, text

from db import rollup_columns as columns
from db.rollup_columns import DIMENSIONS, KEPT
from db.session import translated
from db.watchdog import patient
from engine.figures import BANDS, Tally
from engine.histograms import CONFIDENCE_BINS, LATENCY_BINS
from engine.timeline import ChartWindow, Level, floor, following

# Seconds: somebody looks at the page and waits.
PATIENCE = 5.0
_KEYS = ", ".join(DIMENSIONS)
_ALL = columns.MEASURES
_WHERE = """(cast(:demo as boolean) or not demo)
    and (cast(:departments as text[]) is null or department = any(cast(:departments as text[])))
    and (cast(:channels as text[]) is null or channel = any(cast(:channels as text[])))
    and (cast(:policies as int[]) is null or policy = any(cast(:policies as int[])))"""
# Bucket borders of rollups are only used where the bucket is sure to be kept still.
_SLACK = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a window: whole buckets of `level`, or raw rows where `level` is None."""

    level: Level | None
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that one look at the dashboard needs.

    bars         per bar of time and method, in the order of time
    departments  per department and method
    flows        rows of department, actual, n: labels that corrected the router
    now, before  the whole window and the one before it
    degraded_by  services that should have been read from and did not answer
    behind       how far the database that was read lags behind the one that tickets are written to, zero for "hardly"
    """

    bars: Sequence[tuple[datetime, str, Tally]]
    departments: Sequence[tuple[str, str, Tally]]
    flows: Sequence[Row]
    now: Tally
    before: Tally
    degraded_by: tuple[str, ...] = ()
    behind: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One tally of a whole window, and where it was read, as in `Overview`."""

    now: Tally
    degraded_by: tuple[str, ...] = ()
    behind: timedelta = timedelta(0)


class Charts:
    """Reads for charts and alerts; may run on a replica. `clock` gives aware UTC times."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._clock = clock

    def overview(self, window: ChartWindow, before: ChartWindow, *, bar: Level) -> Overview:
        """Both windows in one snapshot, with bars of `bar`. Raises ServiceUnavailable."""
        with self._snapshot() as connection:
            rows = self._grouped(connection, window, f"{columns.bucket_sql(bar, 'bucket')} as bar, method", coarsest=bar)
            parted = self._grouped(connection, window, "department, method")
            earlier = self._grouped(connection, before, "method")
            flows = self._flows(connection, window)
        bars = sorted(((r.bar, r.method, tally) for r, tally in zip(rows, _tallies(rows), strict=True)), key=lambda one: one[:2])
        by_department = ((r.department, r.method, tally) for r, tally in zip(parted, _tallies(parted), strict=True))
        return Overview(
            bars=bars, departments=sorted(by_department, key=lambda one: one[:2]), flows=flows,
            now=Tally.total([tally for _, _, tally in bars]), before=Tally.total(_tallies(earlier)),
        )

    def summary(self, window: ChartWindow) -> Summary:
        """Everything in the window. Raises ServiceUnavailable."""
        return Summary(now=self.totals(window))

    def totals(self, window: ChartWindow) -> Tally:
        """Everything in the window as one tally. Raises ServiceUnavailable."""
        with self._snapshot() as connection:
            return Tally.total(_tallies(self._grouped(connection, window, "method")))

    def departments(self, window: ChartWindow) -> dict[str, Tally]:
        """One tally per department. Raises ServiceUnavailable."""
        found: dict[str, Tally] = {}
        with self._snapshot() as connection:
            rows = self._grouped(connection, window, "department, method")
            for row, tally in zip(rows, _tallies(rows), strict=True):
                found[row.department] = found.get(row.department, Tally()) + tally
        return found

    def choices(self, window: ChartWindow) -> tuple[list[str], list[str], list[int]]:
        """Departments, channels and policies that occur in the window, whatever its filters say."""
        bare = ChartWindow(window.start, window.end, window.demo)
        with self._snapshot() as connection:
            cells, parameters = self._cells(bare, ("n",), cut=columns.FULL)
            row = connection.execute(text(f"""
                select array_agg(distinct department), array_agg(distinct channel), array_agg(distinct policy) from ({cells}) as cells
            """), parameters).one()
        return tuple(sorted(values or []) for values in row)

    def labels(self, since: datetime, *, demo: bool) -> Sequence[Row]:
        """Labels given since then on tickets that chance put in the queue: confidence, correct, weight = 1 / that chance."""
        with self._snapshot() as connection:
            return connection.execute(text("""
                select confidence::float8 as confidence, actual_outcome = department as correct, 1 / review_probability as weight
                from routing_history where actual_outcome is not null and reviewed_at >= :since and review_wanted and (:demo or not demo)
                    and review_probability > 0
                order by reviewed_at desc limit 50000
            """), {"since": since, "demo": demo}).all()

    def last_report(self) -> datetime | None:
        """When the newest report of any console was made that this database holds; None where it holds none."""
        with self._snapshot() as connection:
            return connection.execute(text("select max(seen_at) from instances")).scalar_one()

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        with patient(PATIENCE), translated(self._engine), self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            with connection.begin():
                connection.execute(text("set transaction read only"))
                connection.execute(text("set local jit = off"))
                yield connection

    def _grouped(self, connection: Connection, window: ChartWindow, keys: str, *, coarsest: Level = Level.MONTH) -> Sequence[Row]:
        """Sums of all measures by `keys`, from the smallest cut that knows what is filtered and grouped."""
        cut = columns.BY_METHOD
        if window.departments or "department" in keys:
            cut = columns.BY_DEPARTMENT
        if window.channels or window.policies:
            cut = columns.FULL
        cells, parameters = self._cells(window, _ALL, cut=cut, coarsest=coarsest)
        sums = ", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in _ALL)
        by = ", ".join(str(number + 1) for number in range(2 if ", method" in keys else 1))
        return connection.execute(text(f"select {keys}, {sums} from ({cells}) as cells group by {by}"), parameters).all()

    def _cells(
        self, window: ChartWindow, names: Sequence[str], *, cut: int, coarsest: Level = Level.MONTH
    ) -> tuple[str, dict[str, Any]]:
        """SQL for all cells of a window, and its parameters."""
        parameters: dict[str, Any] = {
            "start": window.start, "end": window.end, "demo": window.demo, "departments": list(window.departments) or None,
            "channels": list(window.channels) or None, "policies": list(window.policies) or None,
        }
        wanted = f"bucket, {_KEYS}, {', '.join(names)}"
        open_facts = f"select * from rollup_pending where created_at >= :start and created_at < :end and {_WHERE}"
        parts = []
        rolled = False
        for number, piece in enumerate(pieces(window.start, window.end, now=self._clock(), coarsest=coarsest)):
            parameters |= {f"from_{number}": piece.start, f"to_{number}": piece.end}
            if piece.level is None:
                raw = columns.facts_sql(f"created_at >= :from_{number} and created_at < :to_{number} and {_WHERE}")
                parts.append(f"select {wanted} from ({columns.cells_sql(raw)}) as raw_{number}")
                # These raw rows are counted as they are: their waiting facts must not be counted as well.
                open_facts += f" and not (created_at >= :from_{number} and created_at < :to_{number})"
            else:
                rolled = True
                parts.append(
                    f"select {wanted} from rollups where cut = {cut} and level = {piece.level.value} and bucket >= :from_{number} "
                    f"and bucket < :to_{number} and {_WHERE}"
                )
        if rolled:
            parts.append(f"select {wanted} from ({columns.cells_sql(open_facts)}) as waiting")
        return " union all ".join(parts), parameters

    def _flows(self, connection: Connection, window: ChartWindow) -> Sequence[Row]:
        _, parameters = self._cells(window, ("n",), cut=columns.FULL)
        parts, open_facts = [], "created_at >= :start and created_at < :end"
        for number, piece in enumerate(pieces(window.start, window.end, now=self._clock())):
            inside = f">= :from_{number} and {{0}} < :to_{number} and {_WHERE}"
            if piece.level is None:
                parts.append(
                    "select department, actual_outcome, 1 from routing_history where actual_outcome <> department and created_at "
                    + inside.format("created_at")
                )
                open_facts += f" and not (created_at >= :from_{number} and created_at < :to_{number})"
            else:
                parts.append(
                    f"select department, actual, n from rollup_flows where level = {piece.level.value} and bucket " + inside.format("bucket")
                )
        parts.append(f"select department, actual, sign from rollup_pending where actual <> department and {open_facts} and {_WHERE}")
        return connection.execute(text(f"""
            select department, actual, sum(n)::int as n from ({' union all '.join(parts)}) as flows (department, actual, n)
            group by 1, 2 having sum(n) > 0 order by n desc, 1, 2
        """), parameters).all()


def pieces(start: datetime, end: datetime, *, now: datetime, coarsest: Level = Level.MONTH) -> list[Piece]:
    """Cut [start, end) into whole buckets, as coarse as they fit and as are kept at `now`; leftovers are raw."""
    if start >= end:
        return []
    level = coarsest
    while True:
        first = floor(level, start)
        first = first if first == start else following(level, first)
        last = floor(level, end)
        kept = level not in KEPT or first >= now - KEPT[level] + _SLACK
        if first < last and kept:
            break
        if level is Level.MINUTE:
            return [Piece(level=None, start=start, end=end)]
        level = Level(level - 1)
    finer = Level(max(Level.MINUTE, level - 1))
    middle = [Piece(level=level, start=first, end=last)]
    if level is Level.MINUTE:
        edges = lambda a, b: [Piece(level=None, start=a, end=b)] if a < b else []  # noqa: E731
    else:
        edges = lambda a, b: pieces(a, b, now=now, coarsest=finer)  # noqa: E731
    return edges(start, first) + middle + edges(last, end)


def _tallies(rows: Sequence[Row]) -> list[Tally]:
    """One tally for each row, whose last columns are all measures. All rows become one matrix: a busy hour has hundreds."""
    if not rows:
        return []
    matrix = np.array([row[-len(_ALL):] for row in rows], dtype=np.int64)
    ends = np.cumsum([
        len(columns.COUNTS) + len(columns.WEIGHTS), len(columns.BAND_WEIGHTS), LATENCY_BINS, CONFIDENCE_BINS, CONFIDENCE_BINS,
    ])
    counts, bands, latency, confidence, reviewed, correct = np.split(matrix, ends, axis=1)
    bands = bands.reshape(len(rows), len(BANDS), 3)
    first = len(columns.COUNTS)
    names = (*columns.COUNTS, *columns.WEIGHTS)
    return [
        Tally(
            **dict(zip(names, values, strict=True)), hits=values[0] if row.method == "cached" else 0,
            hit_weights=np.array(values[first:]) if row.method == "cached" else np.zeros(3, np.int64), band_weights=bands[i],
            latency=latency[i], confidence=confidence[i], reviewed=reviewed[i], correct=correct[i],
        )
        for i, (row, values) in enumerate(zip(rows, counts.tolist(), strict=True))
    ]
