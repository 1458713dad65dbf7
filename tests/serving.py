"""A real console process for tests: `streamlit run app.py` on a free loopback port, with users of every role."""
from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from engine import bootstrap, settings
from engine.access import TABLE, Role
from engine.settings import Settings
from tests import signin
from tests.servers.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120
# Where consoles log to; the run's conftest puts the folder here that is searched at the end. Without it, into each one's own.
LOGS: Path | None = None


class Served:
    """A console process and, beside it, an engine on the same database to make users and look at rows.

    `words` are the passwords by role; the user of each role has the role's name.
    """

    def __init__(self, database_url: str, redis_url: str, folder: Path, **more: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        more = {name: value.replace("{url}", self.url) if isinstance(value, str) else value for name, value in more.items()}
        self.folder = folder
        self.log = (LOGS or folder) / f"console-{self.port}.log"
        self.settings: Settings = settings.load(
            database_url=database_url, redis_url=redis_url, data_dir=folder / "data", cookie_secret=secrets.token_hex(24),
            admin_user="first", admin_password=secrets.token_hex(12), **{"password_memory_kib": 8, "password_time_cost": 1, **more},
        )
        self.engine = bootstrap.build(self.settings, log_stream=None)
        self.words = {role: f"{role.value[::-1]}-{secrets.token_hex(10)}" for role in Role}
        self.secrets = [self.settings.admin_password.get_secret_value(), self.settings.cookie_secret.get_secret_value()]
        self.secrets += self.words.values()
        self._process: subprocess.Popen[bytes] | None = None
        for role, password in self.words.items():
            self.engine.accounts.add(role.value, role=role, by="test", password=password, must_change=False)

    def launch(self) -> Served:
        """Start the process without waiting for it."""
        given = {
            name.upper(): value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            for name in self.settings.model_fields_set if (value := getattr(self.settings, name)) is not None
        }
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS")}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port), "--server.address", "127.0.0.1"]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env={**clean, **given}, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def start(self) -> Served:
        """Start the process and wait until it is ready."""
        return self.launch().until("/readyz", 200)

    def until(self, path: str, status: int) -> Served:
        """Wait until the path is answered with this status."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if requests.get(f"{self.url}{path}", timeout=5).status_code == status:
                    return self
            except (requests.ConnectionError, requests.Timeout):
                pass
            assert self._process.poll() is None and time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def until_policy(self, number: int) -> None:
        """Wait until the process decides under this policy, which another one has brought into force."""
        deadline = time.monotonic() + START_SECONDS
        while not any(
            (event := json.loads(line))["event_type"] == "state_refreshed" and event["versions"]["policy"] == str(number)
            for line in self.logged().splitlines() if line.startswith("{")
        ):
            assert self._process.poll() is None and time.monotonic() < deadline, self.logged()[-3000:]
            time.sleep(0.1)

    def most_memory(self) -> int:
        """The most memory that the process has held so far, in bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))

    def stop(self) -> None:
        """Stop the process as a service manager would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop everything."""
        self.stop()
        self.engine.close()

    def sign_in(self, role: Role | str) -> requests.Session:
        """An HTTP session signed in as the user of this role; its cookie must never be logged."""
        http = signin.signed_in(self.url, str(role), self.words[Role(role)])
        self.secrets.append(http.cookies["console_session"])
        return http

    def token(self, role: Role | str) -> str:
        """An API token that holds everything that the role holds."""
        made = self.engine.tokens.make(self.engine.accounts.named(str(role)), name="all", scopes=TABLE[Role(role)], by="test")
        self.secrets.append(made)
        return made

    def logged(self) -> str:
        """Everything that the process has written so far."""
        return self.log.read_text(errors="replace")

    def leaked(self, *texts: str) -> list[str]:
        """Those of the secrets, and of these texts, that stand in the log."""
        log = self.logged()
        return [text for text in (*self.secrets, *texts) if text in log]
