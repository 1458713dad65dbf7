"""One folder in which several processes of a machine count together: Prometheus' client writes files there, one set a process."""
from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

from engine import settings
from engine.errors import ConfigurationError

_FILE = re.compile(r"gauge_live\w*_(\d+)\.db")


def join(folder: Path) -> None:
    """Write this process' metrics into the folder from now on; it is made where it is missing.

    Gauges of processes that were killed are taken out: nobody else would do it, and their last values would stand for ever.
    Raises ConfigurationError when the folder cannot be made or no file can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The client makes its files as soon as there is a metric, and its error would be one for each line that led there.
        with tempfile.TemporaryFile(dir=folder) as tried:
            tried.write(b"x")
        names = os.listdir(folder)
    except OSError as error:
        raise ConfigurationError(
            f"PROMETHEUS_MULTIPROC_DIR: {folder} is no folder that files can be written in ({error.strerror}). Name one, or leave it out"
        ) from error
    for name in names:
        match = _FILE.fullmatch(name)
        if match is not None and not _lives(int(match[1])):
            mark_process_dead(int(match[1]), path=str(folder))
    # The client reads the variable from the environment, and whether there is one when it is imported: for a value out of
    # `.env` both come too early.
    settings.announce(PROMETHEUS_MULTIPROC_DIR=str(folder))
    if not values.ValueClass._multiprocess:
        values.ValueClass = values.MultiProcessValue()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
