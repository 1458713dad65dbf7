"""A dump that pg_dump has written in its custom format: what it holds, before anything is done with it."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from db import migrate
from db.audit import GENESIS
from db.programs import Program, ProgramFailed, Programs
from engine.errors import ConfigurationError, InputRejected

_MAGIC = b"PGDMP"
_SERVER = re.compile(r"^;\s+Dumped from database version: (\d+)", re.MULTILINE)
_UNKNOWN_FORMAT = "unsupported version"
_UNCHANGED = "Nothing was changed"
# Every schema of the product has them.
_TABLES = ("alembic_version", "routing_history")


class Dump:
    """The dump in `path`, its beginning looked at: `schema` is the revision it holds, `server` the major version it comes from.

    Raises InputRejected for what is no dump of the console's database, ConfigurationError for one that is newer than this
    version or than every pg_restore here.
    """

    def __init__(self, path: Path, programs: Programs) -> None:
        self.path = path
        self._programs = programs
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                magic = file.read(len(_MAGIC)) if path.is_file() else b""
        except OSError as error:
            raise InputRejected(f"{path}: cannot be read: {error.strerror}. {_UNCHANGED}") from error
        if magic != _MAGIC:
            raise InputRejected(f"{path}: is no dump that `backup` or `pg_dump --format=custom` has written. {_UNCHANGED}")
        here = programs.named("pg_restore")
        if not here:
            raise ConfigurationError(f"PATH: there is no pg_restore here. {_UNCHANGED}")
        self._newest = here[-1]
        listed = self._read("--list").decode("utf-8", "replace")
        match = _SERVER.search(listed)
        if match is None or not all(re.search(rf" TABLE DATA \S+ {table} ", listed) for table in _TABLES):
            raise InputRejected(f"{path}: is a dump, but not of a console's database. {_UNCHANGED}")
        self.server = int(match[1])
        self.schema = next((row["version_num"] for row in self._rows("alembic_version")), "")
        migrate.expect_known(self.schema, holder=str(path))

    def expect_head(self, head: str) -> None:
        """Raise InputRejected unless a row of its audit log has this hash, or it is that of a log without rows."""
        if head != GENESIS and not any(row["hash"] == head for row in self._rows("audit_log")):
            raise InputRejected(
                f"{self.path}: its audit log has no row with the hash {head}, so this dump is older or not of this console. {_UNCHANGED}"
            )

    def expect_whole(self) -> None:
        """Read all of it. Raises InputRejected for one that is cut off or damaged."""
        self._read("--file", os.devnull)

    def readable_by(self, program: Program) -> bool:
        """Whether this pg_restore knows the dump's format."""
        try:
            self._programs.run(program, ["--list", *self._argument()])
        except ProgramFailed as error:
            if _UNKNOWN_FORMAT in str(error):
                return False
            raise self._damaged(error) from error
        return True

    def _rows(self, table: str) -> Iterator[dict[str, str]]:
        """The rows of a table by its columns' names, in the text form of COPY."""
        names: list[str] = []
        for line in self._read("--data-only", "--table", table, "--file", "-").decode("utf-8", "replace").split("\n"):
            if names and line != "\\.":
                yield dict(zip(names, line.split("\t"), strict=True))
            elif line.startswith("COPY "):
                names = line[line.index("(") + 1 : line.index(")")].split(", ")
            else:
                names = []

    def _read(self, *arguments: str) -> bytes:
        try:
            return self._programs.run(self._newest, [*arguments, *self._argument()])
        except ProgramFailed as error:
            if _UNKNOWN_FORMAT in str(error):
                raise ConfigurationError(
                    f"{self.path}: was written by a newer pg_dump than Postgres' programs here, which are of version {self._newest.major}. "
                    f"Put those of its version on PATH. {_UNCHANGED}"
                ) from error
            raise self._damaged(error) from error

    def _damaged(self, error: ProgramFailed) -> InputRejected:
        return InputRejected(f"{self.path}: is cut off or damaged: {error}. {_UNCHANGED}")

    def _argument(self) -> tuple[str, str]:
        # A name that begins with a dash is no option.
        return "--", str(self.path)
