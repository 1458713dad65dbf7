"""What the watch over the router reads and writes in the database, as small Protocols; `db.storage.Storage` has them all."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol

from engine.alerts import AlertStore
from engine.kept import Kept
from engine.notice import Told
from engine.notify import NoticeStore
from engine.readings import Figures, Services
from engine.telemetry.services import ServiceStore


class LabelledFigures(Figures, Protocol):
    """Counts of decisions as of this moment, and the labels since a time."""

    def labels(self, since: datetime, *, demo: bool) -> Sequence[Any]: ...


class PromiseTable(Protocol):
    """Labels of what went alone, held against the target in force."""

    def kept(self, *, demo: bool, since: datetime) -> Sequence[Kept]: ...


class RollupStore(Protocol):
    """The statistics that charts are read from."""

    def roll(self) -> int | None: ...

    def pending(self) -> int: ...

    def prune(self) -> int: ...


class AlertTable(AlertStore, NoticeStore, Protocol):
    """Alerts, who was told of them, and the outages that were told of while the database was away."""

    def open_by_severity(self) -> dict[str, int]: ...

    def silences(self, now: datetime) -> Sequence[Any]: ...

    def cover(self, told: Told, *, until: datetime) -> None: ...

    def covered(self, rule: str, since: datetime) -> Sequence[tuple[datetime, datetime]]: ...


class ServiceTable(Services, ServiceStore, Protocol):
    """What each instance reports of itself and of the services it calls."""

    def beat(
        self, name: str, *, memory_share: float, spooled: int, now: datetime, set_aside: int = 0,
        services: Mapping[str, Mapping[str, Any]] | None = None, worker: bool = False, needs_worker: bool = False,
    ) -> None: ...

    def sessions(self, *, now: datetime, idle: timedelta) -> int: ...

    def leave(self, name: str) -> None: ...

    def prune(self, *, now: datetime) -> None: ...


class WatchedTables(Protocol):
    """The tables together. `charts` are for people and may come from a replica, `figures` are of this moment."""

    alerts: AlertTable
    services: ServiceTable
    rollups: RollupStore
    figures: LabelledFigures
    reviewed: PromiseTable
    charts: Any
    replica_version: Callable[[], str] | None

    def evaluating(self) -> AbstractContextManager[bool]:
        """True inside the block for one instance at a time."""
        ...

    def pool(self) -> tuple[int, int]:
        """How many connections are in use, and how many are idle."""
        ...
