"""The decision log holds to its published schema, never shows a customer's words, and survives its file."""
from __future__ import annotations

import io
import json
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from engine.bootstrap import Engine
from engine.domain import TicketDraft
from engine.outcome import Outcome
from engine.telemetry import rotating
from engine.telemetry.log import DecisionLog
from tests.made_up import SECRET, decision, ticket

ROOT = Path(__file__).resolve().parents[2]
CHECK = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "decision-log.schema.json").read_text()))


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_real_decisions_and_events_follow_the_schema_without_the_ticket(build: Callable[..., Engine]) -> None:
    console, seen = build(working=False), io.StringIO()
    console.log._sinks[0] = DecisionLog(stream=seen)
    made = console.router.route(TicketDraft(body=SECRET, customer_ref="customer-4711"))
    console.router.route(TicketDraft(body=SECRET))
    console.router.review(Outcome(ticket_id=made.ticket_id, department=made.department, labelled_by="kim"))
    found = lines(seen.getvalue())
    assert [line["event_type"] for line in found][:2] == ["routing_decision", "routing_decision"]
    assert "ticket_reviewed" in {line["event_type"] for line in found}
    for line in found:
        CHECK.validate(line)
    assert "4111" not in seen.getvalue() and "furious" not in seen.getvalue() and "4711" not in seen.getvalue()


@pytest.mark.parametrize("change", [{"confidence": 1.2}, {"method": "guess"}, {"body": "x"}, {"@timestamp": "yesterday"}, {"total_ms": None}])
def test_the_schema_refuses_what_is_wrong(change: dict[str, object]) -> None:
    seen = io.StringIO()
    DecisionLog(stream=seen).decision(ticket(), decision())
    (line,) = lines(seen.getvalue())
    CHECK.validate(line)
    with pytest.raises(jsonschema.ValidationError):
        CHECK.validate({**line, **change})


def test_an_event_never_carries_text_and_names_its_user_as_ecs_does() -> None:
    seen = io.StringIO()
    DecisionLog(stream=seen).event("something", by="kim", text=SECRET, body=SECRET, number=3)
    (line,) = lines(seen.getvalue())
    assert (line["user.name"], line["number"]) == ("kim", 3)
    assert "text" not in line and "body" not in line


def test_the_file_turns_over_and_two_writers_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "routing.log"
    logs = [DecisionLog(path, stream=None, max_bytes=20_000, backups=50) for _ in range(2)]

    def write(log: DecisionLog, name: str) -> None:
        for number in range(300):
            log.event(name, number=number)

    threads = [threading.Thread(target=write, args=(log, name)) for log, name in zip(logs, ("one", "two"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    files = [file for file in path.parent.iterdir() if not file.name.endswith(".lock")]
    found = [line for file in files for line in lines(file.read_text())]
    assert len(files) > 3
    assert not any(file.stat().st_mode & 0o007 for file in files), "the log is nobody else's to read"
    assert sorted((line["event_type"], line["number"]) for line in found) == sorted((n, i) for n in ("one", "two") for i in range(300))


def test_a_closed_terminal_and_a_full_disk_do_not_end_a_ticket(tmp_path: Path) -> None:
    stream = io.StringIO()
    stream.close()
    log = DecisionLog(tmp_path / "x.log", stream=stream)
    log._file.close()
    log.decision(ticket(), decision())
    assert log._file.lost == 1


def test_a_full_disk_costs_lines_says_so_where_it_can_and_the_line_after_it_is_whole(tmp_path: Path) -> None:
    path, seen = tmp_path / "x.log", io.StringIO()
    log = DecisionLog(path, stream=seen)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        for number in range(10):
            log.event("something", number=number)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size == 1000
    shown = lines(seen.getvalue())
    told = [line for line in shown if line["event_type"] == "log_lines_lost"]
    assert [line["log.level"] for line in told] == ["error"]
    assert [line["number"] for line in shown if line not in told] == list(range(10))
    log.event("something", number=10)
    whole = path.read_text().splitlines()
    assert json.loads(whole.pop())["number"] == 10
    with pytest.raises(ValueError, match="Unterminated|delimiter|Expecting"):
        json.loads(whole.pop())
    kept = [json.loads(line)["number"] for line in whole]
    assert kept == list(range(len(kept)))
    assert log.lost == 10 - len(kept)
    log.close()


def test_lines_that_the_file_did_not_take_are_counted_at_metrics(tmp_path: Path, build: Callable[..., Engine]) -> None:
    (tmp_path / "x.log").symlink_to("/dev/full")
    engine = build(settings={"routing_log_path": tmp_path / "x.log"}, working=False)
    engine.log.event("something")
    assert "routing_log_lines_lost_total 1.0" in engine.watch.metrics.render().decode()


@pytest.mark.parametrize("in_the_way", ["x.log", "x.log.lock"])
def test_where_the_file_cannot_be_turned_over_lines_go_on_into_it_and_into_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_the_way: str,
) -> None:
    monkeypatch.setattr(rotating, "_LOOK_EVERY", 0.0)
    path = tmp_path / "x.log"
    log = DecisionLog(path, stream=None)
    log.event("something", number=0)
    there = path
    if in_the_way == "x.log":
        there = path.rename(tmp_path / "moved.log")
    (tmp_path / in_the_way).unlink(missing_ok=True)
    (tmp_path / in_the_way).mkdir()
    others = [open(tmp_path / f"other{number}", "w") for number in range(3)]
    for number in (1, 2):
        log.event("something", number=number)
    for file in others:
        file.write("theirs")
        file.close()
    assert [line["number"] for line in lines(there.read_text())] == [0, 1, 2]
    assert {Path(file.name).read_text() for file in others} == {"theirs"}
    (tmp_path / in_the_way).rmdir()
    log.event("something", number=3)
    assert lines(path.read_text())[-1]["number"] == 3
    log.close()


def test_each_line_has_its_own_time_with_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, now = io.StringIO(), [0.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    log = DecisionLog(stream=seen)
    for now[0] in (1_772_000_000.0, 1_772_000_000.0055, 1_772_000_000.9999, 1_772_000_061.25):
        log.event("something")
    times = [line["@timestamp"] for line in lines(seen.getvalue())]
    assert [at[-10:] for at in times] == ["13:20.000Z", "13:20.005Z", "13:20.999Z", "14:21.250Z"]


def test_a_duration_is_in_nanoseconds_and_an_audit_agrees_with_the_same_department() -> None:
    seen = io.StringIO()
    log = DecisionLog(stream=seen)
    for other in (None, "Billing", "Sales"):
        log.decision(ticket(), decision(method="cached", audit_department=other))
    found = lines(seen.getvalue())
    assert [(line["audited"], line["audit_agrees"]) for line in found] == [(False, None), (True, True), (True, False)]
    assert found[0]["event.duration"] == 1_000_000 * found[0]["total_ms"] > 0


def test_each_line_leaves_the_process_at_once_and_each_time_that_the_file_takes_none_is_told_once(tmp_path: Path) -> None:
    class Pipe(io.StringIO):
        left = ""

        def flush(self) -> None:
            self.left = self.getvalue()

    seen = Pipe()
    log = DecisionLog(tmp_path / "x.log", stream=seen)
    takes = iter([False, False, True, False, True])
    log._file.write = lambda line: next(takes)
    for number in range(5):
        log.event("something", number=number)
        assert f'"number":{number}' in seen.left
    assert [line["event_type"] for line in lines(seen.left)].count("log_lines_lost") == 2
    log.close()
    log._file.write = lambda line: False
    log.event("something", number=5)
    assert [line["event_type"] for line in lines(seen.left)].count("log_lines_lost") == 2, "a log that is closed has lost nothing"
