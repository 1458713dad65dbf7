"""How the console cuts time: buckets of five lengths, and the spans that a manager can look at."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum


class Level(IntEnum):
    """How long a bucket is. Buckets begin at whole multiples in UTC, months on the first."""

    MINUTE = 1
    HALF_HOUR = 2
    FOUR_HOURS = 3
    DAY = 4
    MONTH = 5


WIDTH = {
    Level.MINUTE: timedelta(minutes=1), Level.HALF_HOUR: timedelta(minutes=30), Level.FOUR_HOURS: timedelta(hours=4),
    Level.DAY: timedelta(days=1),
}
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)


def floor(level: Level, at: datetime) -> datetime:
    """The beginning of the bucket that holds `at` (aware)."""
    at = at.astimezone(UTC)
    if level is Level.MONTH:
        return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return _ORIGIN + (at - _ORIGIN) // WIDTH[level] * WIDTH[level]


def following(level: Level, bucket: datetime) -> datetime:
    """The beginning of the bucket after the one that begins at `bucket`."""
    return floor(level, bucket + (timedelta(days=32) if level is Level.MONTH else WIDTH[level]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A length of time that ends now: `bars` buckets of `level`, the open one included.

    `edge` is the finest level that is surely kept as far back as the window before reaches.
    """

    key: str
    label: str
    level: Level
    bars: int
    edge: Level

    def window(self, now: datetime) -> tuple[datetime, datetime]:
        """Start of the first bar (inclusive) and end of the open one (exclusive)."""
        end = following(self.level, floor(self.level, now))
        return self._back(end), end

    def before(self, now: datetime) -> tuple[datetime, datetime]:
        """The same stretch one span earlier, as far into its last bar as `now` is into the open one."""
        start, _ = self.window(now)
        gone = now - start
        earlier = self._back(start)
        return earlier, min(start, max(earlier, floor(self.edge, earlier + gone)))

    def _back(self, end: datetime) -> datetime:
        if self.level is not Level.MONTH:
            return end - self.bars * WIDTH[self.level]
        months = end.year * 12 + end.month - 1 - self.bars
        return end.replace(year=months // 12, month=months % 12 + 1)


SPANS = {
    span.key: span
    for span in (
        Span(key="1h", label="Last hour", level=Level.MINUTE, bars=60, edge=Level.MINUTE),
        Span(key="24h", label="Last 24 hours", level=Level.HALF_HOUR, bars=48, edge=Level.MINUTE),
        Span(key="7d", label="Last 7 days", level=Level.FOUR_HOURS, bars=42, edge=Level.HALF_HOUR),
        Span(key="30d", label="Last 30 days", level=Level.DAY, bars=30, edge=Level.FOUR_HOURS),
        Span(key="12m", label="Last 12 months", level=Level.MONTH, bars=12, edge=Level.DAY),
    )
}
DEFAULT_SPAN = "24h"


@dataclass(frozen=True, slots=True)
class ChartWindow:
    """Decisions created from `start` (inclusive) to `end` (exclusive), both aware; demo tickets only with `demo`.

    An empty tuple of departments, channels or policies leaves that one open.
    """

    start: datetime
    end: datetime
    demo: bool = True
    departments: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    policies: tuple[int, ...] = ()
