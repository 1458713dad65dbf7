"""Files that are whole on the disk, or not there: also after a crash in the middle."""
from __future__ import annotations

import fcntl
import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def safely(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write, also under its `name` by somebody else; at the block's end, when it is whole on the disk, it takes the
    place of `path`.

    After any exception, and after a crash in between, `path` is as it was. What a crash leaves beside it goes when the file is
    written next. `mode` as of `os.open`. Raises OSError.
    """
    _clear(path)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            with suppress(OSError):
                # Tells the next writer, for as long as this one lives, that somebody is at it; not every file system can.
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _clear(path: Path) -> None:
    """Remove what writers of this file left that are no more. Nothing but a process's number stands in such a name."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.new"):
        if not re.fullmatch(r"\.[0-9]{1,7}\.new", left.name.removeprefix(path.name)):
            continue
        with suppress(OSError), open(left, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def write_safely(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """The file with this content, or as it was, as `safely` does it. Raises OSError."""
    with safely(path, mode=mode) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Names in the folder are as safe as the files' content. Raises OSError."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
