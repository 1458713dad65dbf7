"""Each measure behind an alert rule gives the number it promises, for rows made by hand."""
from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from db.alerts import Alerts
from db.charts import Charts
from db.policies import Policies
from db.reviewed import Reviewed
from db.rollups import Rollups
from db.services import Services
from db.taxonomy import Taxonomy
from engine.alert_rules import SHIPPED, Measure, Rule
from engine.alerts import Reading
from engine.domain import Department, Policy, Thresholds
from engine.drift import chance_index, population_stability_index
from engine.kept import LASTS, OPENS, Kept
from engine.notice import Notice, Told
from engine.readings import Readings
from engine.timeline import ChartWindow
from tests.integration.test_rollups import NOW, decision, store

_CHANCE = random.Random(1)
_PLAIN = {"actual": None, "audit": None, "probability": 1.0, "demo": False, "degraded_by": [], "total_ms": 10.0, "confidence": 0.9}


class Scene:
    """Rows and a clock; `read` is what the rule that looks at a measure is given."""

    def __init__(self, database: Engine) -> None:
        self.database = database
        self._number = 0
        self.services = Services(database)
        self.rollups = Rollups(database, clock=lambda: NOW)
        self.waiting = 0
        self.demo = False
        self.asked_since: datetime | None = None
        self.charts = Charts(database, clock=lambda: NOW)
        self.readings = Readings(
            figures=self.charts, services=self.services, waiting=lambda: self.waiting, demo=lambda: self.demo,
            calibration=self._calibration, covered=Alerts(database).covered,
            kept=lambda since: Reviewed(database).kept(demo=self.demo, since=since), changed=Taxonomy(database).changed,
        )

    def _calibration(self, since: datetime) -> tuple[float, int]:
        self.asked_since = since
        return 0.07, 321

    def add(self, count: int, *, ago: timedelta = timedelta(minutes=5), **values: object) -> None:
        rows = [decision(self._number + i, _CHANCE, at=NOW - ago, **{**_PLAIN, "method": "learned", **values}) for i in range(count)]
        self._number += count
        store(self.database, *rows)
        with self.database.begin() as connection:
            connection.execute(text("update routing_history set reviewed_at = created_at where actual_outcome is not null and reviewed_at is null"))

    def policy(self, **fields: object) -> int:
        """Put a policy in force; its number."""
        return Policies(self.database).add(Policy(**fields), author="kim", reason="try").number

    def read(self, measure: Measure) -> list[Reading]:
        return list(self.readings(rule_of(measure), NOW))


def rule_of(measure: Measure) -> Rule:
    return next(rule for rule in SHIPPED if rule.measure is measure)


@pytest.fixture
def scene(database: Engine) -> Scene:
    return Scene(database)


def close(readings: list[Reading], *wanted: tuple[float, int] | tuple[float, int, str]) -> bool:
    expected = [(*one, "") if len(one) == 2 else one for one in wanted]
    return [(pytest.approx(v, abs=1e-9), n, s) for v, n, s in expected] == [(r.value, r.sample, r.subject) for r in readings]


def test_the_hit_rate_is_cached_over_all_within_the_window(scene: Scene) -> None:
    assert scene.read(Measure.HIT_RATE) == []
    scene.add(3, method="cached")
    scene.add(9)
    scene.add(50, method="cached", ago=timedelta(minutes=75))
    scene.add(50, method="cached", demo=True)
    assert close(scene.read(Measure.HIT_RATE), (0.25, 12))
    scene.rollups.roll()
    assert close(scene.read(Measure.HIT_RATE), (0.25, 12)), "the same once the rows are rolled up"
    scene.demo = True
    assert close(scene.read(Measure.HIT_RATE), (53 / 62, 62)), "demo tickets count as long as there are no others"


def test_the_mean_processing_time_is_in_seconds(scene: Scene) -> None:
    scene.add(3, total_ms=2_000.0)
    scene.add(1, total_ms=30_000.0)
    scene.add(5, total_ms=90_000.0, ago=timedelta(minutes=20))
    assert close(scene.read(Measure.MEAN_SECONDS), (9.0, 4))


def test_the_low_share_counts_confidence_under_sixty_percent(scene: Scene) -> None:
    scene.add(2, confidence=0.5999)
    scene.add(1, confidence=0.0)
    scene.add(5, confidence=0.6)
    assert close(scene.read(Measure.LOW_SHARE), (3 / 8, 8))


def test_the_false_hit_rate_is_what_labels_say_of_hits_and_not_what_the_learned_router_thinks(scene: Scene) -> None:
    scene.add(40, method="cached", department="D1", audit="D2")
    assert scene.read(Measure.FALSE_HIT_RATE) == [], "a disagreement may be the learned router's mistake"
    scene.add(19, method="cached", department="D1", actual="D1", ago=timedelta(days=3))
    scene.add(1, method="cached", department="D1", actual="D2", ago=timedelta(days=3))
    scene.add(30, method="learned", department="D1", actual="D2", ago=timedelta(days=3))
    assert close(scene.read(Measure.FALSE_HIT_RATE), (0.05, 20))
    scene.add(4, method="cached", department="D1", actual="D1", probability=0.05)
    assert close(scene.read(Measure.FALSE_HIT_RATE), (0.01, round(100**2 / (20 + 4 * 400))))


def test_accuracy_is_read_as_a_whole_and_for_each_department_and_weighs_rare_reviews_more(scene: Scene) -> None:
    scene.add(9, department="D1", actual="D1")
    scene.add(1, department="D1", actual="D2")
    scene.add(4, department="D2", actual="D2", probability=0.1)
    scene.add(10, department="D2", actual="D1")
    scene.add(7, department="D3")
    found = scene.read(Measure.ACCURACY)
    # 40 tickets that four labels stand for say less than 40 labels would.
    assert close(found, (49 / 60, round(60**2 / (20 + 400))), (0.9, 10, "D1"), (0.8, round(50**2 / (10 + 400)), "D2"))


def test_labels_that_somebody_chose_to_give_are_no_part_of_the_sample_of_the_accuracy(scene: Scene) -> None:
    scene.add(10, department="D1", actual="D1")
    scene.add(35, department="D1", actual="D2", confidence=0.4)
    with scene.database.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = false where confidence < 0.5"))
    assert close(scene.read(Measure.ACCURACY), (1.0, 10), (1.0, 10, "D1"))
    high, _, low = scene.charts.totals(ChartWindow(NOW - timedelta(days=1), NOW)).bands()
    assert (high.accuracy, high.labels, low.accuracy, low.labels) == (1.0, 10.0, None, 0.0)


def test_a_department_that_is_renamed_or_divided_is_no_drift_and_a_shift_beside_it_is(scene: Scene) -> None:
    """Renamed two days ago, so that the fourteen days know both names."""
    taxonomy = Taxonomy(scene.database)
    taxonomy.save([Department(name, "") for name in ("Old", "D2", "D3")])
    with scene.database.begin() as connection:
        connection.execute(text("update departments set created_at = :at"), {"at": NOW - timedelta(days=90)})
    taxonomy.replace([Department(name, "") for name in ("New", "Newer", "D2", "D3")], [])
    with scene.database.begin() as connection:
        connection.execute(text("update departments set created_at = :at where name like 'New%'"), {"at": NOW - timedelta(days=2)})
    came = (
        (5, {"Old": 60, "D2": 20, "D3": 20}),
        (1.5, {"New": 20, "Newer": 10, "D2": 10, "D3": 10}),
        (0.1, {"New": 100, "Newer": 20, "D2": 40, "D3": 40}),
    )
    for ago, counts in came:
        for department, count in counts.items():
            scene.add(count, department=department, ago=timedelta(days=ago))
    (reading,) = scene.read(Measure.DRIFT_DEPARTMENT)
    assert reading.sample == 150 and reading.value < 0.001
    scene.add(200, department="D2", ago=timedelta(hours=1))
    assert close(scene.read(Measure.DRIFT_DEPARTMENT), (population_stability_index([90, 30, 30], [120, 240, 40]), 150))


def test_drift_compares_the_last_day_with_the_fourteen_days_before_it(scene: Scene) -> None:
    assert close(scene.read(Measure.DRIFT_CONFIDENCE), (0.0, 0))
    for department, old, new in (("D1", 60, 10), ("D2", 40, 40), ("D3", 0, 50)):
        if old:
            scene.add(old, department=department, confidence=0.91, ago=timedelta(days=5))
        scene.add(new, department=department, confidence=0.91, ago=timedelta(hours=3))
    scene.add(500, department="D9", confidence=0.1, ago=timedelta(days=20))
    assert close(scene.read(Measure.DRIFT_DEPARTMENT), (population_stability_index([60, 40, 0], [10, 40, 50]), 100))
    (same,) = scene.read(Measure.DRIFT_CONFIDENCE)
    assert same.sample == 100 and same.value < 0.01
    scene.add(100, department="D1", confidence=0.31, ago=timedelta(hours=2))
    before, after = [0] * 20, [0] * 20
    before[18], after[18], after[6] = 100, 100, 100
    (moved,) = scene.read(Measure.DRIFT_CONFIDENCE)
    assert moved.chance == chance_index(100, 200, bins=2), "bins that nobody is in cannot differ"
    assert (moved.value, moved.sample) == (pytest.approx(population_stability_index(before, after)), 100)
    assert rule_of(Measure.DRIFT_CONFIDENCE).breached(moved.value)


def test_the_calibration_error_is_that_of_the_rules_window(scene: Scene) -> None:
    assert close(scene.read(Measure.CALIBRATION_ERROR), (0.07, 321))
    assert scene.asked_since == NOW - timedelta(days=30)


ALONE = {"automation": "auto", "department": "D1"}


def test_a_target_is_held_against_the_labels_of_what_went_alone_under_it(scene: Scene) -> None:
    scene.add(50, actual="D2", policy=1, **ALONE)
    assert scene.read(Measure.SHORTFALL) == [], "the built-in policy asks for nothing"
    number = scene.policy(target_accuracy=0.95)
    assert number == 1
    scene.add(45, actual="D1", policy=1, **ALONE)
    scene.add(5, department="D3", automation="auto", actual="D3", policy=1)
    scene.add(70, department="D1", automation="preselect", actual="D2", policy=1)
    scene.add(70, actual="D2", policy=2, **ALONE)
    scene.add(70, actual="D2", policy=1, ago=timedelta(days=31), **ALONE)
    scene.add(70, actual="D2", policy=1, demo=True, **ALONE)
    scene.add(300, policy=1, **ALONE)
    assert close(scene.read(Measure.SHORTFALL), (0.95 - 50 / 100, 100), (0.95 - 45 / 95, 95, "D1"), (-0.05, 5, "D3"))
    first = scene.read(Measure.SHORTFALL)[1]
    wanted = Kept(department="D1", target=0.95, weight=95, right=45, squared=95)
    assert (first.chance, first.lasting) == (pytest.approx(wanted.chance(OPENS)), pytest.approx(wanted.chance(LASTS)))
    assert first.proves(rule_of(Measure.SHORTFALL).minimum, opened=False)


def test_labels_of_what_went_alone_weigh_as_much_as_the_tickets_they_stand_for(scene: Scene) -> None:
    scene.policy(target_accuracy=0.9)
    scene.add(30, actual="D1", policy=1, probability=0.1, **ALONE)
    scene.add(100, actual="D2", policy=1, **ALONE)
    with scene.database.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = false where review_probability = 1 and ticket_id > 'T-12'"))
        asked = connection.execute(text("select count(*) from routing_history where review_probability = 1 and review_wanted")).scalar_one()
    assert 0 < asked < 100, "who labels without being asked by chance says nothing about the others"
    size = round((300 + asked) ** 2 / (3000 + asked))
    assert close(scene.read(Measure.SHORTFALL), (0.9 - 300 / (300 + asked), size), (0.9 - 300 / (300 + asked), size, "D1"))
    scene.add(1, actual="D1", policy=1, probability=1e-6, **ALONE)
    assert close(scene.read(Measure.SHORTFALL)[:1], (0.9 - 1300 / (1300 + asked), 2)), "a label stands for a thousand at most"


def test_labels_count_by_when_they_were_given(scene: Scene) -> None:
    scene.policy(target_accuracy=0.95)
    scene.add(10, actual="D1", policy=1, ago=timedelta(days=40), **ALONE)
    assert scene.read(Measure.SHORTFALL) == []
    with scene.database.begin() as connection:
        connection.execute(text("update routing_history set reviewed_at = :now"), {"now": NOW})
    assert close(scene.read(Measure.SHORTFALL), (-0.05, 10), (-0.05, 10, "D1"))


def test_a_policy_with_other_thresholds_begins_anew_and_one_that_changes_something_else_goes_on(scene: Scene) -> None:
    own = {"D1": Thresholds(0.97, 0.8)}
    scene.policy(target_accuracy=0.95, departments=own)
    scene.add(40, actual="D2", policy=1, **ALONE)
    scene.policy(target_accuracy=0.95, departments=own, deadline=3.0, review_rate=0.5)
    scene.add(10, actual="D1", policy=2, **ALONE)
    assert close(scene.read(Measure.SHORTFALL), (0.75, 50), (0.75, 50, "D1"))
    scene.policy(target_accuracy=0.95, departments={"D1": Thresholds(0.98, 0.8)})
    assert scene.read(Measure.SHORTFALL) == []
    scene.add(20, actual="D1", policy=3, **ALONE)
    assert close(scene.read(Measure.SHORTFALL), (-0.05, 20), (-0.05, 20, "D1"))
    changed = (
        {"target_accuracy": 0.97, "departments": own}, {"departments": own},
        {"target_accuracy": 0.95, "departments": own, "thresholds": Thresholds(0.93, 0.85)},
    )
    for fields in changed:
        scene.policy(**fields)
        assert scene.read(Measure.SHORTFALL) == []


def test_services_are_counted_over_all_instances_within_the_window(scene: Scene) -> None:
    assert scene.read(Measure.INDEX_ERROR_SHARE) == []
    assert scene.read(Measure.AVAILABILITY) == []
    assert close(scene.read(Measure.DATABASE_FAILURES), (0, 0))
    minute = NOW.replace(second=0, microsecond=0)
    for _ in range(2):  # two instances
        scene.services.add({(minute, "index"): (30, 3), (minute - timedelta(minutes=5), "index"): (20, 1), (minute, "console"): (120, 3)})
    scene.services.add({(minute - timedelta(minutes=40), "index"): (500, 500), (minute, "database"): (4, 6), (minute, "cache"): (9, 9)})
    assert close(scene.read(Measure.INDEX_ERROR_SHARE), (8 / 100, 100))
    assert close(scene.read(Measure.AVAILABILITY), (1 - 6 / 240, 240))
    # A connection that could not be opened fails without having been a call.
    assert close(scene.read(Measure.DATABASE_FAILURES), (6, 6))


def test_failures_of_an_outage_that_people_were_told_of_are_no_news_from_the_minute_before_it_to_its_end(scene: Scene) -> None:
    minute = NOW.replace(second=0, microsecond=0)
    scene.services.add({(minute - timedelta(minutes=ago), "database"): (0, failed) for ago, failed in ((5, 1), (4, 2), (3, 4), (1, 8), (0, 16))})
    assert close(scene.read(Measure.DATABASE_FAILURES), (31, 31))
    began, ended = minute - timedelta(minutes=3), minute - timedelta(minutes=1)
    over = Notice(
        key="k", event="resolved", rule="database_failures", subject="", severity="critical", message="The database does not answer.",
        opened_at=began, resolved_at=ended, link="https://console.example/alerts",
    )
    Alerts(scene.database).cover(Told(notice=over, heard=frozenset(), missed=frozenset()), until=ended)
    assert close(scene.read(Measure.DATABASE_FAILURES), (1 + 16, 1 + 16))


def test_errors_without_calls_are_all_errors(scene: Scene) -> None:
    scene.services.add({(NOW, "index"): (2, 5)})
    assert close(scene.read(Measure.INDEX_ERROR_SHARE), (1.0, 5))


def test_memory_is_read_for_each_living_instance_and_the_spools_are_added_up(scene: Scene) -> None:
    assert close(scene.read(Measure.SPOOLED), (0, 1)) and close(scene.read(Measure.SET_ASIDE), (0, 1))
    for name, share, spooled, aside, age in (("a:1", 0.95, 2, 1, 10), ("b:2", 0.4, 5, 3, 90), ("gone:3", 0.99, 70, 20, 300)):
        scene.services.beat(name, memory_share=share, spooled=spooled, set_aside=aside, now=NOW - timedelta(seconds=age))
    (first, second) = scene.read(Measure.MEMORY_SHARE)
    assert (first.subject, first.sample, second.subject, second.sample) == ("a:1", 1, "b:2", 1)
    assert (first.value, second.value) == (pytest.approx(0.95, abs=1e-3), pytest.approx(0.4, abs=1e-3))
    assert close(scene.read(Measure.SPOOLED), (7, 1)) and close(scene.read(Measure.SET_ASIDE), (4, 1))
    scene.services.leave("a:1")
    assert close(scene.read(Measure.SPOOLED), (5, 1)) and close(scene.read(Measure.SET_ASIDE), (3, 1))


def test_consoles_that_wait_for_a_worker_are_counted_while_none_reports(scene: Scene) -> None:
    assert close(scene.read(Measure.WITHOUT_WORKER), (0, 1))
    for name, needs in (("a:1", True), ("b:2", True), ("c:3", False)):
        scene.services.beat(name, memory_share=0.5, spooled=0, needs_worker=needs, now=NOW)
    scene.services.beat("w:4", memory_share=0.5, spooled=0, worker=True, now=NOW - timedelta(minutes=3))
    assert close(scene.read(Measure.WITHOUT_WORKER), (2, 1)), "a worker that has said nothing for three minutes is none"
    assert rule_of(Measure.WITHOUT_WORKER).breached(2)
    scene.services.beat("w:4", memory_share=0.5, spooled=0, worker=True, now=NOW)
    assert close(scene.read(Measure.WITHOUT_WORKER), (0, 1))


def test_waiting_is_what_the_console_counts(scene: Scene) -> None:
    scene.waiting = 101
    assert close(scene.read(Measure.WAITING), (101, 1))
    assert rule_of(Measure.WAITING).breached(101)


def test_every_measure_of_a_shipped_rule_is_read(scene: Scene) -> None:
    scene.policy(target_accuracy=0.95)
    scene.add(5, actual="D0", department="D0", method="cached", audit="D0", automation="auto", policy=1)
    scene.services.add({(NOW, service): (1, 0) for service in ("index", "console", "database")})
    scene.services.beat("a:1", memory_share=0.5, spooled=0, now=NOW)
    for measure in Measure:
        assert scene.read(measure), measure
