"""Where a command is to write a file."""
from __future__ import annotations

import os
from pathlib import Path

from engine.errors import ImportRejected


def expect_writable(path: Path) -> None:
    """What takes minutes should not fail at its last step. Raises ImportRejected."""
    folder = path.parent if path.name else path
    if path.is_dir() or not path.name or not folder.is_dir():
        why = "is a folder" if folder.is_dir() else "its folder does not exist"
        raise ImportRejected(f"{path}: cannot be written: {why}. Name another file. Nothing was done")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ImportRejected(f"{path}: cannot be written: Permission denied. Name another file. Nothing was done")
