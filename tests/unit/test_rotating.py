"""A file of lines is turned over when it is full: by one process at a time, into as many older ones as are kept, and no line is torn."""
from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from engine.telemetry import rotating
from engine.telemetry.rotating import RotatingLines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.log"


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line looks at what others have done to the file, not one a second."""
    monkeypatch.setattr(rotating, "_LOOK_EVERY", -1.0)


def held(path: Path) -> dict[str, list[str]]:
    """The lines of each file, by name."""
    return {file.name: file.read_text().splitlines() for file in path.parent.iterdir() if not file.name.endswith(".lock")}


def test_no_file_grows_over_its_size_and_the_oldest_goes(path: Path) -> None:
    lines = RotatingLines(path, max_bytes=20, backups=2)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        assert lines.write(f"line {number:03}")
    assert held(path) == {"x.log": ["line 018", "line 019"], "x.log.1": ["line 016", "line 017"], "x.log.2": ["line 014", "line 015"]}
    assert len(os.listdir("/proc/self/fd")) == before, "each file but the newest is closed"
    lines.close()


@pytest.mark.usefixtures("looking")
def test_what_another_process_has_written_counts_for_the_size(path: Path) -> None:
    both = [RotatingLines(path, max_bytes=20, backups=9) for _ in range(2)]
    for number in range(12):
        assert both[number % 2].write(f"line {number:03}")
    assert all(len(lines) == 2 for lines in held(path).values()) and len(held(path)) == 6
    for lines in both:
        lines.close()


def test_a_line_that_is_longer_than_a_file_has_one_of_its_own_and_drives_out_no_other_one(path: Path) -> None:
    lines = RotatingLines(path, max_bytes=20, backups=3)
    for line in ("x" * 50, "short", "y" * 50):
        assert lines.write(line)
    assert held(path) == {"x.log": ["y" * 50], "x.log.1": ["short"], "x.log.2": ["x" * 50]}
    lines.close()


def test_a_process_that_turns_the_file_over_waits_for_another_that_does(path: Path) -> None:
    lines = RotatingLines(path, max_bytes=20, backups=3)
    lines.write("a line of text")
    with open(f"{path}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=lines.write, args=("another line",))
        second.start()
        second.join(0.3)
        assert second.is_alive() and held(path) == {"x.log": ["a line of text"]}
    second.join(20)
    assert held(path) == {"x.log": ["another line"], "x.log.1": ["a line of text"]}
    lines.close()


@pytest.mark.usefixtures("looking")
def test_a_line_that_a_full_disk_cut_off_leaves_no_trace_in_the_next_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, real = RotatingLines(path, max_bytes=1000, backups=3), os.write
    room = [4]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "full")
        written, room[0] = real(fd, data[: room[0]]), 0
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert not lines.write("cut off")
    path.rename(path.with_name("moved.log"))
    assert lines.write("whole")
    assert held(path) == {"x.log": ["whole"], "moved.log": ["cut "]}
    lines.close()


@pytest.mark.usefixtures("looking")
def test_a_closed_file_is_not_opened_again(path: Path) -> None:
    lines = RotatingLines(path, max_bytes=1000, backups=3)
    lines.close()
    path.unlink()
    assert not lines.write("too late") and lines.lost == 1
    assert held(path) == {}
