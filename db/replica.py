"""Charts from a read replica, and from the primary while the replica does not answer."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from db.charts import Charts, Overview, Summary
from engine.errors import ServiceUnavailable, StatementRefused
from engine.ports import Clock
from engine.timeline import ChartWindow, Level

T = TypeVar("T")
W = TypeVar("W", Overview, Summary)

REPLICA = "replica"
# Every console reports several times in it.
LATE = timedelta(minutes=1)


class ReplicaCharts:
    """The reads that people look at. A replica that does not answer, or has not got the tables, costs nobody a figure.

    Every read raises ServiceUnavailable when the primary does not answer either. What must be of this moment (alerts,
    gauges) reads from the primary's `Charts` itself.
    """

    def __init__(self, replica: Charts, *, primary: Charts, clock: Clock) -> None:
        self._replica = replica
        self._primary = primary
        self._clock = clock

    def behind(self) -> timedelta:
        """The age of the newest console's report that the replica holds; zero up to LATE, and where it holds none.

        Any kind of replication can be told by it, also one that is cut off. Raises ServiceUnavailable for the replica.
        """
        last = self._replica.last_report()
        age = timedelta(0) if last is None else self._clock() - last
        return age if age > LATE else timedelta(0)

    def overview(self, window: ChartWindow, before: ChartWindow, *, bar: Level) -> Overview:
        """As of `Charts`; `degraded_by` names the replica where the primary answered in its place, else `behind` says how far it lags."""
        return self._told(lambda charts: charts.overview(window, before, bar=bar))

    def summary(self, window: ChartWindow) -> Summary:
        """As of `Charts`, told like `overview`."""
        return self._told(lambda charts: charts.summary(window))

    def choices(self, window: ChartWindow) -> tuple[list[str], list[str], list[int]]:
        """As of `Charts`."""
        return self._read(lambda charts: charts.choices(window))[0]

    def _told(self, read: Callable[[Charts], W]) -> W:
        def told(charts: Charts) -> W:
            found = read(charts)
            return found if charts is self._primary else replace(found, behind=self.behind())

        found, instead = self._read(told)
        return replace(found, degraded_by=(REPLICA,)) if instead else found

    def _read(self, read: Callable[[Charts], T]) -> tuple[T, bool]:
        try:
            return read(self._replica), False
        except (ServiceUnavailable, StatementRefused):
            # A silent one is left alone by its breaker, one without the tables is told by its health check; the primary knows it all.
            pass
        return read(self._primary), True
