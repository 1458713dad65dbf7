"""What the Alerts page, the dashboard and the tables of tokens say, on the real engine."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from db.session import connect
from engine import process
from engine.access import Role
from engine.alert_rules import AT_THE_MOMENT, SHIPPED
from engine.alerts import Change
from engine.bootstrap import Engine
from engine.domain import TicketDraft
from pages.parts import guard, people
from tests.pages.opening import PAGES, said

RULE = next(rule for rule in SHIPPED if rule.name == "memory")


@pytest.fixture
def engine(console: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with an admin on its pages, whose own threads neither resolve what the test opens nor tell of it."""
    console.watch.upkeep.close()
    console.watch.notices.close()
    console.accounts.add("boss", role=Role.ADMIN, by="test", password="plum-tractor-evening-42", must_change=False)
    session = console.sessions.open(console.accounts.named("boss").id)
    monkeypatch.setattr(process, "running", lambda: console)
    monkeypatch.setattr(guard, "presented_session", lambda: console.sessions.key_of(session))
    return console


def opened(name: str) -> AppTest:
    page = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60).run()
    assert not page.exception
    return page


def alert(engine: Engine, *subjects: str, channels: tuple[str, ...] = ()) -> None:
    changes = [Change(kind="opened", rule=RULE, subject=subject, value=0.95, sample=1) for subject in subjects]
    engine.watch.alert_table.apply(changes, now=datetime.now(UTC), channels=channels)


def test_a_notice_that_does_not_arrive_stands_beside_its_alert_and_no_other(engine: Engine) -> None:
    alert(engine, "m-1", channels=("webhook",))
    assert "Not delivered" not in said(opened("alerts")), "it was not even tried"
    row = engine.watch.alert_table.claim(datetime.now(UTC))
    engine.watch.alert_table.failed(row.notice_id, "the receiver answered 500", retry_at=datetime.now(UTC))
    alert(engine, "m-2")
    shown = said(opened("alerts"))
    assert shown.count("Not delivered since") == 1 and "webhook: the receiver answered 500" in shown
    engine.watch.alert_table.sent(row.notice_id, now=datetime.now(UTC))
    assert "Not delivered" not in said(opened("alerts"))


def test_buttons_on_the_alerts_page_leave_rows_in_the_audit_log(engine: Engine) -> None:
    alert(engine, "m-1")
    page = opened("alerts")
    assert "critical, open since" in said(page), "in words, not by the icon alone"
    number = engine.watch.alert_table.latest()[0].id
    page.button(key=f"page_ack_{number}").click().run()
    page.button(key=f"page_quiet_{number}_1 hour").click().run()
    (silence,) = engine.watch.alert_table.silences(datetime.now(UTC))
    assert f"{RULE.title}, m-1: until" in said(page), "the rule as the page calls it"
    page.button(key=f"end_{silence.id}").click().run()
    assert not page.exception
    rows = engine.audit.find(limit=3)
    assert [(row.action, row.actor) for row in rows] == [("silence_ended", "boss"), ("alert_silenced", "boss"), ("alert_acknowledged", "boss")]


def test_the_dashboard_counts_all_open_alerts(engine: Engine) -> None:
    engine.router.route(TicketDraft(body="where is my parcel"))
    engine.router.settle()
    alert(engine, *(f"m-{number}" for number in range(30)))
    (card,) = (metric for metric in opened("dashboard").metric if metric.label == "Open alerts")
    assert card.value == "30"


def test_a_token_that_has_expired_is_not_shown_as_active(engine: Engine) -> None:
    boss = engine.accounts.named("boss")
    for name in ("lasting", "over", "gone"):
        engine.tokens.make(boss, name=name, scopes=["metrics"], days=1, by="test")
    tokens = {token.name: token for token in engine.tokens.all()}
    engine.tokens.revoke(tokens["gone"].id, by="test")
    pool = connect(engine.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("update tokens set expires_at = :then where name = 'over'"), {"then": datetime.now(UTC) - timedelta(seconds=1)})
    pool.dispose()
    table = people.token_table(engine.tokens.all())
    assert dict(zip(table["Token"], table["State"], strict=True)) == {"lasting": "active", "over": "expired", "gone": "revoked"}


def test_a_share_is_written_in_percent_as_the_table_shows_it_and_a_time_in_seconds(engine: Engine) -> None:
    page = opened("alerts")

    def form(name: str) -> dict[str, object]:
        page.selectbox(key="rule").set_value(name).run()
        assert not page.exception
        return {box.label: box for box in page.number_input}

    boxes = form("hit_rate_warning")
    assert (boxes["Opens below (%)"].value, boxes["Resolves at (%)"].value) == (25.0, 28.0)
    boxes["Opens below (%)"].set_value(30.0)
    page.button(key="save_rule").click().run()
    assert "it resolves at 28.0%, which must be at least the threshold 30.0%" in said(page)
    {box.label: box for box in page.number_input}["Resolves at (%)"].set_value(35.0)
    page.button(key="save_rule").click().run()
    rule = next(rule for rule in engine.watch.alerts.rules() if rule.name == "hit_rate_warning")
    assert (rule.threshold, rule.clear) == (0.3, 0.35)
    assert engine.audit.find(limit=1)[0].after == {"clear": 0.35, "threshold": 0.3}, "what nobody touched is not changed"
    assert form("processing_critical")["Opens above (s)"].value == 10.0
    assert form("tickets_waiting")["Opens above"].value == 100.0
    form("drift_confidence")
    assert any("above what chance gives" in caption.value for caption in page.caption)


def test_what_somebody_else_changes_meanwhile_stays_unless_it_is_entered(engine: Engine) -> None:
    page = opened("alerts")
    page.selectbox(key="rule").set_value("memory").run()
    engine.watch.alerts.edit("memory", {"minimum": 7, "hold_minutes": 4.0}, by="bob")
    box = {box.label: box for box in page.number_input}
    opens = next(label for label in box if label.startswith("Opens above"))
    box[opens].set_value(95.0)
    page.button(key="save_rule").click().run()
    assert not page.exception and not page.error
    rule = next(rule for rule in engine.watch.alerts.rules() if rule.name == "memory")
    assert (rule.threshold, rule.minimum, rule.hold.total_seconds()) == (0.95, 7, 240.0)


def test_a_rule_is_changed_as_often_as_it_is_saved_also_where_somebody_else_changes_it_meanwhile(engine: Engine) -> None:
    page = opened("alerts")
    page.selectbox(key="rule").set_value("hit_rate_warning").run()
    for opens, meanwhile in ((24.0, None), (23.0, None), (22.0, 0.2), (21.0, None)):
        if meanwhile is not None:
            engine.watch.alerts.edit("hit_rate_warning", {"threshold": meanwhile}, by="bob")
        next(box for box in page.number_input if box.label == "Opens below (%)").set_value(opens)
        page.button(key="save_rule").click().run()
        assert not page.exception and not page.error
        assert next(rule for rule in engine.watch.alerts.rules() if rule.name == "hit_rate_warning").threshold == opens / 100
        assert next(box for box in page.number_input if box.label == "Opens below (%)").value == opens


def test_saving_a_rule_unchanged_changes_nothing(engine: Engine) -> None:
    """Percent and back gives the same number for every rule."""
    before = engine.watch.alerts.rules()
    page = opened("alerts")
    for rule in before:
        page.selectbox(key="rule").set_value(rule.name).run()
        page.button(key="save_rule").click().run()
        assert not page.exception
    assert engine.watch.alerts.rules() == before


def test_what_is_read_at_the_moment_has_no_field_for_how_far_it_looks_back(engine: Engine) -> None:
    page = opened("alerts")
    for rule in engine.watch.alerts.rules():
        page.selectbox(key="rule").set_value(rule.name).run()
        fields = [field for field in page.number_input if field.label == "Looks back (minutes)"]
        assert len(fields) == (rule.measure not in AT_THE_MOMENT)
    table = next(frame.value for frame in page.dataframe if "Looks back" in frame.value)
    assert dict(zip(table["Rule"], table["Looks back"], strict=True))["Memory nearly full"] == "the moment"
