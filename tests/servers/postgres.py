"""A Postgres as a site runs it: of its own, over TCP on loopback, with passwords."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from sqlalchemy import create_engine, text

from db.programs import Programs
from tests.servers.ports import free_port


class SitePostgres:
    """Started in a folder that everybody may enter; `version` is one of the installed package's. The superuser is `boss`."""

    def __init__(self, folder: Path, *, version: int) -> None:
        self._folder = folder / "site"
        self._bin = next(one.path.parent for one in Programs({"PATH": ""}).named("initdb") if one.major == version)
        self._as = {}
        self._folder.mkdir()
        if os.geteuid() == 0:
            # Postgres refuses to run as root; the run's embedded one has made this user.
            shutil.chown(self._folder, "pgserver")
            self._as = {"user": "pgserver"}
        (self._folder / "word").write_text("boss-w0rd with: a 'blank@/\n")
        self.port = free_port()
        self._run("initdb", "--auth=scram-sha-256", "--encoding=utf8", "-U", "boss", f"--pwfile={self._folder / 'word'}")

    def url(self, database: str, *, user: str = "boss", password: str = "boss-w0rd%20with%3A%20a%20'blank%40%2F") -> str:
        return f"postgresql+psycopg2://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def say(self, *statements: str, database: str = "postgres") -> None:
        """Run these as the superuser."""
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def _run(self, program: str, *arguments: str) -> None:
        # Into a file: a pipe would stay open for as long as the server runs.
        with open(self._folder.with_name("site.log"), "a") as log:
            command = [str(self._bin / program), "-D", str(self._folder / "data"), *arguments]
            subprocess.run(command, check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder, **self._as)

    def __enter__(self) -> Self:
        self._run("pg_ctl", "start", "-w", "-o", f"-h 127.0.0.1 -p {self.port} -k ''", "-l", str(self._folder / "log"))
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "fast")
