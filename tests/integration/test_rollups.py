"""The rollups and what is not rolled up yet always add up to the raw rows."""
from __future__ import annotations

import random
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from db import rollups as rollups_module
from db.charts import Charts, pieces
from db.locks import Lock
from db.rollup_columns import KEPT
from db.rollups import Rollups
from db.trained import TrainedModels
from db.users import Users
from engine.figures import Tally
from engine.histograms import EDGES_MS
from engine.timeline import ChartWindow, Level, floor, following

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 17, 14, 37, 25, 123_456, tzinfo=UTC)
METHODS = ("cached", "learned", "rag_llm", "fallback")
_TICKET = """
    insert into tickets (id, body, channel, priority, fingerprint, origin, created_at)
    values (:id, 'x', 'web', 'normal', :id, case when :demo then 'demo' else 'api' end, now())
"""
_DECISION = """
    insert into routing_history (ticket_id, department, confidence, method, created_at, actual_outcome, raw_score, automation, source,
        reason, alternatives, evidence, timings, total_ms, versions, policy, degraded_by, channel, demo, audit_department, review_probability,
        review_wanted)
    values (:id, :department, :confidence, :method, :created_at, :actual, 0.5, :automation, 's', 'r', '[]', '[]', '{}', :total_ms, '{}',
        :policy, cast(:degraded_by as text[]), :channel, :demo, :audit, :probability, :wanted)
"""


def decision(number: int, chance: random.Random, *, at: datetime, **more: object) -> dict[str, object]:
    """The values of one made-up decision."""
    method = chance.choice(METHODS)
    return {
        "id": f"T-{number}", "department": f"D{chance.randrange(4)}", "confidence": round(chance.random(), 4), "method": method,
        "created_at": at, "actual": chance.choice([None, None, "D0", "D1", "D2"]), "automation": chance.choice(["auto", "preselect", "suggest"]),
        "total_ms": 0.1 * 2 ** (20 * chance.random()), "policy": chance.randrange(1, 3), "degraded_by": chance.choice([[], ["cache"]]),
        "channel": chance.choice(["web", "chat"]), "demo": chance.random() < 0.2,
        "audit": chance.choice([None, "D0"]) if method == "cached" else None, "probability": chance.choice([1.0, 0.05, 0.3]),
        "wanted": True, **more,
    }


def store(engine: Engine, *decisions: dict[str, object]) -> None:
    with engine.begin() as connection:
        connection.execute(text(_TICKET), list(decisions))
        connection.execute(text(_DECISION), list(decisions))


def some(engine: Engine, number: int, *, seed: int = 1, span: timedelta = timedelta(days=70), first: int = 0) -> None:
    """`number` decisions, most of them of late, the others spread over `span` before NOW."""
    chance = random.Random(seed)
    times = [NOW - span * chance.random() ** 4 for _ in range(number)]
    # Some labels were given by choice, to tickets that chance had not put in the queue.
    store(engine, *(decision(first + i, chance, at=at, wanted=i % 4 != 0) for i, at in enumerate(times)))


def raw(engine: Engine, window: ChartWindow) -> Tally:
    """The same figures, counted one decision at a time."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("select * from routing_history where created_at >= :start and created_at < :end"),
            {"start": window.start, "end": window.end},
        ).all()
    total = Tally()
    for row in rows:
        if (row.demo and not window.demo) or (window.departments and row.department not in window.departments):
            continue
        if (window.channels and row.channel not in window.channels) or (window.policies and row.policy not in window.policies):
            continue
        one = Tally(
            n=1, hits=row.method == "cached", auto=row.automation == "auto", degraded=bool(row.degraded_by),
            audited=row.audit_department is not None, false_hits=row.audit_department not in (None, row.department),
            total_us=round(row.total_ms * 1000),
        )
        one.latency[sum(edge <= row.total_ms for edge in EDGES_MS)] = 1
        bin_ = min(19, int(row.confidence * 20))
        one.confidence[bin_] = 1
        if row.actual_outcome is not None:
            one.reviewed[bin_], one.correct[bin_] = 1, row.actual_outcome == row.department
            weight = round(1000 / row.review_probability) if row.review_wanted else 0
            sums = [weight, weight * (row.actual_outcome == row.department), weight * weight // 1000]
            one.band_weights[0 if bin_ >= 17 else 1 if bin_ >= 12 else 2] = sums
            if row.method == "cached":
                one.hit_weights[:] = sums
            one = replace(one, weight=sums[0], weight_correct=sums[1], weight_squared=sums[2])
        total = total + one
    return total


def same(left: Tally, right: Tally) -> bool:
    names = (
        "n", "hits", "auto", "degraded", "audited", "false_hits", "total_us", "latency", "confidence", "reviewed", "correct", "weight",
        "weight_correct", "weight_squared", "hit_weights", "band_weights",
    )
    return all((getattr(left, name) == getattr(right, name)).all() if hasattr(getattr(left, name), "all")
               else getattr(left, name) == getattr(right, name) for name in names)


def flows_agree(engine: Engine, charts: Charts, window: ChartWindow) -> bool:
    """Which departments were corrected to which, against the same counted from the raw rows."""
    shown = charts.overview(window, ChartWindow(window.start - timedelta(days=1), window.start), bar=Level.FOUR_HOURS).flows
    with engine.connect() as connection:
        stored = connection.execute(
            text("select department, actual_outcome, count(*) from routing_history where actual_outcome <> department "
                 "and created_at >= :start and created_at < :end group by 1, 2"), {"start": window.start, "end": window.end},
        ).all()
    assert stored
    return {(row.department, row.actual): row.n for row in shown} == {(department, actual): n for department, actual, n in stored}


WINDOWS = [
    ChartWindow(NOW - timedelta(hours=1), NOW + timedelta(minutes=1)),
    ChartWindow(NOW - timedelta(hours=24), NOW),
    ChartWindow(NOW - timedelta(days=7, seconds=11), NOW - timedelta(hours=3)),
    ChartWindow(NOW - timedelta(days=60), NOW - timedelta(days=1, minutes=7), demo=False),
    ChartWindow(NOW - timedelta(days=400), NOW, departments=("D1", "D3"), channels=("chat",), policies=(2,)),
    ChartWindow(NOW - timedelta(days=30), NOW, policies=(2,)),
    ChartWindow(NOW - timedelta(seconds=20), NOW),
]


@pytest.mark.parametrize("window", WINDOWS)
def test_every_window_equals_the_raw_count_before_while_and_after_rolling(database: Engine, window: ChartWindow) -> None:
    charts, rollups = Charts(database, clock=lambda: NOW), Rollups(database, clock=lambda: NOW)
    some(database, 400)
    assert same(charts.totals(window), raw(database, window))
    assert rollups.roll() == 400
    assert same(charts.totals(window), raw(database, window))
    some(database, 200, seed=2, first=400)
    assert same(charts.totals(window), raw(database, window))
    rollups.roll()
    rollups.prune()
    assert same(charts.totals(window), raw(database, window))


def test_a_label_a_change_of_label_and_an_overrule_move_the_figures_at_once(database: Engine) -> None:
    charts, rollups = Charts(database, clock=lambda: NOW), Rollups(database, clock=lambda: NOW)
    window = ChartWindow(NOW - timedelta(days=70), NOW)
    some(database, 200)
    rollups.roll()
    for change in ("actual_outcome = 'D3'", "actual_outcome = department", "overruled_to = 'D2'", "actual_outcome = null",
                   "audit_department = 'D9'"):
        with database.begin() as connection:
            connection.execute(text(f"update routing_history set {change} where id % 3 = 0"))
        assert same(charts.totals(window), raw(database, window)) and flows_agree(database, charts, window)
        if change.startswith("actual_outcome = d"):
            rollups.roll()
            assert flows_agree(database, charts, window)
    rollups.roll()
    assert same(charts.totals(window), raw(database, window)) and flows_agree(database, charts, window)


def test_bars_departments_and_flows_add_up_to_the_totals(database: Engine) -> None:
    charts, rollups = Charts(database, clock=lambda: NOW), Rollups(database, clock=lambda: NOW)
    window = ChartWindow(NOW - timedelta(days=7), NOW)
    some(database, 300)
    rollups.roll()
    some(database, 100, seed=3, first=300)
    seen = charts.overview(window, ChartWindow(NOW - timedelta(days=14), NOW - timedelta(days=7)), bar=Level.FOUR_HOURS)
    assert same(seen.now, raw(database, window))
    assert same(sum((t for _, _, t in seen.departments), start=Tally()), seen.now)
    assert same(seen.before, raw(database, ChartWindow(NOW - timedelta(days=14), NOW - timedelta(days=7))))
    for start in {bar for bar, _, _ in seen.bars}:
        bar = ChartWindow(max(start, window.start), min(start + timedelta(hours=4), window.end))
        assert same(sum((t for at, _, t in seen.bars if at == start), start=Tally()), raw(database, bar))
    assert [bar for bar, _, _ in seen.bars] == sorted(bar for bar, _, _ in seen.bars)
    assert flows_agree(database, charts, window)
    rollups.roll()
    assert flows_agree(database, charts, window)


def test_late_commits_several_writers_and_several_rollers_lose_nothing(database: Engine) -> None:
    """Writers hold their transactions open for a while; rollers run meanwhile; a reader compares within one snapshot."""
    now = datetime.now(UTC)
    window = ChartWindow(now - timedelta(days=1), now + timedelta(days=1))
    charts = Charts(database)
    done = threading.Event()
    failures: list[str] = []

    def write(number: int) -> None:
        chance = random.Random(number)
        for batch in range(12):
            with database.begin() as connection:
                ids = [number * 1000 + batch * 10 + i for i in range(5)]
                rows = [decision(i, chance, at=now - timedelta(hours=20 * chance.random())) for i in ids]
                connection.execute(text(_TICKET), rows)
                connection.execute(text(_DECISION), rows)
                connection.execute(text("select pg_sleep(:s)"), {"s": chance.random() * 0.02})
                if batch % 3 == 2:
                    connection.execute(text("update routing_history set actual_outcome = 'D1' where ticket_id = :id"), {"id": rows[0]["id"]})
                if batch % 5 == 4:
                    connection.rollback()

    def roll() -> None:
        rollups = Rollups(database)
        while not done.is_set():
            rollups.roll()

    def compare() -> None:
        while not done.is_set():
            with charts._snapshot() as connection:
                counted = charts._grouped(connection, window, "method")
                stored = connection.execute(text("select count(*), count(actual_outcome) from routing_history")).one()
            seen = (sum(row.n for row in counted), sum(sum(row._mapping[f"r{i:02}"] for i in range(20)) for row in counted))
            if seen != tuple(stored):
                failures.append(f"{seen} on the dashboard, {tuple(stored)} stored")

    writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    others = [threading.Thread(target=roll) for _ in range(2)] + [threading.Thread(target=compare)]
    for thread in writers + others:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    assert failures == []
    Rollups(database).roll()
    assert Rollups(database).pending() == 0
    assert same(charts.totals(window), raw(database, window))
    assert charts.totals(window).n == 4 * 10 * 5


def test_a_rebuild_gives_what_rolling_gave_and_loses_no_later_fact(database: Engine) -> None:
    rollups, charts = Rollups(database, clock=lambda: NOW), Charts(database, clock=lambda: NOW)
    window = ChartWindow(NOW - timedelta(days=400), NOW)
    some(database, 500)
    rollups.roll()
    queries = [text("select * from rollups order by 1, 2, 3, 4, 5, 6, 7, 8"), text("select * from rollup_flows order by 1, 2, 3, 4, 5, 6, 7, 8")]
    with database.connect() as connection:
        before = [connection.execute(query).all() for query in queries]
    with database.begin() as connection:
        connection.execute(text("update rollups set n = 0, l03 = 9 where level > 2"))
    some(database, 50, seed=5, first=500)
    assert rollups.rebuild() == 550
    assert same(charts.totals(window), raw(database, window))
    with database.begin() as connection:
        connection.execute(text("delete from routing_history where ticket_id in (select 'T-' || n from generate_series(500, 549) n)"))
        connection.execute(text("delete from rollups"))
        connection.execute(text("update rollup_flows set n = n + 1"))
    rollups.rebuild()
    with database.connect() as connection:
        assert [connection.execute(query).all() for query in queries] == before


def test_facts_that_are_more_than_a_batch_are_all_rolled_and_nobody_rolls_beside_another(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups_module, "_ROLL", rollups_module._ROLL.replace(f"limit {rollups_module.BATCH}", "limit 30"))
    monkeypatch.setattr(rollups_module, "BATCH", 30)
    rollups, charts = Rollups(database, clock=lambda: NOW), Charts(database, clock=lambda: NOW)
    window = ChartWindow(NOW - timedelta(days=70), NOW)
    some(database, 100)
    with database.begin() as other:
        other.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.ROLLING})
        assert rollups.roll() is None and rollups.pending() == 100
    assert rollups.roll() == 100 and rollups.pending() == 0
    assert same(charts.totals(window), raw(database, window)) and flows_agree(database, charts, window)


def test_fine_buckets_go_when_their_time_is_over_and_the_months_stay(database: Engine) -> None:
    some(database, 200)
    Rollups(database, clock=lambda: NOW).roll()

    def oldest() -> dict[tuple[str, int], datetime]:
        with database.connect() as connection:
            return {
                (table, level): at for table in ("rollups", "rollup_flows")
                for level, at in connection.execute(text(f"select level, min(bucket) from {table} group by 1"))
            }

    months = {table: oldest()[table, Level.MONTH] for table in ("rollups", "rollup_flows")}
    later = NOW + timedelta(days=2)
    assert Rollups(database, clock=lambda: later).prune() > 0
    found = oldest()
    for (table, level), at in found.items():
        kept = KEPT.get(Level(level))
        assert kept is None or at >= later - kept, (table, level)
    assert {table: found[table, Level.MONTH] for table in months} == months
    assert {level for _, level in found} >= {Level.MINUTE, Level.HALF_HOUR, Level.MONTH}, "only what is over goes"
    assert Rollups(database, clock=lambda: later).prune() == 0


def test_a_rebuild_that_waits_for_a_roller_sees_what_it_did(database: Engine) -> None:
    rollups, window = Rollups(database, clock=lambda: NOW), ChartWindow(NOW - timedelta(days=400), NOW)
    some(database, 60)
    with database.connect() as other:
        other.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.ROLLING})
        result: list[int] = []
        waiting = threading.Thread(target=lambda: result.append(rollups.rebuild()))
        waiting.start()
        with database.connect() as watcher:
            while not watcher.execute(text("select count(*) from pg_locks where locktype = 'advisory' and not granted")).scalar_one():
                watcher.rollback()
        # The other roller takes the facts away while the rebuild waits for it.
        other.execute(text("delete from rollup_pending"))
        other.commit()
    waiting.join(60)
    some(database, 5, first=60)
    assert result == [60]
    assert rollups.rebuild() == 65
    assert Charts(database, clock=lambda: NOW).totals(window).n == raw(database, window).n


def test_who_disables_a_user_does_not_wait_for_a_rebuild_or_a_fit(database: Engine) -> None:
    users, noted = Users(database), lambda *_: None
    values = {"name": "ann", "role": "agent", "password_hash": "x", "created_at": NOW}
    row = users.add(values, noted=noted)
    with database.connect() as other:
        for lock in set(Lock) - {Lock.ADMINS}:
            other.execute(text("select pg_advisory_xact_lock(:key)"), {"key": lock})
        assert users.change(row.id, {"disabled_at": NOW}, noted=noted).disabled_at == NOW


def test_numbers_of_locks_are_written_in_one_place_and_no_two_are_the_same() -> None:
    assert len({lock.value for lock in Lock.__members__.values()}) == len(Lock.__members__) >= 5
    for path in [*(ROOT / "db").glob("*.py"), *(ROOT / "engine").rglob("*.py")]:
        source = path.read_text()
        if path.name != "locks.py":
            assert not re.search(r"\b7_?203_?\d{3}\b", source), path
        for key in re.findall(r"advisory\w*_lock\(:key\)\"\), \{\"key\": ([^}]+)\}", source):
            assert key.startswith("Lock.") or key == "key", path


def test_who_fits_a_model_may_think_for_minutes(database: Engine) -> None:
    impatient = create_engine(database.url, connect_args={"options": "-c idle_in_transaction_session_timeout=1000"})
    with TrainedModels(impatient).alone() as mine, TrainedModels(database).alone() as theirs:
        assert (mine, theirs) == (True, False)
        with database.connect() as watcher:
            watcher.execute(text("select pg_sleep(3)"))
            held = watcher.execute(text("select count(*) from pg_locks where locktype = 'advisory' and objid = :key"), {"key": Lock.FITTING})
            assert held.scalar_one() == 1
    impatient.dispose()


def test_deleting_old_decisions_keeps_their_statistics_even_through_a_rebuild(database: Engine) -> None:
    rollups, charts = Rollups(database, clock=lambda: NOW), Charts(database, clock=lambda: NOW)
    some(database, 300, span=timedelta(days=300))
    rollups.roll()
    window = ChartWindow(datetime(2025, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
    before = charts.totals(window)
    with database.begin() as connection:
        connection.execute(text("delete from routing_history where created_at < :t"), {"t": NOW - timedelta(days=40)})
    assert same(charts.totals(window), before)
    rollups.rebuild()
    assert same(charts.totals(window), before)


def test_a_window_is_cut_without_gap_or_overlap() -> None:
    chance = random.Random(4)
    for _ in range(300):
        start = NOW - timedelta(seconds=chance.random() * 10 ** chance.randrange(2, 8))
        end = start + timedelta(seconds=chance.random() * 10 ** chance.randrange(0, 8))
        cut = pieces(start, end, now=NOW)
        assert cut[0].start == start and cut[-1].end == end
        assert all(left.end == right.start for left, right in zip(cut, cut[1:], strict=False))
        for piece in cut:
            if piece.level is not None:
                assert floor(piece.level, piece.start) == piece.start and floor(piece.level, piece.end) == piece.end
    assert pieces(NOW, NOW, now=NOW) == []


def test_months_follow_each_other() -> None:
    assert following(Level.MONTH, datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
