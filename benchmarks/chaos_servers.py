"""Postgres and Valkey as processes that are paused and killed, behind proxies, and stand-ins of the services far away."""
from __future__ import annotations

import random
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlparse

import psutil

from db.embedded import EmbeddedServers
from tests.servers.gemini import GeminiServer
from tests.servers.pinecone import PineconeServer
from tests.servers.proxy import FaultyProxy
from tests.servers.troubles import HTTP, PROXIES, STAND_INS, TCP, break_one, mend_all

# What is done to the servers themselves, at least once each in every run.
TO_SERVERS = tuple((name, done) for name in PROXIES for done in ("paused", "killed"))


class Servers:
    """Everything the console stands on. `pauses` and `kills` count what was done to the two real servers."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        self._data = folder / "servers"
        self.real = EmbeddedServers(self._data).start()
        socket = Path(parse_qs(urlparse(self.real.postgres_url).query)["host"][0]) / ".s.PGSQL.5432"
        self.postgres = FaultyProxy(socket)
        self.redis = FaultyProxy(Path(self.real.redis_url.removeprefix("unix://")))
        self.pinecone = PineconeServer()
        self.gemini = GeminiServer()
        self.environment = {
            "DATABASE_URL": f"postgresql+psycopg2://postgres@127.0.0.1:{self.postgres.port}/postgres?sslmode=disable&gssencmode=disable",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis.port}/0", "DATA_DIR": str(folder / "data"), "PINECONE_API_KEY": "key",
            "PINECONE_HOST": self.pinecone.url, "GOOGLE_API_KEY": "key", "GOOGLE_API_ENDPOINT": self.gemini.url,
        }
        self.pauses = self.kills = 0
        self._paused: list[psutil.Process] = []
        self._planned = list(TO_SERVERS)

    def trouble(self, chance: random.Random) -> str:
        """Break one service in one way; what was done, for the record."""
        if self._planned and chance.random() < 0.6:
            name, what = self._planned.pop(chance.randrange(len(self._planned)))
        else:
            name = chance.choice(PROXIES + STAND_INS)
            what = chance.choice((*TCP, "paused", "killed") if name in PROXIES else tuple(HTTP))
        if what == "paused":
            self._pause(name)
        elif what == "killed":
            self._kill(name)
        else:
            break_one(self, name, what)
        return f"{name} {what}"

    @property
    def planned(self) -> bool:
        """True while something that belongs to every run has not been done yet."""
        return bool(self._planned)

    def heal(self) -> None:
        """Everything works again: what was paused goes on, what was killed is started."""
        for process in self._paused:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        self._paused = []
        self.real.start()
        mend_all(self)

    def close(self) -> None:
        self.heal()
        for part in (self.postgres, self.redis, self.pinecone, self.gemini):
            part.close()
        self.real.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pause(self, name: str) -> None:
        self.pauses += 1
        self._paused = self._processes(name)
        for process in self._paused:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)

    def _kill(self, name: str) -> None:
        self.kills += 1
        processes = self._processes(name)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        limit = time.monotonic() + 30
        while any(_lives(process) for process in processes):
            if time.monotonic() > limit:
                raise RuntimeError(f"{name} cannot be killed")
            time.sleep(0.02)

    def _processes(self, name: str) -> list[psutil.Process]:
        """The server and its children: those that this run has started in its own folder, and no others."""
        file = self._data / ("postgres/postmaster.pid" if name == "postgres" else "valkey/valkey.pid")
        first = psutil.Process(int(file.read_text().split()[0]))
        if not any(str(self._data) in part for part in first.cmdline()):
            raise RuntimeError(f"the process {first.pid} is not the {name} of this run")
        return [first, *first.children(recursive=True)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
