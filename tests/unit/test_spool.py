"""Records that survive: torn ones, killed writers, several processes, and a disk that takes no more."""
from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from engine import spool as spool_module
from engine import spool_record
from engine.domain import Channel, Priority, Ticket
from engine.errors import NotAccepted, ServiceUnavailable
from engine.spool import Spool

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from engine.domain import Channel, Priority, Ticket
from engine.errors import NotAccepted
from engine.spool import Spool
spool = Spool(Path(sys.argv[1]))
if sys.argv[3] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
number = 0
while True:
    ticket = Ticket(
        id=f"{sys.argv[2]}-{number}", subject="", body="w" * 100, channel=Channel.WEB, customer_ref="", priority=Priority.NORMAL,
        created_at=datetime.now(UTC),
    )
    try:
        spool.keep(ticket)
        print("kept", ticket.id, flush=True)
    except NotAccepted as error:
        print("refused", str(error), flush=True)
        sys.stdin.readline()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    number += 1
"""


def ticket(number: int, body: str = "where is my parcel?") -> Ticket:
    return Ticket(
        id=f"T-{number}", subject="a \u2028 b", body=body, channel=Channel.CHAT, customer_ref="C-1", priority=Priority.HIGH,
        created_at=datetime(2026, 1, 2, tzinfo=UTC), created_by="ada",
    )


def drained(spool: Spool) -> list[Ticket]:
    found = []
    with spool.draining() as segments:
        for segment in segments:
            found += spool.read(segment)[0]
            spool.remove(segment)
    return found


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def child(folder: Path, name: str, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), name, str(limit)], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def test_what_was_kept_comes_back_whole_and_in_order(spool: Spool) -> None:
    kept = [ticket(number, body) for number, body in enumerate(("plain", "two\nlines", "ünïcödé \U0001f600", '{"json": 1}'))]
    for one in kept:
        spool.keep(one)
    assert spool.waiting() == 4
    assert drained(spool) == kept
    assert spool.empty()
    assert drained(spool) == []


def test_a_torn_last_record_is_left_out_and_set_aside(spool: Spool, tmp_path: Path) -> None:
    for number in range(3):
        spool.keep(ticket(number))
    spool.close()
    (segment,) = (tmp_path / "spool").glob("*.spool")
    segment.write_bytes(segment.read_bytes()[:-20])
    assert [one.id for one in drained(spool)] == ["T-0", "T-1"]
    assert len(spool.set_aside) == 1


def test_an_altered_record_fails_its_checksum(spool: Spool, tmp_path: Path) -> None:
    spool.keep(ticket(1))
    spool.keep(ticket(2))
    spool.close()
    (segment,) = (tmp_path / "spool").glob("*.spool")
    segment.write_bytes(segment.read_bytes().replace(b"T-1", b"T-9"))
    assert [one.id for one in drained(spool)] == ["T-2"]


def test_threads_share_a_spool_without_mixing_records(spool: Spool) -> None:
    threads = [
        threading.Thread(target=lambda start=start: [spool.keep(ticket(n)) for n in range(start, start + 25)]) for start in (0, 100, 200, 300)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.id for one in drained(spool)}) == 100


def test_a_living_writers_segment_is_left_to_it_and_a_killed_ones_is_taken_over(spool: Spool, tmp_path: Path) -> None:
    process = child(tmp_path / "spool", "A")
    said = [process.stdout.readline().split()[1] for _ in range(20)]
    assert drained(spool) == []
    process.send_signal(signal.SIGKILL)
    said += [line.split()[1] for line in process.stdout if line.endswith("\n")]
    process.wait()
    found = [one.id for one in drained(spool)]
    assert set(said) <= set(found)
    assert len(found) == len(set(found))
    process.stdin.close()
    process.stdout.close()


def test_two_processes_write_to_one_spool_and_nothing_is_lost_when_both_are_killed(spool: Spool, tmp_path: Path) -> None:
    processes = [child(tmp_path / "spool", name) for name in ("A", "B")]
    said = [process.stdout.readline().split()[1] for process in processes for _ in range(50)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    for process in processes:
        said += [line.split()[1] for line in process.stdout if line.endswith("\n")]
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert set(said) <= {one.id for one in drained(spool)}


def held_open(folder: Path) -> list[str]:
    """What of the folder this process holds open, the folder itself included."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{entry}"))
    return [name for name in found if name.startswith(str(folder))]


def test_nothing_stays_open_of_what_was_kept_drained_and_set_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(3):
        spool.keep(ticket(number))
        assert held_open(tmp_path) != []
        assert [one.id for one in drained(spool)] == [f"T-{number}"]
        spool.set_aside.refuse(ticket(number), "another ticket with this id is stored")
    spool.close()
    assert held_open(tmp_path) == []


def test_a_segment_that_another_process_empties_before_it_is_locked_takes_no_ticket(tmp_path: Path, monkeypatch) -> None:
    """A drain of another process comes between the making of the file and its lock."""
    writer, other = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    real, between = fcntl.flock, [1, 2]

    def flock(fd: int | IO[str], operation: int) -> None:
        if operation == fcntl.LOCK_EX and between:
            between.pop()
            assert drained(other) == []
            assert list((tmp_path / "spool").glob("*.spool")) == []
        # Nobody holds it any more; whoever did would keep this waiting for ever.
        real(fd, operation | fcntl.LOCK_NB)

    monkeypatch.setattr(fcntl, "flock", flock)
    writer.keep(ticket(1))
    assert between == []
    assert writer.waiting() == 1
    writer.close()
    assert [one.id for one in drained(other)] == ["T-1"]


def test_a_segment_that_its_owner_removes_before_it_is_claimed_is_not_drained(tmp_path: Path, monkeypatch) -> None:
    writer, other = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    monkeypatch.setattr(spool_module, "_write_all", refusing)
    with pytest.raises(NotAccepted):
        writer.keep(ticket(1))
    real = fcntl.flock

    def flock(fd: int | IO[str], operation: int) -> None:
        if isinstance(fd, int):
            writer.close()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with other.draining() as segments:
        assert segments == []
    other.close()


def refusing(fd: int, record: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_refuses_the_ticket_says_so_and_keeps_the_earlier_ones(spool: Spool, tmp_path: Path) -> None:
    process = child(tmp_path / "spool", "A", limit=2000)
    lines = []
    while not (lines and lines[-1].startswith("refused")):
        lines.append(process.stdout.readline())
    assert "NOT accepted" in lines[-1]
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    kept = [line.split()[1] for line in lines[:-1]]
    assert [one.id for one in drained(spool)] == kept
    assert kept


def test_what_is_kept_when_the_disk_has_room_again_stands_apart_from_what_was_refused(spool: Spool, tmp_path: Path) -> None:
    process = child(tmp_path / "spool", "A", limit=2000)
    while not (line := process.stdout.readline()).startswith("refused"):
        assert line, "the process has ended"
    process.stdin.write("\n")
    process.stdin.flush()
    kept = process.stdout.readline().split()[1]
    process.kill()
    process.communicate()
    assert kept in [one.id for one in drained(spool)]
    assert len(spool.set_aside) == 0


def test_a_ticket_and_the_name_of_its_file_are_on_the_disk_before_anybody_is_told(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, fsync = [], os.fsync

    def seen(fd: int) -> None:
        fsync(fd)
        there.append((os.fstat(fd).st_ino, os.fstat(fd).st_size))

    monkeypatch.setattr(os, "fsync", seen)
    for number in range(2):
        spool.keep(ticket(number))
        (segment,) = (tmp_path / "spool").glob("*.spool")
        assert there[-1] == (segment.stat().st_ino, segment.stat().st_size)
    assert [inode for inode, _ in there[:2]] == [(tmp_path / "spool").stat().st_ino, tmp_path.stat().st_ino]
    there.clear()
    spool.set_aside.refuse(ticket(0), "taken")
    assert [inode for inode, _ in there[1:]] == [(tmp_path / "spool" / "refused").stat().st_ino, (tmp_path / "spool").stat().st_ino]


def test_a_file_whose_name_is_not_on_the_disk_holds_no_ticket(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, fsync = [], os.fsync

    def failing(fd: int) -> None:
        there.append(os.fstat(fd).st_ino)
        if len(there) == 1:
            raise OSError(errno.EIO, "no")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(NotAccepted, match="NOT accepted"):
        spool.keep(ticket(1))
    assert not list((tmp_path / "spool").glob("*.spool"))
    spool.keep(ticket(2))
    assert there[:2] == [(tmp_path / "spool").stat().st_ino] * 2
    assert [one.id for one in drained(spool)] == [ticket(2).id]


def test_what_was_refused_is_off_the_disk_before_anybody_is_told(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.keep(ticket(1))
    (segment,) = (tmp_path / "spool").glob("*.spool")
    whole, there, fsync = segment.stat().st_size, [], os.fsync

    def failing(fd: int) -> None:
        there.append(os.fstat(fd).st_size)
        if len(there) == 1:
            raise OSError(errno.EIO, "no")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(NotAccepted, match="NOT accepted"):
        spool.keep(ticket(2))
    assert there[0] > whole and there[1:] == [whole]


def test_a_folder_made_ready_below_one_that_may_not_be_read_takes_tickets(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read every folder, so the system's answer is given here."""
    (tmp_path / "spool").mkdir()
    opened = os.open

    def refused(path: str | Path, *arguments: int) -> int:
        if Path(path) == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", refused)
    spool.keep(ticket(1))
    assert [one.id for one in drained(spool)] == [ticket(1).id]


def test_a_folder_that_cannot_be_made_refuses_the_ticket(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotAccepted, match="NOT accepted"):
        Spool(tmp_path / "file" / "spool").keep(ticket(1))


def test_a_folder_that_could_take_no_ticket_says_so_before_there_is_one(spool: Spool, tmp_path: Path) -> None:
    assert spool.state() == "0 waiting, 0 set aside"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceUnavailable, match="tickets cannot be kept in .*/file/spool: .*/file is no folder that may be written to. DATA_DIR"):
        Spool(tmp_path / "file" / "spool").state()


def test_a_disk_without_room_for_a_ticket_says_so_before_there_is_one(spool: Spool, tmp_path: Path) -> None:
    """Whether the spool's folder is there already or not; nothing stays of the attempt."""
    limited = (
        "import resource, sys; from pathlib import Path; from engine.spool import Spool; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY)); Spool(Path(sys.argv[1])).state()"
    )
    for _ in ("before the first ticket", "after it"):
        done = subprocess.run([sys.executable, "-c", limited, str(tmp_path / "spool")], cwd=ROOT, capture_output=True, text=True, check=False)
        assert re.search(r"ServiceUnavailable: .*tickets cannot be kept in .*/spool: File too large\n", done.stderr), done.stderr
        spool.keep(ticket(1))
    there = sorted(path.name for path in tmp_path.rglob("*"))
    assert spool.state() == "2 waiting, 0 set aside"
    assert sorted(path.name for path in tmp_path.rglob("*")) == there


def test_nobody_else_can_read_the_records(spool: Spool, tmp_path: Path) -> None:
    spool.keep(ticket(1))
    (segment,) = (tmp_path / "spool").glob("*.spool")
    assert oct(os.stat(segment).st_mode)[-3:] == "600"
    spool.set_aside.refuse(ticket(2), "taken")
    refused = tmp_path / "spool" / "refused"
    assert [oct(path.stat().st_mode)[-3:] for path in (refused, *refused.iterdir())] == ["700", "600"]


def altered(spool: Spool, tmp_path: Path, *, tickets: int) -> None:
    """A segment of so many tickets, in the last of which a digit was changed on the disk."""
    for number in range(tickets):
        spool.keep(ticket(number))
    spool.close()
    (segment,) = (tmp_path / "spool").glob("*.spool")
    segment.write_bytes(segment.read_bytes().replace(f"T-{tickets - 1}".encode(), b"T-9"))


def test_what_stays_behind_is_all_that_is_left_of_a_segment_and_its_broken_records_are_kept(spool: Spool, tmp_path: Path) -> None:
    altered(spool, tmp_path, tickets=4)
    with spool.draining() as [path]:
        spool.remove(path, but=[ticket(2), ticket(0)])
    assert spool.waiting() == 2
    assert [one.id for one in drained(spool)] == ["T-2", "T-0"]
    (kept,) = (tmp_path / "spool" / "refused").iterdir()
    assert kept.suffix == ".torn", "nothing half-written lies about"
    assert [(record.reason, record.file) for record in spool.set_aside.records()] == [("torn or altered", kept.name)]


def test_broken_records_are_set_aside_once_also_when_every_ticket_stays_behind(spool: Spool, tmp_path: Path) -> None:
    altered(spool, tmp_path, tickets=2)
    with spool.draining() as [path]:
        spool.remove(path, but=[ticket(0)])
        assert spool.read(path) == ([ticket(0)], [])


@pytest.mark.parametrize("name", ["copy of 0000000001-77-ab.spool", ".spool", "²-1-ab.spool", "0000000007.spool"])
def test_a_segment_that_was_brought_here_under_any_name_is_read_and_stops_nothing(spool: Spool, tmp_path: Path, name: str) -> None:
    spool.keep(ticket(1))
    spool.close()
    (segment,) = (tmp_path / "spool").glob("*.spool")
    segment.rename(segment.with_name(name))
    spool.keep(ticket(2))
    assert spool.waiting() == 2
    assert sorted(one.id for one in drained(spool)) == ["T-1", "T-2"]


def test_set_aside_tickets_come_back_whole_and_twice_is_once(spool: Spool, tmp_path: Path) -> None:
    for number in range(2):
        spool.set_aside.refuse(ticket(number), "another ticket with this id is stored")
        spool.set_aside.refuse(ticket(number), "another ticket with this id is stored")
    assert len(spool.set_aside) == 2
    assert {(record.ticket_id, record.reason) for record in spool.set_aside.records()} == {
        (f"T-{number}", "another ticket with this id is stored") for number in range(2)
    }

    def interrupted(_: Ticket) -> None:
        raise NotAccepted("database", "no room")

    with pytest.raises(NotAccepted):
        spool.set_aside.put_back(interrupted)
    assert len(spool.set_aside) == 2
    assert spool.set_aside.put_back(spool.keep) == 2
    assert len(spool.set_aside) == 0
    assert sorted(drained(spool), key=lambda one: one.id) == [ticket(0), ticket(1)]


def test_new_ids_are_the_same_when_it_is_done_again(spool: Spool) -> None:
    long = ticket(1)
    long = Ticket(**{name: getattr(long, name) for name in long.__slots__} | {"id": "T" * 64})
    given: list[list[str]] = []
    for _ in range(2):
        spool.set_aside.refuse(ticket(1), "taken")
        spool.set_aside.refuse(ticket(1, "another text"), "taken")
        spool.set_aside.refuse(long, "taken")
        back: list[Ticket] = []
        assert spool.set_aside.put_back(back.append, new_ids=True) == 3
        given.append(sorted(one.id for one in back))
    assert given[0] == given[1]
    assert len(set(given[0])) == 3 and all(len(id_) <= 64 for id_ in given[0])


def test_on_a_disk_that_takes_nothing_more_what_waits_is_counted_all_the_same(spool: Spool, tmp_path: Path) -> None:
    spool.keep(ticket(1))
    (tmp_path / "spool" / "count.lock").mkdir()
    assert spool.share() == 1


def test_of_two_spools_of_one_folder_one_counts_what_is_set_aside(spool: Spool, tmp_path: Path) -> None:
    other = Spool(tmp_path / "spool")
    assert spool.set_aside_share() == other.set_aside_share() == 0
    other.set_aside.refuse(ticket(1), "another ticket with this id is stored")
    assert (spool.set_aside_share(), other.set_aside_share()) == (1, 0)
    assert (spool.share(), other.share()) == (0, 0)
    other.close()


def test_a_torn_record_that_nobody_can_read_stays_set_aside_and_one_that_somebody_can_comes_back(spool: Spool, tmp_path: Path) -> None:
    spool.set_aside.broken("0000000001-1-ab", [spool_record.written(ticket(4)).strip(), b"torn", spool_record.written(ticket(5)).strip()])
    assert len(spool.set_aside) == 3
    assert spool.set_aside.put_back(spool.keep) == 2
    assert [one.id for one in drained(spool)] == ["T-4", "T-5"]
    assert [record.ticket_id for record in spool.set_aside.records()] == [""]
    assert spool.set_aside.put_back(spool.keep) == 0
    assert len(spool.set_aside) == 1


def test_records_that_are_broken_later_in_the_same_segment_take_no_others_place(spool: Spool) -> None:
    for line in (b"torn", b"altered"):
        spool.set_aside.broken("0000000001-1-ab", [line])
    assert len(spool.set_aside) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"words"', b"{}", b'{"ticket": [1]}', b'{"ticket": {"id": "T-1"}}'])
def test_a_file_that_holds_no_ticket_is_listed_and_stays_until_somebody_looks_at_it(spool: Spool, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "spool" / "refused"
    folder.mkdir(parents=True)
    (folder / "0a1b.json").write_bytes(content)
    # What a crash leaves of a file that was being written is none.
    (folder / "0c2d.json.99.new").write_bytes(b"half")
    assert [(record.ticket_id, record.reason, record.file) for record in spool.set_aside.records()] == [("", "unreadable", "0a1b.json")]
    assert len(spool.set_aside) == 1 and spool.set_aside.put_back(spool.keep) == 0
    assert (folder / "0a1b.json").read_bytes() == content


def test_two_that_bring_back_the_same_tickets_do_not_stop_each_other(spool: Spool, tmp_path: Path) -> None:
    for number in range(3):
        spool.set_aside.refuse(ticket(number), "taken")
    other = Spool(tmp_path / "spool")

    def keep(one: Ticket) -> None:
        spool.keep(one)
        other.set_aside.put_back(other.keep)

    assert spool.set_aside.put_back(keep) == 1, "the others were gone meanwhile"
    assert len(spool.set_aside) == 0 and spool.set_aside.records() == []
    other.close()
    assert {one.id for one in drained(spool)} == {"T-0", "T-1", "T-2"}
