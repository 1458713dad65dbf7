"""The dashboard's row of figures: what stands beside each of them, on the real engine."""
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from db.session import connect
from engine import policy as policies
from engine.access import Role
from engine.alerts import Change
from engine.bootstrap import Engine
from engine.domain import Origin, TicketDraft
from engine.outcome import Outcome
from engine.timeline import DEFAULT_SPAN, SPANS
from pages.parts import kpis, overview
from tests.pages.opening import PAGES, opening
from tests.pages.test_alert_pages import RULE, engine, opened

__all__ = ["engine"]


def cards(page: AppTest) -> dict[str, tuple[str, str, str]]:
    """By label: the figure, its change, and what stands under it."""
    notes = [str(caption.value) for caption in page.caption]
    start = next(number for number, note in enumerate(notes) if "before" in note or "target" in note)
    return {
        metric.label: (metric.value, metric.delta, note)
        for metric, note in zip(page.metric, notes[start:], strict=False)
    }


def told(engine: Engine, kind: str, subject: str, at: datetime) -> None:
    numbers = {a.subject: a.id for a in engine.watch.alert_table.state()[0]}
    change = Change(kind=kind, rule=RULE, subject=subject, value=0.95, sample=1, alert_id=numbers.get(subject))
    engine.watch.alert_table.apply([change], now=at, channels=())


def test_every_figure_has_its_target_and_what_it_was_before(engine: Engine) -> None:
    now = datetime.now(UTC)
    for body in ("my parcel is lost", "where is my parcel", "my card was stolen"):
        engine.router.route_tickets([engine.router.admit(TicketDraft(body=body))], at=now - timedelta(hours=30))
        engine.router.route(TicketDraft(body=f"{body} again"))
    engine.router.settle()
    shown = cards(opened("dashboard"))
    assert list(shown) == [
        "Tickets", "Hit rate", "False hits", "Routed alone", "Accuracy", "Time, p50", "Time, p95", "Time, p99", "Open alerts", "Waiting",
    ]
    assert shown["Tickets"][0] == "3" and shown["Tickets"][1] == "unchanged" and "3 before" in shown["Tickets"][2]
    for label, target in (
        ("Hit rate", "target ≥ 25%"), ("False hits", "target ≤ 1%"), ("Routed alone", "no target"), ("Accuracy", "target ≥ 85%"),
        ("Time, p50", "target ≤ 100 ms"), ("Time, p95", "target ≤ 1.0 s"), ("Time, p99", "target ≤ 5.0 s"), ("Open alerts", "target 0"),
        ("Waiting", "target ≤ 100"),
    ):
        assert target in shown[label][2], (label, shown[label])
    for label in ("Hit rate", "Routed alone", "Time, p50"):
        assert "before" in shown[label][2] and "nothing before" not in shown[label][2]
    for label in ("Open alerts", "Waiting"):
        assert "filters do not apply" in shown[label][2]
    assert shown["False hits"][2].endswith("n = 0 labels"), "the number beside it is one of decisions"


def test_targets_follow_the_rules_that_a_manager_has_changed(engine: Engine) -> None:
    engine.router.route(TicketDraft(body="my parcel is lost"))
    engine.router.settle()
    engine.watch.alerts.edit("hit_rate_warning", {"threshold": 0.4, "clear": 0.45}, by="boss")
    engine.watch.alerts.edit("false_hits", {"threshold": 0.008, "clear": 0.005}, by="boss")
    engine.watch.alerts.edit("tickets_waiting", {"threshold": 7, "clear": 5}, by="boss")
    engine.watch.alerts.edit("processing_warning", {"threshold": 2, "clear": 1}, by="boss")
    shown = cards(opened("dashboard"))
    assert "target ≥ 40%" in shown["Hit rate"][2] and "target ≤ 0.8%" in shown["False hits"][2]
    assert "target ≤ 7" in shown["Waiting"][2] and "target ≤ 2.0 s" in shown["Time, p99"][2]


def test_the_interval_of_the_false_hit_rate_stands_on_its_card(engine: Engine) -> None:
    engine.router.route(TicketDraft(body="where is my parcel"))
    engine.router.route(TicketDraft(body="where is my parcel"))
    engine.router.settle()
    assert "95% interval" not in cards(opened("dashboard"))["False hits"][2]
    hit = next(row for row in engine.decisions.latest(limit=2) if row.method == "cached")
    pool = connect(engine.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = true, review_probability = 1 where ticket_id = :id"), {"id": hit.ticket_id})
    pool.dispose()
    engine.router.review(Outcome(ticket_id=hit.ticket_id, department="Complaints", labelled_by="sue"))
    figure, _, note = cards(opened("dashboard"))["False hits"]
    assert figure == "100.00%" and "95% interval 20.7% to 100.0% · target" in note and "n = 1" in note


def test_open_alerts_stand_beside_those_of_the_windows_start(engine: Engine) -> None:
    now = datetime.now(UTC)
    engine.router.route(TicketDraft(body="my parcel is lost"))
    engine.router.settle()
    for subject, hours in (("old", 60), ("over", 50), ("longer over", 49)):
        told(engine, "opened", subject, now - timedelta(hours=hours))
    told(engine, "resolved", "longer over", now - timedelta(hours=40))
    told(engine, "resolved", "over", now - timedelta(hours=1))
    for subject in ("new", "newer"):
        told(engine, "opened", subject, now - timedelta(hours=1))
    figure, change, note = cards(opened("dashboard"))["Open alerts"]
    assert (figure, change) == ("3", "+1")
    assert "3 critical, 0 warnings" in note and "2 at the start of the time range" in note


def test_where_a_policy_reviews_no_sure_ticket_the_page_says_that_its_accuracy_is_of_the_others(engine: Engine) -> None:
    def warned(page: AppTest) -> list[str]:
        return [warning.value for warning in page.warning if "none of the sure tickets" in warning.value]

    engine.router.route(TicketDraft(body="my parcel is lost"))
    for review_rate in (0.2, 0.0):
        policy = replace(engine.policies.live(), review_rate=review_rate)
        policies.save(policy, engine.policies, departments=[d.name for d in engine.taxonomy.departments()], author="boss", reason="trying it")
        engine.state.refresh()
        engine.router.settle()
        assert not warned(opened("dashboard")), "no ticket was decided by it yet"
        engine.router.route(TicketDraft(body=f"my card was stolen {review_rate}"))
    engine.router.settle()
    page = opened("dashboard")
    (said,) = warned(page)
    assert said.startswith("Policy 2 reviews none of the sure tickets")
    page.multiselect(key="policy").set_value(["1"]).run()
    assert not warned(page)


def test_where_no_sure_ticket_has_a_label_the_page_says_that_its_accuracy_is_of_the_doubtful_ones(engine: Engine) -> None:
    def warned(page: AppTest) -> list[str]:
        return [warning.value for warning in page.warning if "none that was sampled" in warning.value]

    doubtful, sure, other = (engine.router.route(TicketDraft(body=body)) for body in ("my parcel is lost", "my card was stolen", "where is my parcel"))
    engine.router.settle()
    pool = connect(engine.settings.postgres_url)
    with pool.begin() as connection:
        for ticket_id, automation, probability in ((doubtful.ticket_id, "suggest", 1), (sure.ticket_id, "auto", 0.2), (other.ticket_id, "auto", 0.2)):
            connection.execute(
                text("update routing_history set automation = :automation, review_wanted = true, review_probability = :chance where ticket_id = :id"),
                {"automation": automation, "chance": probability, "id": ticket_id},
            )
    pool.dispose()
    engine.watch.rollups.rebuild()
    assert not warned(opened("dashboard")), "there is no accuracy yet that could be misread"
    engine.router.review(Outcome(ticket_id=doubtful.ticket_id, department="Complaints", labelled_by="sue"))
    (said,) = warned(opened("dashboard"))
    assert said.startswith("Of 2 tickets routed alone none that was sampled has a label yet")
    for page in ("accuracy", "policy"):
        assert any("Of 2 sure tickets that could be sampled none has a label yet" in warning.value for warning in opened(page).warning), page
    engine.router.review(Outcome(ticket_id=sure.ticket_id, department=sure.department, labelled_by="sue"))
    assert not warned(opened("dashboard"))
    assert not any("none has a label yet" in warning.value for warning in opened("policy").warning)


def test_a_sure_ticket_that_was_picked_because_every_known_case_is_audited_is_not_taken_for_a_doubtful_one(engine: Engine) -> None:
    policy = replace(engine.policies.live(), review_rate=0.2, audit_rate=1.0)
    policies.save(policy, engine.policies, departments=[d.name for d in engine.taxonomy.departments()], author="boss", reason="trying it")
    engine.state.refresh()
    known, other = (engine.router.route(TicketDraft(body=body)) for body in ("my card was stolen", "where is my parcel"))
    engine.router.settle()
    pool = connect(engine.settings.postgres_url)
    with pool.begin() as connection:
        for ticket_id, method, probability in ((known.ticket_id, "cached", 1), (other.ticket_id, "learned", 0.2)):
            connection.execute(
                text(
                    "update routing_history set automation = 'auto', method = :method, review_wanted = true, review_probability = :chance "
                    "where ticket_id = :id"
                ),
                {"method": method, "chance": probability, "id": ticket_id},
            )
    pool.dispose()
    engine.watch.rollups.rebuild()
    engine.router.review(Outcome(ticket_id=known.ticket_id, department=known.department, labelled_by="sue"))
    assert not any("none that was sampled" in warning.value for warning in opened("dashboard").warning)


def test_a_dashboard_that_stands_open_says_so_of_a_policy_that_came_later(engine: Engine) -> None:
    view = overview.View(span=SPANS[DEFAULT_SPAN], departments=(), channels=(), policies=(), demo=True, live=True)
    policy = replace(engine.policies.live(), review_rate=0.0)
    policies.save(policy, engine.policies, departments=[d.name for d in engine.taxonomy.departments()], author="boss", reason="trying it")
    engine.state.refresh()
    engine.router.settle()
    assert overview.read(engine, view).unsampled == ()
    engine.router.route(TicketDraft(body="my parcel is lost"))
    engine.router.settle()
    assert overview.read(engine, view).unsampled == (1,)
    assert overview.read(engine, replace(view, policies=(2,))).unsampled == ()


def test_without_a_ticket_in_the_view_open_alerts_and_waiting_still_stand_there(engine: Engine) -> None:
    told(engine, "opened", "m-1", datetime.now(UTC))
    page = opened("dashboard")
    assert [(metric.label, metric.value) for metric in page.metric] == [("Open alerts", "1"), ("Waiting", "0")]


def test_demo_tickets_are_counted_by_themselves_only_while_there_are_no_others(engine: Engine) -> None:
    for body in ("my parcel is lost", "my card was stolen"):
        engine.router.route(TicketDraft(body=body, origin=Origin.DEMO))
    engine.router.settle()
    assert cards(opened("dashboard"))["Tickets"][0] == "2"
    engine.router.route(TicketDraft(body="where is my parcel"))
    engine.router.settle()
    page = opened("dashboard")
    assert cards(page)["Tickets"][0] == "1"
    page.toggle(key="demo").set_value(True).run()
    assert cards(page)["Tickets"][0] == "3"
    assert cards(page.run())["Tickets"][0] == "3", "somebody has switched them on"


@pytest.mark.parametrize("left", [False, True])
def test_the_first_real_ticket_takes_the_demo_out_of_a_dashboard_that_is_open_or_was_left(engine: Engine, left: bool) -> None:
    engine.router.route(TicketDraft(body="my parcel is lost", origin=Origin.DEMO))
    engine.router.settle()
    page = opened("dashboard")
    assert cards(page)["Tickets"][0] == "1" and page.toggle(key="demo").value
    for body in ("where is my parcel", "my card was stolen"):
        engine.router.route(TicketDraft(body=body))
    engine.router.settle()
    if left:
        kept = {key: page.session_state[key] for key in ("dashboard_shown", "dashboard_alone")}
        page = AppTest.from_file(str(PAGES / "dashboard.py"), default_timeout=60)
        for key, value in kept.items():
            page.session_state[key] = value
    page.run()
    assert cards(page)["Tickets"][0] == "2" and not page.toggle(key="demo").value


def test_demo_tickets_that_somebody_has_switched_off_stay_out(engine: Engine) -> None:
    engine.router.route(TicketDraft(body="my parcel is lost", origin=Origin.DEMO))
    page = opened("dashboard")
    page.toggle(key="demo").set_value(False).run()
    engine.router.route(TicketDraft(body="where is my parcel"))
    engine.router.settle()
    assert cards(page.run())["Tickets"][0] == "1" and not page.toggle(key="demo").value


def test_a_filter_stays_where_its_policy_has_no_ticket(engine: Engine) -> None:
    engine.router.route_tickets([engine.router.admit(TicketDraft(body="my parcel is lost"))], at=datetime.now(UTC) - timedelta(hours=30))
    engine.router.settle()
    page = opened("dashboard")
    page.segmented_control(key="span").set_value("7d").run()
    (policy,) = page.multiselect(key="policy").options
    page.multiselect(key="policy").set_value([policy]).run()
    page.segmented_control(key="span").set_value("1h").run()
    assert not page.exception
    assert page.multiselect(key="policy").value == [policy]
    page.segmented_control(key="span").set_value("7d").run()
    assert page.multiselect(key="policy").value == [policy]


@pytest.mark.parametrize(("delta", "digits", "unit", "told"), [
    (0.0, 1, " points", "unchanged"), (-0.04, 1, " ms", "unchanged"), (-0.3, 1, " ms", "-0.3 ms"), (-0.3, 0, " ms", "unchanged"),
    (-0.5, 0, " ms", "unchanged"), (0.5, 0, " ms", "unchanged"),
    (1234.6, 0, " ms", "+1,235 ms"), (-16.09, 2, " points", "-16.09 points"), (12, 0, "", "+12"),
])
def test_a_change_too_small_to_be_seen_is_called_none(delta: float, digits: int, unit: str, told: str) -> None:
    assert kpis._change(delta, digits=digits, unit=unit) == (told, told == "unchanged")


@pytest.mark.parametrize(("asked", "kept"), [("0", ["0"]), ("7", []), ("x", [])])
def test_a_link_may_ask_for_the_built_in_defaults_and_for_no_policy_that_never_was(
    console: Engine, monkeypatch: pytest.MonkeyPatch, asked: str, kept: list[str]
) -> None:
    opening(console, monkeypatch, Role.MANAGER)
    page = AppTest.from_file(str(PAGES / "dashboard.py"), default_timeout=60)
    page.query_params["policy"] = asked
    page.run()
    assert not page.exception
    assert page.multiselect(key="policy").value == kept
