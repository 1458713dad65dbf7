"""An accepted ticket survives whatever goes wrong while it is stored, holds up no other, and has a way back when it was set aside."""
from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine as Database
from sqlalchemy import text

from db.audit import AuditTable
from db.session import connect
from engine import bootstrap, drain
from engine.__main__ import main
from engine.audit import seal
from engine.bootstrap import Engine
from engine.domain import Channel, Decision, Priority, Ticket, TicketDraft
from engine.drain import IN_A_ROW, LONGEST_WAIT, Drainer
from engine.errors import Conflict, ServiceUnavailable, StatementRefused, TicketRejected
from engine.settings import Settings
from tests.contract.test_index import wait_until
from tests.heard import Heard
from tests.integration.test_watching import task


class Bench:
    """A drainer whose clock is moved by hand, on a real console and its database."""

    def __init__(self, engine: Engine, database: Database) -> None:
        self.engine, self.database, self.now, self.log = engine, database, 0.0, Heard()
        self.drainer = Drainer(
            spool=engine.spool, route=engine.router.route_tickets, store=engine.decisions, open_for_calls=lambda: True, log=self.log,
            stopwatch=lambda: self.now,
        )

    def keep(self, *ids: str, body: str = "where is my parcel", subject: str = "", customer_ref: str = "") -> None:
        for id_ in ids:
            self.engine.spool.keep(Ticket(
                id=id_, subject=subject, body=f"{body} {id_}", channel=Channel.WEB, customer_ref=customer_ref, priority=Priority.NORMAL,
                created_at=datetime.now(UTC),
            ))

    def sql(self, statement: str) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement))

    def stored(self) -> dict[str, int]:
        with self.database.connect() as connection:
            return dict(connection.execute(text("select ticket_id, count(*) from routing_history group by 1")).all())

    def alerted(self) -> list[tuple[str, str]]:
        """The open alerts after a report and a look at the rules."""
        self.engine.watch.alerts.edit("set_aside", {"hold_minutes": 0}, by="boss")
        task(self.engine, "report")()
        task(self.engine, "alerts")()
        return [(alert.rule, alert.message) for alert in self.engine.watch.alert_table.latest() if alert.resolved_at is None]


@pytest.fixture
def bench(build: Callable[..., Engine]) -> Iterator[Bench]:
    engine = build(working=False)
    database = connect(engine.settings.postgres_url or "")
    yield Bench(engine, database)
    database.dispose()


@pytest.fixture
def command(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, object]]]:
    given = bench.engine.settings
    for name, value in (("DATABASE_URL", given.postgres_url), ("REDIS_URL", given.redis_address), ("DATA_DIR", given.data_dir)):
        monkeypatch.setenv(name, str(value))

    def run(*arguments: str) -> tuple[int, dict[str, object]]:
        code = main(["spool", *arguments])
        return code, json.loads(capsys.readouterr().out or "{}")

    return run


@pytest.mark.parametrize("column", ["routing_history.confidence", "tickets.body"])
def test_a_changed_schema_costs_no_ticket_and_each_is_stored_once_when_it_is_back(bench: Bench, column: str) -> None:
    table, name = column.split(".")
    bench.keep("A", "B", "C")
    bench.sql(f"alter table {table} rename column {name} to renamed")
    for attempt in range(3):
        assert bench.drainer.drain() == 0
        assert (bench.engine.spool.waiting(), len(bench.engine.spool.set_aside)) == (3, 0)
        bench.now += 2.0**attempt
    left, kind = bench.log.named("spooled_tickets_left"), StatementRefused.__name__
    assert [(fields["tickets"], fields["error"], fields["attempt"], fields["again_in"]) for fields in left] == [
        (3, kind, 1, 1.0), (3, kind, 2, 2.0), (3, kind, 3, 4.0)
    ]
    bench.sql(f"alter table {table} rename column renamed to {name}")
    bench.now += 4.0
    assert bench.drainer.drain() == 3
    assert (bench.engine.spool.waiting(), len(bench.engine.spool.set_aside)) == (0, 0)
    assert bench.stored() == {"A": 1, "B": 1, "C": 1}


def test_a_running_console_stores_them_by_itself_when_the_column_is_back(build: Callable[..., Engine], bench: Bench) -> None:
    console = build()
    bench.sql("alter table routing_history rename column method to renamed")
    bench.keep("A", "B", "C")
    bench.engine.spool.close()
    wait_until(lambda: 'event="spooled_tickets_left"' in console.watch.metrics.render().decode())
    assert "routing_tickets_spooled 3.0" in console.watch.metrics.render().decode()
    bench.sql("alter table routing_history rename column renamed to method")
    wait_until(lambda: bench.stored() == {"A": 1, "B": 1, "C": 1})
    wait_until(console.spool.empty)
    assert len(console.spool.set_aside) == 0


def test_waiting_for_another_try_grows_to_a_minute_and_is_kept(bench: Bench) -> None:
    bench.keep("A")
    bench.sql("alter table routing_history rename column method to renamed")
    waits = []
    for _ in range(9):
        bench.drainer.drain()
        waits.append(bench.log.named("spooled_tickets_left")[-1]["again_in"])
        bench.now += waits[-1] - 0.001
        assert bench.drainer.drain() == 0
        assert len(bench.log.named("spooled_tickets_left")) == len(waits), "it was not tried before its time"
        bench.now += 0.002
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]


def test_tickets_that_fail_hold_up_no_others_of_their_segment_or_a_later_one(bench: Bench) -> None:
    """More of them than failures in a row are taken for a fault of the whole, and they are the oldest."""
    poison = [f"P-{number:02}" for number in range(2 * IN_A_ROW + 1)]
    good = [f"G-{number:02}" for number in range(100)]
    bench.sql("alter table tickets add constraint no_poison check (body not like 'poison%') not valid")
    bench.keep(*poison, body="poison")
    bench.keep(*good)
    drains = 0
    while len(bench.stored()) < len(good):
        bench.drainer.drain()
        bench.keep(f"L-{drains}")
        bench.now += LONGEST_WAIT
        drains += 1
        assert drains < 10
    assert set(good) <= set(bench.stored())
    bench.drainer.drain()
    assert bench.engine.spool.waiting() == len(poison), "what is stored is not read again and again"
    assert len(bench.engine.spool.set_aside) == 0
    later = len(bench.stored())
    bench.keep("LAST")
    assert bench.drainer.drain() == 1, "at once, while the others wait for their time"
    bench.sql("alter table tickets drop constraint no_poison")
    for _ in range(2):
        bench.now += LONGEST_WAIT
        bench.drainer.drain()
    assert len(bench.stored()) == later + 1 + len(poison)
    assert set(bench.stored().values()) == {1}
    assert bench.engine.spool.empty()


def test_failures_between_tickets_that_can_be_stored_keep_none_of_these_for_later(bench: Bench) -> None:
    """Only so many in a row are taken for a fault of the whole."""
    bench.sql("alter table tickets add constraint no_poison check (body not like 'poison%') not valid")
    for number in range(2 * IN_A_ROW):
        bench.keep(f"P-{number}", body="poison")
        bench.keep(f"G-{number}")
    assert bench.drainer.drain() == 2 * IN_A_ROW
    assert bench.engine.spool.waiting() == 2 * IN_A_ROW


def test_a_drain_that_is_ended_stops_after_its_batch_and_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "BATCH", 2)
    bench.keep("A", "B", "C", "D", "E")
    route = bench.engine.router.route_tickets

    def ending(tickets: Sequence[Ticket]) -> list[Decision]:
        bench.drainer.close()
        return route(tickets)

    bench.drainer._route = ending
    assert bench.drainer.drain() == 2
    assert bench.stored() == {"A": 1, "B": 1}
    assert Bench(bench.engine, bench.database).drainer.drain() == 3
    assert bench.stored() == dict.fromkeys("ABCDE", 1) and bench.engine.spool.empty()


def test_a_database_that_goes_away_is_nobodys_failure_and_the_tickets_are_stored_as_soon_as_it_is_back(bench: Bench) -> None:
    bench.keep("A", "B")
    route, stored = bench.engine.router.route_tickets, bench.engine.decisions.stored

    def away(*_: object) -> NoReturn:
        raise ServiceUnavailable("database", "went away")

    def conflict(tickets: Sequence[Ticket]) -> NoReturn:
        if [ticket.id for ticket in tickets] == ["B"]:
            bench.drainer._store = SimpleNamespace(stored=away)
        raise Conflict("taken meanwhile")

    for failing in (away, conflict):
        bench.drainer._route, bench.drainer._store = failing, SimpleNamespace(stored=stored)
        with pytest.raises(ServiceUnavailable):
            bench.drainer.drain()
    assert bench.log.named("spooled_tickets_left") == []
    bench.drainer._route, bench.drainer._store = route, SimpleNamespace(stored=stored)
    assert bench.drainer.drain() == 2, "without a pause"
    assert bench.stored() == {"A": 1, "B": 1} and bench.engine.spool.empty()


def test_records_that_cannot_be_read_are_told_and_set_aside_and_hold_up_no_ticket(bench: Bench) -> None:
    bench.keep("A")
    bench.engine.spool.close()
    [segment] = bench.engine.settings.spool_folder.glob("*.spool")
    segment.write_bytes(segment.read_bytes() + b"torn\n")
    assert bench.drainer.drain() == 1 and bench.stored() == {"A": 1}
    assert bench.log.named("spool_records_broken") == [{"segment": segment.name, "records": 1}]
    assert len(bench.engine.spool.set_aside) == 1 and bench.engine.spool.empty()


def test_a_conflict_loses_no_ticket_that_is_not_stored_and_keeps_none_that_is(bench: Bench) -> None:
    bench.keep("A", "B")
    route = bench.engine.router.route_tickets

    def conflict(tickets: Sequence[Ticket]) -> NoReturn:
        if tickets[0].id == "B":
            route(tickets)
        raise Conflict("taken meanwhile")

    bench.drainer._route = conflict
    assert bench.drainer.drain() == 0
    assert bench.stored() == {"B": 1} and bench.engine.spool.waiting() == 1
    assert bench.log.named("spooled_tickets_left") == [{"tickets": 1, "error": "Conflict", "attempt": 1, "again_in": 1.0}]
    bench.now += 1.0
    bench.drainer._route = route
    assert bench.drainer.drain() == 1 and bench.stored() == {"A": 1, "B": 1}


def test_a_ticket_that_breaks_a_rule_is_set_aside_with_the_rule(bench: Bench) -> None:
    bench.keep("A", "B")
    route = bench.engine.router.route_tickets

    def stricter(tickets: Sequence[Ticket]) -> list[Decision]:
        for ticket in tickets:
            if ticket.id == "A":
                raise TicketRejected("body", limit="at most 3 characters", found="20")
        return route(tickets)

    bench.drainer._route = stricter
    assert bench.drainer.drain() == 1
    assert bench.stored() == {"B": 1} and bench.engine.spool.empty()
    [record] = bench.engine.spool.set_aside.records()
    assert record.ticket_id == "A" and "at most 3 characters" in record.reason
    assert bench.log.named("spooled_ticket_refused") == [{"ticket_id": "A", "reason": "TicketRejected"}]


def test_a_segment_that_cannot_be_removed_is_read_again_after_a_pause_and_counts_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.keep("A", "B")

    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bench.engine.spool, "remove", full)
        assert bench.drainer.drain() == 2
        assert bench.drainer.drain() == 0, "not before its time"
    assert [(fields["tickets"], fields["error"]) for fields in bench.log.named("spooled_tickets_left")] == [(2, "OSError")]
    bench.now += 1.0
    assert bench.drainer.drain() == 0 and bench.engine.spool.empty()
    assert bench.stored() == {"A": 1, "B": 1}


def test_a_ticket_whose_id_is_taken_is_set_aside_listed_and_brought_back_by_the_command(
    bench: Bench, command: Callable[..., tuple[int, dict[str, object]]]
) -> None:
    bench.engine.router.route(TicketDraft(body="the first with this id", ticket_id="T-1"))
    bench.keep("T-1", "T-2")
    assert command() == (0, {"waiting": 2, "set_aside": 0, "records": []})
    assert bench.drainer.drain() == 1
    assert bench.log.named("spooled_ticket_refused") == [{"ticket_id": "T-1", "reason": "conflict"}]
    assert "routing_tickets_set_aside 1.0" in bench.engine.watch.metrics.render().decode()
    assert bench.engine.health.test("spool").detail == "0 waiting, 1 set aside"
    assert bench.alerted() == [("set_aside", "Accepted tickets cannot be stored: 1, above 0, n = 1")]
    [file] = (bench.engine.settings.spool_folder / "refused").iterdir()
    record = {"ticket_id": "T-1", "reason": "another ticket with this id is stored", "file": file.name}
    assert command() == (1, {"waiting": 0, "set_aside": 1, "records": [record]})
    assert command("--retry") == (1, {"put_back": 1, "stored": 0, "waiting": 0, "set_aside": 1, "records": [record]})
    assert command("--retry", "--new-ids") == (0, {"put_back": 1, "stored": 1, "waiting": 0, "set_aside": 0, "records": []})
    stored = bench.stored()
    [new] = set(stored) - {"T-1", "T-2"}
    assert set(stored.values()) == {1} and new.startswith("T-1-")
    assert bench.engine.decisions.stored([new])[new].body == "where is my parcel T-1"
    assert command("--new-ids") == (2, {})
    assert bench.alerted() == [], "what was brought back is no alert any more"
    rows = AuditTable(bench.database, seal=seal).find(limit=5)
    assert [row.action for row in rows].count("spool_retried") == 2


@pytest.mark.parametrize("before", [True, False], ids=["stored", "spooled"])
def test_another_subject_or_customer_under_a_known_id_is_another_ticket_and_not_lost(bench: Bench, before: bool) -> None:
    bench.keep("T-1", subject="my card was stolen")
    if before:
        bench.drainer.drain()
    bench.keep("T-1", subject="cancel my contract")
    bench.keep("T-1", subject="my card was stolen", customer_ref="C-2")
    bench.keep("T-1", subject="my card was stolen")
    bench.drainer.drain()
    assert bench.stored() == {"T-1": 1} and bench.engine.spool.empty()
    assert bench.engine.decisions.stored(["T-1", "T-2"])["T-1"].subject == "my card was stolen"
    assert [record.ticket_id for record in bench.engine.spool.set_aside.records()] == ["T-1", "T-1"]
    assert bench.engine.spool.set_aside.put_back(bench.engine.spool.keep, new_ids=True) == 2
    bench.drainer.drain()
    assert len(bench.stored()) == 3


def test_a_ticket_set_aside_by_an_earlier_version_comes_back_under_its_id(
    bench: Bench, command: Callable[..., tuple[int, dict[str, object]]], tmp_path: Path
) -> None:
    """Any error once sent an accepted ticket there; its reason does not matter when it can be stored now."""
    folder = bench.engine.settings.spool_folder / "refused"
    folder.mkdir(parents=True)
    fields = {
        "id": "T-9", "subject": "", "body": "where is my parcel", "channel": "web", "customer_ref": "", "priority": "normal",
        "created_at": "2026-01-02T00:00:00+00:00", "created_by": "ada", "origin": "console",
    }
    (folder / "0a1b2c3d.json").write_text(json.dumps({"reason": "ProgrammingError: it could not be routed", "ticket": fields}))
    assert command("--retry") == (0, {"put_back": 1, "stored": 1, "waiting": 0, "set_aside": 0, "records": []})
    assert bench.stored() == {"T-9": 1}


def test_a_disk_that_takes_nothing_more_keeps_every_ticket_where_it_is(bench: Bench) -> None:
    bench.engine.router.route(TicketDraft(body="the first with this id", ticket_id="T-1"))
    bench.keep("T-1", "T-2")
    blocked = bench.engine.settings.spool_folder / "refused"
    blocked.write_text("no folder can be made here")
    assert bench.drainer.drain() == 1
    assert bench.stored() == {"T-1": 1, "T-2": 1}
    assert bench.engine.spool.waiting() == 1
    blocked.unlink()
    bench.now += LONGEST_WAIT
    assert bench.drainer.drain() == 0
    assert (bench.engine.spool.waiting(), len(bench.engine.spool.set_aside)) == (0, 1)


def test_a_console_that_could_keep_no_ticket_says_so_at_its_start_and_on_the_system_page(console_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    seen = io.StringIO()
    given = {"data_dir": tmp_path / "file" / "data", "cookie_secret": SecretStr(secrets.token_hex(24))}
    engine = bootstrap.build(console_settings.model_copy(update=given), log_stream=seen)
    [told] = [line for line in map(json.loads, seen.getvalue().splitlines()) if line["event_type"] == "service_unavailable"]
    assert told["service"] == "spool" and "DATA_DIR" in told["reason"]
    report = engine.health.test("spool")
    assert not report.ok and "not accepted" in report.consequence
    assert engine.health.ready(), "with its database it routes all the same"
    engine.close()
