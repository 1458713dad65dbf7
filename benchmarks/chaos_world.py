"""The application of the chaos run: a process that is killed, and what it has accepted."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Application:
    """The child process: started, killed and started again; what was not answered is sent again."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = os.environ | environment | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._open: dict[str, str] = {}
        self._errors = tempfile.TemporaryFile("w+")
        # The words of every ticket that was sent, by its id; no two tickets have the same.
        self.bodies: dict[str, str] = {}
        self.accepted: set[str] = set()
        self.labelled: set[str] = set()
        self.again: deque[str] = deque()
        self.refused = self.kills = 0
        self._start()

    def send(self, key: str, line: str) -> None:
        """Send a command; `key` is its kind and id."""
        with self._lock:
            self._open[key] = line
        try:
            # Two threads send; a line must never be torn by another one.
            with self._writing:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            # Killed in this moment: it is sent again by the next start.
            return

    def unanswered(self) -> int:
        """Commands under way."""
        with self._lock:
            return len(self._open)

    def kill(self) -> None:
        """kill -9, a new process, and everything again that was not answered."""
        self.kills += 1
        old, reader = self._process, self._reader
        old.send_signal(signal.SIGKILL)
        old.wait()
        reader.join(10)
        self._start()
        with suppress(OSError):
            old.stdin.close()
        old.stdout.close()
        with self._lock:
            lines = list(self._open.items())
        for key, line in lines:
            self.send(key, line)

    def crashes(self) -> int:
        """How many unhandled exceptions the processes have written to standard error."""
        self._errors.seek(0)
        return self._errors.read().count("Traceback (most recent call last)")

    def errors(self) -> str:
        """Everything on standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        """End in good order."""
        try:
            self._process.stdin.write("quit\n")
            self._process.stdin.close()
            self._process.wait(60)
        except (BrokenPipeError, ValueError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        self._process.stdout.close()

    def _start(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.chaos_child"], cwd=ROOT, env=self._environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            )
            if self._process.stdout.readline().startswith("ready"):
                break
            # Started while the database was away, which is refused in one line; a service manager starts it again.
            self._process.wait()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the application does not start: {self.errors()[-2000:]}")
            self._process.stdin.close()
            self._process.stdout.close()
            time.sleep(0.5)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout:
            if not line.endswith("\n"):
                # Killed while it wrote: the command counts as unanswered and is sent again.
                return
            kind, _, id_ = line.strip().partition(" ")
            key = f"{'label' if kind in {'labelled', 'failed'} else 'ticket'} {id_}"
            with self._lock:
                sent = self._open.pop(key, None)
            if kind == "accepted":
                self.accepted.add(id_)
            elif kind == "labelled":
                self.labelled.add(id_)
            elif sent is not None:
                self.refused += 1
                self.again.append(key)
