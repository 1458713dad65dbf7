"""Every table of one database, made once: what the bootstrap takes them from."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Engine

from db import counters, outbox, versions
from db.alerts import Alerts
from db.attempts import Attempts
from db.audit import AuditTable
from db.catalogue import Catalogue
from db.charts import Charts
from db.decisions import Decisions
from db.exemplars import Exemplars
from db.lease import ConnectionLease
from db.locks import Lock
from db.outbox import Outbox
from db.outcomes import Outcomes
from db.policies import Policies
from db.replica import ReplicaCharts
from db.retention import Retention
from db.reviewed import Reviewed
from db.rollups import Rollups
from db.services import Services
from db.sessions import SessionTable
from db.taxonomy import Taxonomy
from db.tokens import TokenTable
from db.trained import TrainedModels
from db.users import Users
from engine.ports import Clock, Embedder


class Storage:
    """The tables of a migrated database, and what its health check and its pool say.

    `charts` are for people and come from the replica where there is one; `figures` are of this moment, for alerts and gauges:
    a replica that lags would keep them open or quiet for too long. Making it asks the database nothing; what asks it
    raises ServiceUnavailable when it does not answer.
    """

    def __init__(self, database: Engine, *, replica: Engine | None, clock: Clock, seal: Callable[[str, dict[str, Any]], str]) -> None:
        self._database = database
        self._replica = replica
        self.taxonomy = Taxonomy(database)
        self.policies = Policies(database)
        self.models = TrainedModels(database)
        self.decisions = Decisions(database)
        self.outcomes = Outcomes(database)
        self.reviewed = Reviewed(database)
        self.retention = Retention(database)
        self.users = Users(database)
        self.attempts = Attempts(database)
        self.sessions = SessionTable(database)
        self.tokens = TokenTable(database)
        self.audit = AuditTable(database, seal=seal)
        self.alerts = Alerts(database)
        self.services = Services(database)
        self.rollups = Rollups(database, clock=clock)
        self.figures = Charts(database, clock=clock)
        self.charts = self.figures if replica is None else ReplicaCharts(Charts(replica, clock=clock), primary=self.figures, clock=clock)

    def exemplars(self, embedder: Embedder) -> Exemplars:
        """The exemplars with their vectors of this embedder."""
        return Exemplars(self._database, embedder=embedder.name, dimensions=embedder.dimensions)

    def catalogue(self, embedder: Embedder) -> Catalogue:
        """Taxonomy, exemplars and model, replaced together."""
        return Catalogue(self._database, embedder=embedder.name)

    def outbox(self, embedder: Embedder, place: str) -> Outbox:
        """The notes for the remote index at this place."""
        return Outbox(self._database, embedder=embedder.name, place=place)

    def close_outbox(self) -> None:
        """No remote index is used any more, by any process: forget its notes."""
        outbox.close_all(self._database)

    def left_in_outbox(self) -> int | None:
        """How many notes wait for whatever remote index, None where none is kept up."""
        return outbox.left(self._database)

    def counters(self) -> dict[str, int]:
        """All counters that instances watch, by name."""
        return counters.read(self._database)

    def leave_cache(self) -> None:
        """No earlier entry of the exact cache is used any more, by any instance."""
        counters.leave_cache(self._database)

    def lease(self) -> ConnectionLease:
        """A connection for the statements of one ticket."""
        return ConnectionLease(self._database)

    def evaluating(self) -> AbstractContextManager[bool]:
        """True inside the block for one instance at a time: whoever evaluates the alert rules."""
        return self.services.alone(Lock.EVALUATING)

    def pool(self) -> tuple[int, int]:
        """How many connections are in use, and how many are idle."""
        return self._database.pool.checkedout(), self._database.pool.checkedin()

    def identity(self) -> str:
        """What tells this database from others."""
        return versions.identity(self._database)

    def version(self) -> str:
        """What answers, and which schema it holds."""
        return versions.of_database(self._database)

    @property
    def replica_version(self) -> Callable[[], str] | None:
        """Asks the replica the same; None where none is configured."""
        replica = self._replica
        return None if replica is None else lambda: versions.of_replica(replica, behind=self.charts.behind)

    def vectors_version(self, exemplars: Exemplars) -> str:
        """pgvector's version, and how many vectors there are."""
        return versions.of_vectors(self._database, exemplars)
