"""The database that the settings name, backed up and restored: the embedded one, or one's own."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from db import backup, restore
from db.audit import AuditTable
from db.backup import Contents, Moment
from db.dump import Dump
from db.embedded import EmbeddedServers
from db.programs import Programs
from db.session import connect, reading
from engine.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore has made. `aside` is where the earlier database is from the end of the restore on, None where there was none."""

    contents: Contents
    audit: AuditTable
    aside: Path | None


class Archive:
    """Works without an engine: nothing is migrated, learned or drained before a backup. `url` is None for the embedded database
    in `data_dir`; `environment` is what Postgres' programs run in; `seal` as of AuditTable.
    """

    def __init__(
        self, url: str | None, data_dir: Path, *, environment: Mapping[str, str], seal: Callable[[str, dict[str, Any]], str]
    ) -> None:
        self._url = url
        self._embedded = EmbeddedServers(data_dir, valkey=False, environment=environment)
        self._data_dir = data_dir
        self._environment = environment
        self._programs = Programs(environment)
        self._seal = seal

    @contextmanager
    def moment(self) -> Iterator[Moment]:
        """The database at one moment, as `backup.moment`. Raises NotFound also where there is no embedded database."""
        with ExitStack() as stack:
            url = self._url
            if url is None:
                folder = self._embedded.postgres_folder
                if not (folder / "PG_VERSION").exists():
                    raise NotFound(f"DATA_DIR: there is no database in {folder}. Nothing was done")
                stack.callback(self._embedded.close)
                url = self._embedded.start().postgres_url
            database = connect(url, name="console-backup")
            stack.callback(database.dispose)
            yield stack.enter_context(backup.moment(database, seal=self._seal))

    def dump(self, moment: Moment, file: Path) -> None:
        """Write the moment into the file, as `Moment.dump`."""
        moment.dump(file, self._programs)

    def read(self, path: Path) -> Dump:
        """The dump in this file. Raises InputRejected and ConfigurationError."""
        return Dump(path, self._programs)

    @contextmanager
    def restored(self, dump: Dump, *, aside: datetime | None) -> Iterator[Restored]:
        """The dump as the database, as `restore.into_own` and `restore.into_embedded`; `aside` is for an embedded one alone."""
        place = self._embedded.postgres_folder
        before = restore.aside_folder(place, aside) if self._url is None and aside is not None and place.exists() else None
        made = (
            restore.into_own(self._url, dump, self._programs) if self._url is not None
            else restore.into_embedded(self._data_dir, dump, self._programs, aside=aside, environment=self._environment)
        )
        with made as database:
            with reading(database) as connection:
                found = backup.contents(connection)
            yield Restored(contents=found, audit=AuditTable(database, seal=self._seal), aside=before)
