"""Accepted tickets that the database could not take: records on the local disk, fsynced before anybody is told.

A folder of segments. Every process appends to a segment of its own and holds a kernel lock on it, which `kill -9`
releases; a segment without a living writer may be read and removed by any process. A record is one line with a checksum.
Ticket ids make the way into the database exactly once, so a segment may be read again after a crash.
"""
from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from engine import spool_record
from engine.domain import Ticket
from engine.errors import ConfigurationError, NotAccepted, ServiceUnavailable
from engine.safe_file import sync_folder, write_safely
from engine.set_aside import SetAside

_SUFFIX = ".spool"
# In bytes: what a long ticket takes in letters that are written as escapes.
_ROOM = 262_144


class Spool:
    """The folder of waiting tickets. Safe to use from several threads and processes.

    `set_aside` holds what cannot be stored as it is.
    """

    def __init__(self, folder: Path) -> None:
        """The folder is made when there is a ticket to keep. Raises ConfigurationError when something else has its name."""
        if os.path.lexists(folder) and not folder.is_dir():
            raise ConfigurationError(f"DATA_DIR: {folder} is no folder, and tickets wait there while the database is away. Move it and start again")
        self.set_aside = SetAside(folder / "refused")
        self._folder = folder
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._path: Path | None = None
        self._end = 0
        self._counting: int | None = None

    def keep(self, ticket: Ticket) -> None:
        """Return when the ticket is safe on the disk. Raises NotAccepted when it could not be written whole."""
        record = spool_record.written(ticket)
        with self._lock:
            try:
                fd = self._open()
                _write_all(fd, record)
                os.fsync(fd)
            except OSError as error:
                self._undo()
                raise NotAccepted(
                    "database", f"and the ticket could not be kept in {self._folder} either ({error.strerror or error}). "
                    "It was NOT accepted; please send it again later."
                ) from error
            self._end += len(record)

    def waiting(self) -> int:
        """How many records lie in the folder, of all processes; those already stored by a broken-off drain included."""
        return sum(_count(path) for path in self._segments())

    def share(self) -> int:
        """Like `waiting` for one of the processes that share the folder, 0 for the others: a sum over all counts each once."""
        return self._once(self.waiting())

    def set_aside_share(self) -> int:
        """The same of what is set aside."""
        return self._once(len(self.set_aside))

    def _once(self, number: int) -> int:
        if number and self._counting is None:
            try:
                fd = os.open(self._folder / "count.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError:
                # On a disk that takes nothing more each process counts: twice is better than not at all.
                return number
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return 0
            self._counting = fd
        return number

    def state(self) -> str:
        """What lies there, for people. Raises ServiceUnavailable where the folder could take no ticket."""
        there = next(one for one in (self._folder, *self._folder.parents) if os.path.lexists(one))
        if not os.access(there, os.W_OK | os.X_OK):
            raise ServiceUnavailable("spool", f"tickets cannot be kept in {self._folder}: {there} is no folder that may be written to. DATA_DIR has to be one")
        try:
            with tempfile.TemporaryFile(dir=there) as tried:
                # Written, since not every system can be asked for room alone. The file has no name, so that nothing stays of it.
                tried.write(bytes(_ROOM))
        except OSError as error:
            raise ServiceUnavailable("spool", f"tickets cannot be kept in {self._folder}: {error.strerror or error}") from error
        return f"{self.waiting()} waiting, {len(self.set_aside)} set aside"

    def empty(self) -> bool:
        """True when no segment holds anything; cheap enough for every second."""
        return not any(_size(path) for path in self._segments())

    @contextmanager
    def draining(self) -> Iterator[list[Path]]:
        """The segments that may be read and removed now, oldest first; an empty list while another process drains.

        Segments that another living process writes are left to it. This process's own is closed first.
        """
        if not self._folder.is_dir():
            yield []
            return
        with open(self._folder / "drain.lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield []
                return
            with self._lock:
                self._close()
            held: list[int] = []
            try:
                yield [path for path in self._segments() if self._claimed(path, held)]
            finally:
                for fd in held:
                    os.close(fd)

    def read(self, segment: Path) -> tuple[list[Ticket], list[bytes]]:
        """The whole tickets of a segment in the order they came, and its torn or altered records."""
        tickets, broken = [], []
        for line in filter(None, segment.read_bytes().split(b"\n")):
            ticket = spool_record.read(line)
            if ticket is None:
                broken.append(line)
            else:
                tickets.append(ticket)
        return tickets, broken

    def remove(self, segment: Path, *, but: Sequence[Ticket] = ()) -> None:
        """Everything in it is stored `but` these, which stay in their order. Broken records are set aside first.

        Raises OSError; the segment is as it was then.
        """
        tickets, broken = self.read(segment)
        if broken:
            self.set_aside.broken(segment.stem, broken)
        if not but:
            segment.unlink(missing_ok=True)
        elif broken or list(but) != tickets:
            write_safely(segment, b"".join(spool_record.written(ticket) for ticket in but))

    def close(self) -> None:
        """Let go of this process's segment."""
        with self._lock:
            self._close()
            if self._counting is not None:
                os.close(self._counting)
                self._counting = None

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else []

    def _open(self) -> int:
        if self._fd is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd, path = self._made()
            try:
                # The file's name must be as safe as its content, and so must the folder's.
                sync_folder(self._folder)
                with suppress(PermissionError):
                    # Around a folder that somebody else has made ready, a volume's say, there may be one that this process may not read.
                    sync_folder(self._folder.parent)
            except OSError:
                os.close(fd)
                with suppress(OSError):
                    path.unlink()
                raise
            self._fd, self._path, self._end = fd, path, 0
        return self._fd

    def _made(self) -> tuple[int, Path]:
        """A new segment that is this process's own: open, locked and still in the folder."""
        while True:
            # A segment that a person brought here from elsewhere may have any name.
            number = max((int(first) for path in self._segments() if (first := path.name.split("-")[0]).isdecimal()), default=0) + 1
            path = self._folder / f"{number:010d}-{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if os.fstat(fd).st_nlink:
                    return fd, path
            except OSError:
                os.close(fd)
                raise
            # Another process locked it first, found it empty and removed it: what is written to it is lost.
            os.close(fd)

    def _undo(self) -> None:
        """Take back what was written of a record that was not accepted."""
        if self._fd is None:
            return
        try:
            os.ftruncate(self._fd, self._end)
            os.fsync(self._fd)
        except OSError:
            # The torn record fails its checksum; nothing more is written behind it.
            self._close()

    def _close(self) -> None:
        if self._fd is not None:
            if self._end == 0 and self._path is not None and _size(self._path) == 0:
                self._path.unlink(missing_ok=True)
            os.close(self._fd)
        self._fd, self._path, self._end = None, None, 0

    def _claimed(self, path: Path, held: list[int]) -> bool:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        if not os.fstat(fd).st_nlink:
            # Its owner removed it, empty, before it was locked here.
            os.close(fd)
            return False
        held.append(fd)
        return True


def _write_all(fd: int, record: bytes) -> None:
    while record:
        record = record[os.write(fd, record):]


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _count(path: Path) -> int:
    with suppress(OSError):
        return path.read_bytes().count(b"\n")
    return 0
