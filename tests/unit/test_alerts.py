"""Every shipped rule goes from quiet to firing to resolved on a moved clock, and people are told once."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import numpy as np
import pytest
from sqlalchemy import Engine, text

from db.alerts import Alerts as AlertTable
from db.services import KEPT
from engine.alert_rules import SHARES, SHIPPED, Measure, Rule, Severity
from engine.alerts import Alerts, Change, OpenAlert, Reading, judge
from engine.drift import histogram_drift
from engine.errors import Conflict, NotFound, PolicyRejected

START = datetime(2026, 3, 17, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Quiet:
    """Hears everything and says nothing."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.fields: list[dict[str, object]] = []

    def decision(self, *_: object, **__: object) -> None: ...

    def event(self, name: str, **fields: object) -> None:
        self.events.append(name)
        self.fields.append(fields)

    def record(self, *_: object, **__: object) -> None: ...


def unnoted(*_: object) -> None:
    """A change that nobody writes down."""


class Scene:
    """A clock that is moved by hand, one reading for everything, and the real store."""

    def __init__(self, database: Engine, measure: Measure) -> None:
        self.now = START
        self.readings: list[Reading] = []
        self.log = Quiet()
        self.table = AlertTable(database)
        self.alerts = Alerts(
            store=self.table, measure=lambda rule, _: self.readings if rule.measure is measure else [], audit=self.log, log=self.log, clock=lambda: self.now,
            channels=("webhook", "mail"),
        )

    def look(self, value: float, sample: int = 10_000, *, after: timedelta = MINUTE, subject: str = "") -> list[tuple[str, str]]:
        self.now += after
        self.readings = [Reading(value=value, sample=sample, subject=subject)]
        return [(change.kind, change.rule.name) for change in self.alerts.evaluate()]

    def told(self) -> list[tuple[str, str, str]]:
        """What a sender would send now: rule, event and channel."""
        sent = []
        while (row := self.table.claim(self.now)) is not None:
            sent.append((row.rule, row.event, row.channel))
            self.table.sent(row.notice_id, now=self.now)
        return sent


def values(rule: Rule) -> tuple[float, float, float]:
    """A value that is wrong, one between threshold and clear (or at both), and one that is right."""
    step = 0.001 if rule.measure in SHARES else 0.5 if rule.threshold >= 1 or rule.clear >= 1 else 0.01
    wrong = rule.threshold + (step if rule.above else -step)
    return wrong, rule.threshold, rule.clear


@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: rule.name)
def test_every_shipped_rule_opens_stays_resolves_and_tells_once(database: Engine, rule: Rule) -> None:
    scene = Scene(database, rule.measure)
    wrong, edge, right = values(rule)
    opened, resolved = ("opened", rule.name), ("resolved", rule.name)
    assert opened not in scene.look(right)
    assert opened not in scene.look(edge), "exactly at the threshold nothing is wrong"
    if rule.minimum:
        assert opened not in scene.look(wrong, rule.minimum - 1), "a small sample is no evidence"
    seen = scene.look(wrong)
    if rule.hold:
        assert opened not in seen, "it must be wrong for long enough"
        assert opened not in scene.look(wrong, after=rule.hold - 2 * MINUTE if rule.hold > 2 * MINUTE else MINUTE / 2)
        seen = scene.look(wrong, after=rule.hold)
    assert opened in seen
    assert sorted(t for t in scene.told() if t[0] == rule.name) == [(rule.name, "opened", "mail"), (rule.name, "opened", "webhook")]
    for _ in range(3):
        assert opened not in scene.look(wrong), "one open alert per rule and subject"
    if edge != right:
        assert resolved not in scene.look(edge), "between threshold and clear it stays"
    assert [t for t in scene.told() if t[0] == rule.name] == []
    assert resolved in scene.look(right)
    assert sorted(t for t in scene.told() if t[0] == rule.name) == [(rule.name, "resolved", "mail"), (rule.name, "resolved", "webhook")]
    assert resolved not in scene.look(right)
    assert scene.told() == []


def test_a_break_starts_the_hold_anew(database: Engine) -> None:
    scene = Scene(database, Measure.HIT_RATE)
    scene.look(0.2)
    scene.look(0.2, after=9 * MINUTE)
    scene.look(0.5)
    assert scene.look(0.2) == []
    assert scene.look(0.2, after=9 * MINUTE) == []
    assert scene.look(0.2, after=MINUTE) == [("opened", "hit_rate_warning")]


def test_what_was_not_read_meanwhile_begins_anew(database: Engine) -> None:
    scene = Scene(database, Measure.HIT_RATE)
    scene.look(0.2)
    scene.readings = []
    assert scene.alerts.evaluate() == []
    assert scene.look(0.2, after=20 * MINUTE) == []
    assert scene.look(0.2, after=10 * MINUTE) == [("opened", "hit_rate_warning")]


def test_each_rule_waits_for_its_own_condition(database: Engine) -> None:
    """Low for nine minutes, then very low: that it was low before does not make it very low for long enough."""
    scene = Scene(database, Measure.HIT_RATE)
    scene.look(0.2)
    assert scene.look(0.1, after=9 * MINUTE) == []
    assert scene.look(0.1, after=MINUTE) == [("opened", "hit_rate_warning")]
    assert scene.look(0.1, after=4 * MINUTE) == [("opened", "hit_rate_critical")]


def test_subjects_have_alerts_of_their_own_and_resolve_when_they_are_gone(database: Engine) -> None:
    scene = Scene(database, Measure.ACCURACY)
    scene.readings = [Reading(value=0.5, sample=100, subject="Sales"), Reading(value=0.5, sample=100, subject="Billing")]
    assert [c.subject for c in scene.alerts.evaluate()] == ["Sales", "Billing"]
    scene.readings = [Reading(value=0.5, sample=100, subject="Sales")]
    assert [(c.kind, c.subject) for c in scene.alerts.evaluate()] == [("resolved", "Billing")]


def test_without_evidence_any_more_an_alert_resolves(database: Engine) -> None:
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    assert scene.look(0.5) == [("opened", "false_hits")]
    assert scene.look(0.5, 3) == [("resolved", "false_hits")]


def test_what_opens_on_a_strict_proof_lasts_on_a_weaker_one_and_does_not_come_and_go_with_every_label(database: Engine) -> None:
    scene = Scene(database, Measure.SHORTFALL)

    def look(value: float, chance: float) -> list[str]:
        scene.readings = [Reading(value=value, sample=400, chance=chance, lasting=chance / 2)]
        return [change.kind for change in scene.alerts.evaluate()]

    assert look(0.03, 0.04) == []
    assert look(0.05, 0.04) == ["opened"]
    assert look(0.03, 0.04) == [], "open, and still more than half of what chance gives"
    assert look(0.02, 0.04) == ["resolved"]
    assert look(0.03, 0.04) == []


def test_instances_that_store_changes_of_the_same_alerts_take_them_in_one_order(database: Engine) -> None:
    """Else each of two could hold what the other one waits for."""
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    scene.readings = [Reading(value=0.5, sample=10_000, subject=subject) for subject in ("Billing", "Sales")]
    scene.alerts.evaluate()
    numbers = {row.subject: row.id for row in scene.table.latest()}
    rule = next(rule for rule in SHIPPED if rule.name == "false_hits")
    over = [Change(kind="resolved", rule=rule, subject=subject, alert_id=numbers[subject]) for subject in ("Sales", "Billing")]
    locked = text("select id from alerts where id = :id for update nowait")
    with ThreadPoolExecutor(1) as other:
        with database.begin() as held:
            held.execute(locked, {"id": numbers["Billing"]})
            stored = other.submit(scene.table.apply, over, now=START, channels=())
            while not waiting(database):
                assert not stored.done()
            with database.begin() as free:
                assert free.execute(locked, {"id": numbers["Sales"]}).scalar_one(), "what comes later is not held yet"
        stored.result()
    assert {row.subject: row.resolved_at for row in scene.table.latest()} == {"Billing": START, "Sales": START}


def waiting(database: Engine) -> bool:
    """True while somebody waits for a row in this database."""
    with database.connect() as connection:
        return bool(connection.execute(text(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )).scalar_one())


def test_a_silenced_alert_tells_nobody_until_the_silence_ends(database: Engine) -> None:
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    scene.table.silence(rule="false_hits", subject="", until=START + 10 * MINUTE, by="kim", reason="known", noted=unnoted)
    scene.look(0.5)
    assert scene.told() == []
    assert [row.resolved_at for row in scene.table.latest()] == [None], "it is open all the same"
    scene.look(0.5, after=10 * MINUTE)
    assert len(scene.told()) == 2


def test_silencing_the_whole_leaves_the_departments_heard(database: Engine) -> None:
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    scene.table.silence(rule="false_hits", subject="", until=START + timedelta(hours=1), by="kim", reason="known", noted=unnoted)
    scene.look(0.5)
    assert scene.told() == []
    scene.look(0.5, subject="Sales")
    assert len(scene.told()) == 2
    assert {row.subject: row.silenced for row in scene.table.latest() if row.resolved_at is None} == {"Sales": False}


def test_silencing_everything_keeps_the_departments_quiet_as_well(database: Engine) -> None:
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    scene.table.silence(rule="", subject="", until=START + timedelta(hours=1), by="kim", reason="maintenance", noted=unnoted)
    scene.look(0.5, subject="Sales")
    assert scene.told() == []
    scene.look(0.5, subject="Sales", after=timedelta(hours=1))
    assert len(scene.told()) == 2


def test_an_alert_that_came_and_went_in_silence_is_never_told(database: Engine) -> None:
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    scene.table.silence(rule="", subject="", until=START + timedelta(hours=1), by="kim", reason="maintenance", noted=unnoted)
    scene.look(0.5)
    scene.look(0.0)
    scene.now += timedelta(hours=2)
    assert scene.told() == []


def test_open_alerts_are_listed_first_and_the_critical_ones_however_many_warnings_came_after_them(database: Engine) -> None:
    table, (critical, warning) = AlertTable(database), (next(rule for rule in SHIPPED if rule.severity is severity) for severity in Severity)

    def happens(kind: str, rule: Rule, subject: str, minute: int, **more: int) -> None:
        table.apply([Change(kind=kind, rule=rule, subject=subject, value=0.5, **more)], now=START + minute * MINUTE, channels=())

    for minute, (rule, subject) in enumerate([(critical, "old"), (warning, "Sales"), (warning, "Returns"), (critical, "over"), (warning, "new")]):
        happens("opened", rule, subject, minute)
    happens("resolved", critical, "over", 9, alert_id=next(row.id for row in table.latest() if row.subject == "over"))
    assert [row.subject for row in table.latest()] == ["old", "new", "Returns", "Sales", "over"]
    assert [row.subject for row in table.latest(limit=2)] == ["old", "new"]


def test_acknowledging_is_kept_with_who_and_when(database: Engine) -> None:
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    scene.look(0.5)
    (row,) = scene.table.latest()
    scene.table.acknowledge(row.id, by="kim", now=scene.now, noted=unnoted)
    scene.table.acknowledge(row.id, by="lee", now=scene.now + MINUTE, noted=unnoted)
    (row,) = scene.table.latest()
    assert (row.acknowledged_by, row.acknowledged_at) == ("kim", scene.now)
    with pytest.raises(NotFound):
        scene.table.acknowledge(row.id + 1, by="kim", now=scene.now, noted=unnoted)


def test_nobody_looks_after_an_alert_that_is_over(database: Engine) -> None:
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    scene.look(0.5)
    scene.look(0.0)
    (row,) = scene.table.latest()
    scene.table.acknowledge(row.id, by="kim", now=scene.now, noted=unnoted)
    assert (row.resolved_at, scene.table.latest()[0].acknowledged_by) == (scene.now, None)


def test_a_managers_change_of_a_rule_holds_and_nonsense_is_refused(database: Engine) -> None:
    scene = Scene(database, Measure.HIT_RATE)
    scene.alerts.edit("hit_rate_warning", {"threshold": 0.4, "clear": 0.45, "hold_minutes": 0, "minimum": 10}, by="kim")
    assert scene.look(0.35, 20) == [("opened", "hit_rate_warning")]
    scene.alerts.edit("hit_rate_warning", {"enabled": False}, by="kim")
    assert scene.look(0.35, 20) == [("resolved", "hit_rate_warning")]
    for nonsense in ({"threshold": "much"}, {"clear": 0.1}, {"threshold": 1.5, "clear": 1.6}, {"minimum": -1}, {"window_minutes": 0},
                     {"threshold": float("nan")}, {"severity": "loud"}, {"hold_minutes": 1e12}):
        with pytest.raises(PolicyRejected):
            scene.alerts.edit("hit_rate_warning", nonsense, by="kim")
    with pytest.raises(NotFound):
        scene.alerts.edit("nothing", {}, by="kim")


def test_of_two_changes_of_a_rule_at_the_same_moment_one_is_refused_and_undoes_nothing(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, both, changes = Scene(database, Measure.HIT_RATE), Barrier(2), {"kim": {"severity": "critical"}, "lee": {"minimum": 77}}
    read = scene.table.edits

    def edit(who: str) -> str:
        try:
            scene.alerts.edit("hit_rate_warning", changes[who], by=who)
        except Conflict as error:
            return str(error)
        return ""

    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(scene.table, "edits", lambda: (read(), both.wait(60))[0])
        said = dict(zip(changes, pool.map(edit, changes), strict=True))
    (first,) = [who for who, refusal in said.items() if not refusal]
    (second,) = said.keys() - {first}
    assert said[second].startswith(f"{first} has changed this rule at the same moment")
    assert edit(second) == ""
    rule = next(rule for rule in scene.alerts.rules() if rule.name == "hit_rate_warning")
    assert (rule.severity, rule.minimum) == (Severity.CRITICAL, 77)


def test_no_rule_looks_back_further_than_what_it_counts_is_kept() -> None:
    for rule in SHIPPED:
        kept = KEPT if rule.measure in {Measure.AVAILABILITY, Measure.DATABASE_FAILURES, Measure.INDEX_ERROR_SHARE} else timedelta(days=91)
        assert rule.window <= rule.longest_window < kept
        longest = rule.longest_window / timedelta(minutes=1)
        assert rule.edited({"window_minutes": longest}).window == rule.longest_window
        with pytest.raises(PolicyRejected, match=f"1 minute to {rule.longest_window.days} days"):
            rule.edited({"window_minutes": longest + 1})


def test_a_stored_change_that_looks_back_further_than_is_allowed_by_now_keeps_all_else(database: Engine) -> None:
    scene = Scene(database, Measure.AVAILABILITY)
    edit = {"window_minutes": 30 * 1440.0, "threshold": 0.95, "clear": 0.97, "severity": "warning", "enabled": False}
    scene.table.save_edit("availability", edit, by="an earlier version", now=START, noted=unnoted)
    rule = next(rule for rule in scene.alerts.rules() if rule.name == "availability")
    assert (rule.window, rule.threshold, rule.severity, rule.enabled) == (timedelta(days=7), 0.95, Severity.WARNING, False)


def test_a_stored_change_that_is_refused_by_now_leaves_the_shipped_rule(database: Engine) -> None:
    scene = Scene(database, Measure.HIT_RATE)
    scene.table.save_edit("hit_rate_warning", {"threshold": 40, "clear": 45}, by="an earlier version", now=START, noted=unnoted)
    assert scene.alerts.rules() == list(SHIPPED)


def test_a_changed_severity_and_threshold_reach_an_alert_that_is_open(database: Engine) -> None:
    scene = Scene(database, Measure.FALSE_HIT_RATE)
    scene.look(0.5)
    scene.alerts.edit("false_hits", {"severity": "critical", "threshold": 0.02}, by="kim")
    assert scene.look(0.5) == []
    (row,) = scene.table.latest()
    assert (row.severity, row.threshold) == ("critical", 0.02)
    assert scene.table.open_by_severity() == {"critical": 1}
    assert {scene.table.claim(scene.now).severity for _ in range(2)} == {"critical"}


def test_what_chance_explains_opens_nothing_and_lets_an_open_alert_go() -> None:
    rule = next(rule for rule in SHIPPED if rule.name == "drift_confidence").edited({"hold_minutes": 0})
    opened = {"": OpenAlert(id=1, rule=rule.name, subject="")}

    def kinds(value: float, chance: float, opened: dict[str, OpenAlert]) -> list[str]:
        readings = [Reading(value=value, sample=300, chance=chance)]
        return [change.kind for change in judge(rule, readings, opened=opened, pending={}, now=START)]

    assert kinds(0.22, 0.24, {}) == [], "above the threshold, but chance gives as much"
    assert kinds(0.15, 0.05, {}) == [], "more than chance, but under the threshold"
    assert kinds(0.25, 0.24, {}) == ["opened"]
    assert kinds(0.25, 0.24, opened) == ["seen"]
    assert kinds(0.22, 0.24, opened) == ["resolved"]


def test_samples_of_the_same_mix_hardly_ever_open_a_drift_rule() -> None:
    """At the smallest sample the threshold alone would be passed by chance again and again."""
    rule = next(rule for rule in SHIPPED if rule.name == "drift_confidence").edited({"hold_minutes": 0})
    rng, over, opened = np.random.default_rng(7), 0, 0
    for _ in range(2000):
        found = histogram_drift(*(rng.multinomial(rule.minimum, np.full(20, 0.05)) for _ in range(2)))
        over += rule.breached(found.index)
        reading = Reading(value=found.index, sample=rule.minimum, chance=found.chance)
        opened += bool(judge(rule, [reading], opened={}, pending={}, now=START))
    assert over > 60 and opened <= 30


def test_two_instances_that_judge_at_once_open_one_alert(database: Engine) -> None:
    one, two = Scene(database, Measure.FALSE_HIT_RATE), Scene(database, Measure.FALSE_HIT_RATE)
    changes = [scene.alerts for scene in (one, two)]
    rule = next(rule for rule in changes[0].rules() if rule.name == "false_hits")
    both = judge(rule, [Reading(value=0.5, sample=500)], opened={}, pending={}, now=START)
    one.table.apply(both, now=START, channels=("mail",))
    two.table.apply(both, now=START, channels=("mail",))
    assert len(one.table.latest()) == 1
    assert len(one.told()) == 1


def test_the_shipped_rules_are_those_that_were_promised() -> None:
    assert {(r.severity, r.measure, r.above, r.threshold) for r in SHIPPED} == {
        (Severity.CRITICAL, Measure.HIT_RATE, False, 0.15), (Severity.CRITICAL, Measure.MEAN_SECONDS, True, 10),
        (Severity.CRITICAL, Measure.DATABASE_FAILURES, True, 0), (Severity.CRITICAL, Measure.INDEX_ERROR_SHARE, True, 0.05),
        (Severity.CRITICAL, Measure.MEMORY_SHARE, True, 0.90), (Severity.CRITICAL, Measure.AVAILABILITY, False, 0.99),
        (Severity.WARNING, Measure.HIT_RATE, False, 0.25), (Severity.WARNING, Measure.MEAN_SECONDS, True, 5),
        (Severity.WARNING, Measure.LOW_SHARE, True, 0.30), (Severity.WARNING, Measure.ACCURACY, False, 0.85),
        (Severity.WARNING, Measure.FALSE_HIT_RATE, True, 0.01), (Severity.WARNING, Measure.HIT_RATE, True, 0.98),
        (Severity.WARNING, Measure.WAITING, True, 100), (Severity.WARNING, Measure.SPOOLED, True, 0),
        (Severity.WARNING, Measure.SET_ASIDE, True, 0), (Severity.WARNING, Measure.WITHOUT_WORKER, True, 0),
        (Severity.WARNING, Measure.DRIFT_CONFIDENCE, True, 0.2), (Severity.WARNING, Measure.DRIFT_DEPARTMENT, True, 0.2),
        (Severity.WARNING, Measure.CALIBRATION_ERROR, True, 0.05), (Severity.WARNING, Measure.SHORTFALL, True, 0),
    }
    for rule in SHIPPED:
        assert rule.edited(rule.config()) == rule
        assert not rule.breached(rule.clear) and rule.cleared(rule.clear)


@pytest.mark.parametrize(
    ("name", "value", "changes", "message"),
    [
        ("accuracy", 0.834, {}, "Accuracy below target: 83.4% in 7 days, below 85.0%, n = 1,234"),
        ("accuracy", 0.834, {"window_minutes": 1440}, "Accuracy below target: 83.4% in 1 day, below 85.0%, n = 1,234"),
        ("hit_rate_warning", 0.1, {"window_minutes": 90}, "Hit rate low: 10.0% in 90 minutes, below 25.0%, n = 1,234"),
        ("hit_rate_warning", 0.1, {"window_minutes": 1.5}, "Hit rate low: 10.0% in 1.5 minutes, below 25.0%, n = 1,234"),
        ("processing_warning", 6.0, {"window_minutes": 120}, "Processing slow: 6.00 s in 2 hours, above 5.00 s, n = 1,234"),
        ("tickets_waiting", 200, {}, "Tickets wait to be routed: 200, above 100, n = 1,234"),
        ("memory", 0.95, {"hold_minutes": 0}, "Memory nearly full: 95.0%, above 90.0%, n = 1,234"),
    ],
)
def test_an_alert_says_over_what_time_its_figure_is_and_on_how_much_it_rests(
    name: str, value: float, changes: dict[str, float], message: str
) -> None:
    rule = next(rule for rule in SHIPPED if rule.name == name).edited(changes)
    [change] = judge(rule, [Reading(value=value, sample=1234)], opened={}, pending={}, now=START)
    assert change.message == message


def test_an_alert_that_stays_open_on_the_right_side_of_its_threshold_says_when_it_resolves() -> None:
    rule = next(rule for rule in SHIPPED if rule.name == "accuracy")
    opened = {"": OpenAlert(id=1, rule=rule.name, subject="")}
    [change] = judge(rule, [Reading(value=0.861, sample=1234)], opened=opened, pending={}, now=START)
    assert change.kind == "seen"
    assert change.message == "Accuracy below target: 86.1% in 7 days, was below 85.0%, resolves at 87.0%, n = 1,234"


def test_a_rule_without_change_says_nothing() -> None:
    rule = SHIPPED[0]
    assert judge(rule, [Reading(value=0.9, sample=1000)], opened={}, pending={}, now=START) == []
    assert [c.kind for c in judge(rule, [], opened={"": OpenAlert(id=1, rule=rule.name, subject="")}, pending={}, now=START)] == ["resolved"]
