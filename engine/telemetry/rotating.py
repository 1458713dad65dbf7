"""A file of lines that several processes append to and that is turned over when it is full."""
from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from engine.errors import ConfigurationError

_LOOK_EVERY = 1.0


class RotatingLines:
    """Appends whole lines; `path` becomes `path.1`, `path.2` ... when it holds `max_bytes`.

    A line is one write to a file opened for appending, so lines of several processes never mix. Which process turns the
    file over is settled by a lock; the others notice within a second that their file has another name and open the new one.
    Where it cannot be turned over, the lines go on into the file that is open, and it is tried again a second later. A disk that is
    full costs lines, never an exception: `lost` counts them. What it cut off ends before the next line of the same process.
    Raises ConfigurationError when the file cannot be opened at the start.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._lock = threading.Lock()
        self._looked = 0.0
        self._torn = self._stuck = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._open()
        except OSError as error:
            raise ConfigurationError(
                f"ROUTING_LOG_PATH: {path} cannot be written ({error.strerror}). Name a file in a folder that the console may write to"
            ) from error
        self.lost = 0

    def write(self, line: str) -> bool:
        """Append one line; the line break is added here. False when it was lost."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            try:
                if self._fd < 0:
                    raise OSError(errno.EBADF, "the log is closed")
                full = self._size + len(data) > self._max_bytes and not self._stuck
                if full or time.monotonic() - self._looked > _LOOK_EVERY:
                    self._looked, self._stuck = time.monotonic(), True
                    with suppress(OSError):
                        self._turn_over(len(data))
                        self._stuck = False
                self._append(data)
            except OSError:
                self.lost += 1
                return False
        return True

    def close(self) -> None:
        """Close the file; what is written later is lost."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _append(self, data: bytes) -> None:
        """All of it. What a full disk has cut off ends there, so that the next line begins one of its own."""
        rest = b"\n" + data if self._torn else data
        while rest:
            written = os.write(self._fd, rest)
            self._size += written
            rest = rest[written:]
            self._torn = bool(rest)

    def _open(self) -> int:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(fd).st_size
        self._looked = time.monotonic()
        return fd

    def _turn_over(self, more: int) -> None:
        with open(f"{self._path}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._same_file():
                # Somebody else turned it over.
                self._open_anew()
            self._size = os.fstat(self._fd).st_size
            if self._size == 0 or self._size + more <= self._max_bytes:
                return
            for number in range(self._backups, 0, -1):
                older = self._path if number == 1 else Path(f"{self._path}.{number - 1}")
                if older.exists():
                    os.replace(older, f"{self._path}.{number}")
            self._open_anew()

    def _open_anew(self) -> None:
        # Where the new one cannot be opened, the old one stays: the number of a closed file is soon that of somebody else's.
        old, self._fd = self._fd, self._open()
        self._torn = False
        os.close(old)

    def _same_file(self) -> bool:
        try:
            there, mine = os.stat(self._path), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
