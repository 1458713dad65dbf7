"""What watches the router, joined as the bootstrap joins it: reports, gauges, waiting tickets, calibration."""
from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from db.locks import Lock
from db.services import Services
from db.session import connect
from engine import imports
from engine.adapters import http_post
from engine.alert_rules import SHIPPED, Measure
from engine.alerts import Change, Reading
from engine.bootstrap import Engine
from engine.breaker import Breaker
from engine.domain import Origin, Policy, TicketDraft
from engine.outcome import Outcome
from engine.readings import ALIVE
from engine.reliability import debiased_calibration_error
from engine.errors import NotFound, ServiceUnavailable, StatementRefused
from engine.spool import Spool
from engine.telemetry.services import ServiceCounts
from engine.timeline import Level
from engine.watching import figures
from tests.integration.test_notify import Receiver, Silent
from tests.made_up import ticket


def task(engine: Engine, name: str) -> Callable[[], object]:
    """A task beside routing, to be run now."""
    return next(one.run for upkeep in (engine.watch.upkeep, engine.watch.notices) for one in upkeep._tasks if one.name == name)


def gauge(engine: Engine, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", engine.watch.metrics.render().decode(), re.M)
    assert found, name
    return float(found[1])


def read(engine: Engine, measure: Measure) -> list[tuple[float, int]]:
    rule = next(rule for rule in SHIPPED if rule.measure is measure)
    return [(reading.value, reading.sample) for reading in engine.watch.alerts._measure(rule, datetime.now(UTC))]


def test_the_spools_of_all_instances_are_waiting_and_one_shared_folder_counts_once(build: Callable[..., Engine], tmp_path: Path) -> None:
    one, other = build(working=False), build(working=False)
    assert one.spool is not other.spool
    far = build({"data_dir": tmp_path / "another-machine"}, working=False)
    pool = connect(one.settings.postgres_url)
    table, now = Services(pool), datetime.now(UTC)
    for number in range(3):
        Spool(one.settings.data_dir / "spool").keep(ticket(id=f"S-{number}"))
    # One process has one name; here three engines share it, so their reports are written under names of their own.
    for name, engine in (("one", one), ("other", other)):
        table.beat(name, memory_share=0.5, spooled=engine.spool.share(), now=now)
    table.beat("machine 2", memory_share=0.5, spooled=4, now=now)
    table.beat("a machine that has gone", memory_share=0.5, spooled=9, now=now - ALIVE - timedelta(seconds=1))
    assert far.watch.waiting() == 7
    assert read(far, Measure.WAITING) == [(7, 1)]
    assert read(far, Measure.SPOOLED)[0][0] == 7
    pool.dispose()


def test_a_process_that_ends_leaves_the_counting_to_the_next(tmp_path: Path) -> None:
    writer, first, second = Spool(tmp_path), Spool(tmp_path), Spool(tmp_path)
    assert (first.share(), second.share()) == (0, 0)
    writer.keep(ticket(id="S-1"))
    writer.keep(ticket(id="S-2"))
    assert (first.share(), second.share()) == (2, 0)
    first.close()
    assert second.share() == 2
    assert first.share() == 0
    second.close()
    writer.close()


def test_the_gauge_counts_this_machines_spool_even_while_nobody_can_be_asked(console: Engine) -> None:
    console.drainer.close()
    task(console, "gauges")()
    assert gauge(console, "routing_tickets_waiting") == 0
    console.spool.keep(ticket(id="S-1"))
    # No gauge has been read from the database since then.
    assert gauge(console, "routing_tickets_waiting") == gauge(console, "routing_tickets_spooled") == 1
    assert console.watch.waiting() == 1


def test_gauges_of_this_process_tell_its_memory_and_its_pool(build: Callable[..., Engine]) -> None:
    engine = build({"database_pool_size": 3, "database_pool_overflow": 4}, working=False)
    engine.health.test("database")
    pool = {state: gauge(engine, f'routing_database_pool_connections{{state="{state}"}}') for state in ("in_use", "idle", "most")}
    assert (pool["in_use"], pool["most"]) == (0, 7) and 1 <= pool["idle"] <= 7
    assert 0 < gauge(engine, "routing_memory_used_ratio") <= 1


def test_no_ticket_is_ever_stored_without_its_decision_so_only_the_spool_waits(console: Engine) -> None:
    """A single ticket, an import that stops half-way, and one whose second batch is refused by the database."""
    def counts() -> tuple[int, int]:
        with pool.connect() as connection:
            return tuple(connection.execute(text(
                "select (select count(*) from tickets), (select count(*) from tickets join routing_history on ticket_id = tickets.id)"
            )).one())

    pool = connect(console.settings.postgres_url)
    console.router.route(TicketDraft(body="my parcel is lost"))
    content = "body\n" + "\n".join(f"my parcel number {number} is lost" for number in range(imports.BATCH + 40))
    file = imports.read(content.encode(), name="f.csv", router=console.router)

    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imports.run(file, router=console.router, store=console.decisions, progress=stop)
    console.router.settle()
    assert counts() == (1 + imports.FIRST, 1 + imports.FIRST)
    with pool.begin() as connection:
        connection.execute(text("alter table routing_history add constraint nothing_new check (id < 0) not valid"))
    with pytest.raises(StatementRefused, match="23514, constraint nothing_new"):
        imports.run(file, router=console.router, store=console.decisions)
    assert counts() == (1 + imports.FIRST, 1 + imports.FIRST)
    with pool.begin() as connection:
        connection.execute(text("alter table routing_history drop constraint nothing_new"))
    imports.run(file, router=console.router, store=console.decisions)
    assert counts() == (1 + len(file.tickets), 1 + len(file.tickets))
    assert console.watch.waiting() == 0
    pool.dispose()


def test_each_report_is_one_probe_and_counts_what_services_were_asked(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # The upkeep's own reports would be counted as well.
    console.watch.upkeep.close()
    pool = connect(console.settings.postgres_url)
    table = Services(pool)
    since = datetime.now(UTC) - timedelta(hours=1)
    report = task(console, "report")
    report()
    probes, failed = table.totals("console", since=since)
    console.router.route(TicketDraft(body="my parcel is lost"))
    report()
    assert table.totals("console", since=since) == (probes + 1, failed)
    calls, errors = table.totals("index", since=since)
    assert calls >= 1 and errors == 0
    # The vectors' table is out of order, the rest of the database is not: that is the index's failure.
    with pool.begin() as connection:
        connection.execute(text("alter table exemplar_vectors rename to exemplar_vectors_gone"))
    with pytest.raises(StatementRefused, match="42P01"):
        console.router.replay(console.router.admit(TicketDraft(body="another parcel is lost")))
    with pool.begin() as connection:
        connection.execute(text("alter table exemplar_vectors_gone rename to exemplar_vectors"))
    report()
    assert table.totals("index", since=since) == (calls + 1, 1)
    assert read(console, Measure.INDEX_ERROR_SHARE) == [(pytest.approx(1 / (calls + 1)), calls + 1)]
    probes += 1
    monkeypatch.setattr(console.health, "ready", lambda: False)
    report()
    assert table.totals("console", since=since) == (probes + 2, failed + 1)
    assert read(console, Measure.AVAILABILITY) == [(pytest.approx(1 - (failed + 1) / (probes + 2)), probes + 2)]
    assert len(read(console, Measure.MEMORY_SHARE)) == 1
    assert 0 < read(console, Measure.MEMORY_SHARE)[0][0] <= 1


def test_the_calibration_error_is_that_of_the_labels(console: Engine) -> None:
    shown, right = [], []
    for number in range(12):
        made = console.router.route(TicketDraft(body=f"my parcel number {number} has not come and the courier does not answer"))
        wanted = made.department if number % 3 else next(d.name for d in console.taxonomy.departments() if d.name != made.department)
        console.router.review(Outcome(ticket_id=made.ticket_id, department=wanted, labelled_by="sue"), learn=False)
        shown.append(round(made.confidence, 4))
        right.append(wanted == made.department)
    pool = connect(console.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = true, review_probability = 1"))
    ((value, labels),) = read(console, Measure.CALIBRATION_ERROR)
    assert labels == 12
    assert value == pytest.approx(debiased_calibration_error(shown, right))
    with pool.begin() as connection:
        connection.execute(text("update routing_history set review_probability = case when id % 2 = 0 then 1 else 0.25 end"))
        weights = connection.execute(text("select 1 / review_probability from routing_history order by id")).scalars().all()
    pool.dispose()
    ((value, labels),) = read(console, Measure.CALIBRATION_ERROR)
    assert labels == 9, "six that stand for one each and six for four are worth 30 ** 2 / 102"
    assert value == pytest.approx(debiased_calibration_error(shown, right, weights=np.array(weights, dtype=float)))
    task(console, "gauges")()
    assert math.isnan(gauge(console, "routing_calibration_error_ratio")), "12 labels say too little for a gauge that others alert on"


def test_the_first_scrape_says_unknown_and_the_figures_are_read_with_the_start(build: Callable[..., Engine]) -> None:
    idle = build(working=False)
    for name in ("hit_ratio", "accuracy_ratio", "false_hit_ratio", "calibration_error_ratio", 'alerts_open{severity="critical"}'):
        assert math.isnan(gauge(idle, f"routing_{name}")), name
    engine, began = build(), time.monotonic()
    while math.isnan(gauge(engine, 'routing_alerts_open{severity="critical"}')):
        assert time.monotonic() - began < 12, "they are read every 15 seconds, and once at the start"
        time.sleep(0.05)
    assert gauge(engine, 'routing_alerts_open{severity="critical"}') == 0


def test_a_receiver_that_says_nothing_holds_up_neither_the_rules_nor_the_other_receivers(
    build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a busy machine takes for all else; the receiver hangs up once that is done.
    monkeypatch.setattr(http_post, "SECONDS", 120.0)
    silent, receiver = Silent(), Receiver()
    engine = build({"alert_webhook_url": SecretStr(silent.url), "alertmanager_url": receiver.url})
    watch = engine.watch
    for worker in (watch.upkeep, watch.notices):
        worker.close()
    pool = connect(engine.settings.postgres_url)
    table, now = Services(pool), datetime.now(UTC)
    minute = now.replace(second=0, microsecond=0)
    table.add({(minute, "database"): (4, 6), (minute, "console"): (200, 100)})
    task(engine, "alerts")()
    assert watch.alert_table.open_by_severity() == {"critical": 2}
    probes = table.totals("console", since=minute)[0]
    sender = threading.Thread(target=task(engine, "notices"))
    sender.start()
    while not silent.callers:
        time.sleep(0.01)
    for one in watch.upkeep._tasks:
        one.run()
    assert sender.is_alive(), "it still waits for the receiver that says nothing"
    assert table.totals("console", since=minute)[0] == probes + 1
    assert table.alive(since=now)[0].seen_at >= now
    assert watch.rollups.pending() == 0
    silent.callers[0].close()
    sender.join(30)
    assert {body[0]["labels"]["alertname"] for _, _, body in receiver.posts} == {"database_failures", "availability"}
    assert len(silent.callers) == 1
    (one, other) = watch.alert_table.latest()
    assert {bool(one.undelivered), bool(other.undelivered)} == {True, False}, "the second alert had not been tried there"
    receiver.shutdown()
    receiver.server_close()
    silent.close()
    pool.dispose()


def test_one_instance_at_a_time_evaluates_the_alerts(console: Engine) -> None:
    table = Services(connect(console.settings.postgres_url))
    with table.alone(4711) as mine, table.alone(4711) as theirs, table.alone(4712) as another:
        assert (mine, theirs, another) == (True, False, True)
    with table.alone(4711) as again:
        assert again


def test_an_instance_that_stops_is_forgotten(build: Callable[..., Engine]) -> None:
    engine = build()
    table = Services(connect(engine.settings.postgres_url))
    task(engine, "report")()
    since = datetime.now(UTC) - timedelta(minutes=2)
    assert len(table.alive(since=since)) == 1
    engine.close()
    assert table.alive(since=since) == []


def test_calls_that_an_open_breaker_refuses_count_as_errors_of_the_index() -> None:
    """An index that is away altogether is asked by hardly any call: without the refusals its share of errors would stay small."""
    now = datetime.now(UTC)
    breaker = Breaker("index", stopwatch=lambda: 0.0, clock=lambda: now, chance=random.Random(1))
    other = Breaker("database", stopwatch=lambda: 0.0, clock=lambda: now, chance=random.Random(1))
    counts, stored = ServiceCounts(clock=lambda: now, refusals_of={"index"}), {}

    class Store:
        add = staticmethod(stored.update)

    for one in (breaker, other):
        for _ in range(60):
            one.before()
            one.succeeded()
        for _ in range(40):
            try:
                one.before()
                one.failed(OSError("gone"))
            except ServiceUnavailable:
                continue
    for _ in range(2):
        counts.take({"index": breaker.state(), "database": other.state()})
    counts.flush(Store)
    found = {service: value for (_, service), value in stored.items()}
    assert found == {"index": (100, 40), "database": (63, 3)}


def test_deeds_about_alerts_and_their_rows_in_the_audit_log_stand_or_fall_together(
    console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, rule = console.watch, next(rule for rule in SHIPPED if rule.name == "memory")
    # The upkeep's own look would resolve what it does not see.
    watch.upkeep.close()
    watch.alert_table.apply([Change(kind="opened", rule=rule, subject="m-1", value=0.95, sample=1)], now=datetime.now(UTC), channels=())
    (alert,) = (row for row in watch.alert_table.latest() if row.rule == "memory")

    def deeds() -> list[Callable[[], object]]:
        silence = next((s.id for s in watch.alert_table.silences(datetime.now(UTC))), 0)
        return [
            lambda: watch.alerts.edit("memory", {"threshold": 0.8, "clear": 0.7}, by="kim"),
            lambda: watch.alerts.acknowledge(alert.id, by="kim"),
            lambda: watch.alerts.silence(rule="memory", subject="", length=timedelta(hours=1), by="kim", reason="known"),
            lambda: watch.alerts.end_silence(silence, by="lee"),
        ]

    def state() -> object:
        return (
            watch.alerts.rules(), [(r.id, r.acknowledged_by) for r in watch.alert_table.latest()],
            [(s.id, s.until) for s in watch.alert_table.silences(datetime.now(UTC))], len(console.audit.find(limit=1000)),
        )

    watch.alerts.silence(rule="memory", subject="", length=timedelta(hours=1), by="kim", reason="known")
    before = state()
    with monkeypatch.context() as broken:
        broken.setattr(console.audit._store, "add_to", Broken.add_to)
        for deed in deeds():
            with pytest.raises(ServiceUnavailable):
                deed()
    assert state() == before
    for deed in deeds():
        deed()
    rows = {row.action: row for row in console.audit.find(limit=1000) if row.kind in ("alert", "alert rule", "silence")}
    assert set(rows) == {"alert_rule_changed", "alert_acknowledged", "alert_silenced", "silence_ended"}
    assert rows["alert_rule_changed"].before == {"clear": 0.85, "threshold": 0.9} and rows["alert_rule_changed"].after == {"clear": 0.7, "threshold": 0.8}
    assert (rows["silence_ended"].actor, rows["alert_acknowledged"].actor, rows["alert_acknowledged"].object) == ("lee", "kim", "memory m-1")
    assert console.audit.verify().broken_at is None
    with pytest.raises(NotFound):
        watch.alerts.end_silence(10_000, by="lee")


class Broken:
    """An audit log that cannot be written."""

    @staticmethod
    def add_to(*_: object, **__: object) -> None:
        raise ServiceUnavailable("database", "no")


def test_all_open_alerts_are_counted_however_many_are_listed(console: Engine) -> None:
    console.watch.upkeep.close()
    rule, now = next(rule for rule in SHIPPED if rule.name == "memory"), datetime.now(UTC)
    changes = [Change(kind="opened", rule=rule, subject=f"m-{number}", value=0.95, sample=1) for number in range(30)]
    console.watch.alert_table.apply(changes, now=now, channels=())
    assert len(console.watch.alert_table.latest(limit=20)) == 20
    assert console.watch.alert_table.open_by_severity()["critical"] == 30
    task(console, "gauges")()
    assert gauge(console, 'routing_alerts_open{severity="critical"}') == 30


def test_without_the_database_a_reading_fails_instead_of_looking_well(console: Engine) -> None:
    pool = connect(console.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("alter table instances rename to instances_gone"))
    try:
        with pytest.raises(StatementRefused, match="42P01"):
            read(console, Measure.WAITING)
    finally:
        with pool.begin() as connection:
            connection.execute(text("alter table instances_gone rename to instances"))
        pool.dispose()


def test_what_is_old_is_forgotten_and_what_still_counts_stays(build: Callable[..., Engine]) -> None:
    now = [datetime.now(UTC)]
    engine = build(working=False, clock=lambda: now[0])
    pool = connect(engine.settings.postgres_url)
    table = Services(pool)

    def minutes() -> int:
        with pool.connect() as connection:
            return connection.execute(text(f"select count(*) from rollups where level = {Level.MINUTE.value}")).scalar_one()

    engine.router.route(TicketDraft(body="my parcel is lost"))
    table.add({(now[0], "index"): (9, 0)})
    for task_ in ("roll", "report", "prune"):
        task(engine, task_)()
    assert minutes() > 0
    now[0] += timedelta(minutes=59)
    task(engine, "prune")()
    assert len(table.alive(since=now[0] - timedelta(hours=2))) == 1
    now[0] += timedelta(days=7)
    task(engine, "prune")()
    assert (minutes(), len(table.alive(since=now[0] - timedelta(days=9)))) == (0, 0)
    assert table.totals("index", since=now[0] - timedelta(days=9))[0] >= 9, "a rule may look back seven days"
    now[0] += timedelta(days=1, minutes=2)
    task(engine, "prune")()
    assert table.totals("index", since=now[0] - timedelta(days=10)) == (0, 0)
    pool.dispose()


def test_what_is_set_aside_here_reaches_the_rule_and_facts_that_wait_their_gauge(build: Callable[..., Engine]) -> None:
    engine = build(working=False)
    engine.spool.set_aside.refuse(ticket(id="S-1"), "another ticket with this id is stored")
    engine.router.route(TicketDraft(body="my parcel is lost"))
    task(engine, "report")()
    assert read(engine, Measure.SET_ASIDE) == [(1, 1)]
    task(engine, "gauges")()
    assert gauge(engine, "routing_rollup_pending_facts") == 1
    task(engine, "roll")()
    task(engine, "gauges")()
    assert gauge(engine, "routing_rollup_pending_facts") == 0


def test_from_the_first_real_ticket_on_no_rule_counts_demo_tickets(build: Callable[..., Engine]) -> None:
    engine = build(working=False)
    engine.policies.add(Policy(target_accuracy=0.95), author="kim", reason="a target")
    engine.state.refresh()
    made = [engine.router.route(TicketDraft(body=f"my parcel number {number} has not come", origin=Origin.DEMO)) for number in range(3)]
    for decision in made:
        engine.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="sue"), learn=False)
    pool = connect(engine.settings.postgres_url)
    with pool.begin() as connection:
        live = "(select number from policies where live)"
        connection.execute(text(f"update routing_history set review_wanted = true, review_probability = 1, automation = 'auto', policy = {live}"))
    pool.dispose()
    measures = (Measure.MEAN_SECONDS, Measure.CALIBRATION_ERROR, Measure.SHORTFALL)
    assert [read(engine, measure)[0][1] for measure in measures] == [3, 3, 3]
    engine.router.route(TicketDraft(body="my parcel is lost"))
    assert read(engine, Measure.MEAN_SECONDS)[0][1] == 1
    assert read(engine, Measure.CALIBRATION_ERROR)[0][1] == 0
    assert read(engine, Measure.SHORTFALL) == []


def test_while_another_instance_evaluates_the_rules_this_one_does_not(build: Callable[..., Engine]) -> None:
    engine = build(working=False)
    pool = connect(engine.settings.postgres_url)
    Services(pool).add({(datetime.now(UTC), "database"): (4, 6)})
    with Services(pool).alone(Lock.EVALUATING):
        task(engine, "alerts")()
    assert engine.watch.alert_table.open_by_severity() == {}
    task(engine, "alerts")()
    assert engine.watch.alert_table.open_by_severity() == {"critical": 1}
    pool.dispose()


@pytest.mark.parametrize(("sample", "shown"), [(199, False), (200, True)])
def test_the_gauge_of_the_calibration_needs_as_many_labels_as_its_rule(sample: int, shown: bool) -> None:
    found = figures(lambda *_: [Reading(value=0.1, sample=sample)], datetime.now(UTC), wanted={"calibration_error"})
    assert list(found) == (["calibration_error"] if shown else [])


def test_an_outage_is_silenced_for_as_long_as_the_longest_silence_of_its_own_rule_or_of_everything(build: Callable[..., Engine]) -> None:
    receiver, now = Receiver(), [datetime.now(UTC)]
    engine = build({"alert_webhook_url": SecretStr(receiver.url)}, working=False, clock=lambda: now[0])
    rule = next(rule.name for rule in SHIPPED if rule.measure is Measure.DATABASE_FAILURES)
    for of, subject, hours in (("", "", 8), (rule, "", 1), ("memory", "", 72), (rule, "Billing", 72), ("", "Billing", 72)):
        engine.watch.alerts.silence(rule=of, subject=subject, length=timedelta(hours=hours), by="kim", reason="known")
    task(engine, "report")()
    outage = engine.watch.lookout.outage
    outage.follow(answers=lambda: False, log=engine.log)
    for hours in (0, 2, 7):
        now[0] += timedelta(hours=hours)
        outage.look()
        assert len(receiver.posts) == (hours == 7), "2 hours are within the longer silence, 9 are not"
    receiver.shutdown()
    receiver.server_close()


@pytest.mark.parametrize(("known", "told"), [(Measure.MEMORY_SHARE, 1), (Measure.DATABASE_FAILURES, 0)])
def test_an_outage_is_told_unless_people_know_of_that_very_alert(build: Callable[..., Engine], known: Measure, told: int) -> None:
    receiver, now = Receiver(), [datetime.now(UTC)]
    engine = build({"alert_webhook_url": SecretStr(receiver.url)}, working=False, clock=lambda: now[0])
    rule = next(rule for rule in SHIPPED if rule.measure is known)
    change = Change(kind="opened", rule=rule, subject="", value=0.95, sample=1)
    engine.watch.alert_table.apply([change], now=now[0], channels=engine.watch.notifier.channels)
    task(engine, "notices")()
    assert len(receiver.posts) == 1
    task(engine, "report")()
    outage = engine.watch.lookout.outage
    outage.follow(answers=lambda: False, log=engine.log)
    for _ in range(2):
        outage.look()
        now[0] += timedelta(minutes=1)
    assert ["The database does not answer" in body["text"] for _, _, body in receiver.posts[1:]] == [True] * told
    receiver.shutdown()
    receiver.server_close()
