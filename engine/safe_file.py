"""Files that are whole on the disk, or not there: also after a crash in the middle."""
from __future__ import annotations

import os
from pathlib import Path


def write_safely(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """The file with this content, or as it was: also after a crash in between; `mode` as of `os.open`. Raises OSError."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Names in the folder are as safe as the files' content. Raises OSError."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
