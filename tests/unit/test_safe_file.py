"""A file is whole on the disk under its name, or as it was; what crashed writers leave goes."""
from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from engine.safe_file import safely, write_safely

NEW = b"new" * 100_000


@pytest.mark.parametrize("new", [b"a few letters", NEW])
def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_anybody_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bytes
) -> None:
    path, done, fsync, replace = tmp_path / "file", [], os.fsync, os.replace

    def synced(fd: int) -> None:
        fsync(fd)
        done.append(("synced", os.fstat(fd).st_ino, os.fstat(fd).st_size if os.fstat(fd).st_ino != tmp_path.stat().st_ino else None))

    def renamed(old: Path, name: Path) -> None:
        replace(old, name)
        done.append(("renamed", name))

    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_safely(path, new)
    assert done == [("synced", path.stat().st_ino, len(new)), ("renamed", path), ("synced", tmp_path.stat().st_ino, None)]
    assert path.read_bytes() == new


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_ends_a_block_early_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), safely(path) as file:
        file.write(NEW)
        raise error
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("file", b"old")]


def test_what_a_crashed_writer_left_goes_and_what_a_living_one_writes_stays_as_do_other_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / "file.4711.new").write_bytes(b"half")
    for name in ("file.backup.new", "file.new", "other.4711.new"):
        (tmp_path / name).write_bytes(b"somebody's")
    with open(tmp_path / "file.4712.new", "wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        write_safely(path, NEW)
        assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "file.4712.new", "file.backup.new", "file.new", "other.4711.new"]
    write_safely(path, NEW)
    assert path.read_bytes() == NEW
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "file.backup.new", "file.new", "other.4711.new"]
