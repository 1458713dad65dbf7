"""The main job in a real browser: submit a ticket, see why, label it, and find it on the dashboard."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import text

from db.session import connect, reading
from engine.access import Role
from engine.domain import TicketDraft
from engine.outcome import Overrule
from tests.browser.conftest import heard, settled
from tests.serving import Served
from tests.signin import sign_in

pytestmark = pytest.mark.browser


def submit(page: Page, served: Served, text: str) -> None:
    page.goto(f"{served.url}/submit")
    settled(page)
    page.locator(".st-key-body textarea").fill(text)
    page.locator(".st-key-route button").click()
    settled(page)


def test_a_ticket_is_routed_reviewed_and_seen_on_the_dashboard(served: Served, admin: Page) -> None:
    submit(admin, served, "you took the money twice for my october bill")
    card = admin.locator(".st-key-decision")
    expect(card).to_contain_text("Billing and Payments")
    expect(card).to_contain_text("Confidence")
    expect(card).to_contain_text("recognises this as")
    expect(admin.get_by_text("Nearest labelled tickets").first).to_be_visible()
    ticket = served.engine.decisions.latest(limit=1)[0]
    assert ticket.body == "you took the money twice for my october bill"

    admin.goto(f"{served.url}/review")
    settled(admin)
    admin.get_by_text("Label a ticket by its number").click()
    admin.get_by_label("Ticket number").fill(ticket.ticket_id)
    admin.keyboard.press("Enter")
    settled(admin)
    form = admin.locator(f"[data-testid=stForm]:has(.st-key-hours_{ticket.ticket_id})")
    form.get_by_role("spinbutton", name="Resolution time (hours)").fill("2.5")
    form.locator(f".st-key-stars_{ticket.ticket_id} button").nth(3).click()
    form.get_by_role("button", name="Save the label").click()
    expect(admin.get_by_text(f"{ticket.ticket_id}: confirmed.").first).to_be_visible()
    row = served.engine.decisions.rows([ticket.ticket_id])[0]
    assert (row.actual_outcome, float(row.resolution_time_hours), float(row.customer_satisfaction)) == ("Billing and Payments", 2.5, 4.0)

    admin.goto(f"{served.url}/dashboard")
    settled(admin)
    expect(admin.get_by_text("Hit rate").first).to_be_visible()
    expect(admin.locator(".js-plotly-plot").first).to_be_visible()
    expect(admin.locator("[data-testid=stMetric]").first).to_contain_text("1")


def test_the_keyboard_sends_a_ticket_and_a_label_once_with_all_that_was_typed(served: Served, admin: Page) -> None:
    """From within a field, whose own keys must not send the form a second time."""
    words = "my parcel was left at a neighbour whom nobody here knows"
    admin.goto(f"{served.url}/submit")
    settled(admin)
    admin.locator(".st-key-subject input").fill("Parcel")
    admin.locator(".st-key-subject input").press("Enter")
    admin.locator(".st-key-body textarea").fill(words)
    admin.locator(".st-key-body textarea").press("Control+Enter")
    expect(admin.locator(".st-key-decision")).to_contain_text("Confidence")
    settled(admin)
    admin.wait_for_timeout(1000)
    sent = [row for row in served.engine.decisions.latest(limit=20) if row.body == words]
    assert [row.subject for row in sent] == ["Parcel"]

    served.engine.router.overrule(Overrule(ticket_id=sent[0].ticket_id, department="Complaints", reason="rude", by="lee"))
    admin.goto(f"{served.url}/review")
    settled(admin)
    note = admin.locator(f".st-key-note_{sent[0].ticket_id} input")
    note.fill("rang twice")
    note.press("Control+Enter")
    expect(admin.get_by_text(f"{sent[0].ticket_id}: corrected to Complaints.").first).to_be_visible()
    settled(admin)
    admin.wait_for_timeout(1000)
    pool = connect(served.settings.postgres_url)
    with reading(pool) as connection:
        notes = connection.execute(text("select note from outcomes where ticket_id = :id"), {"id": sent[0].ticket_id}).scalars().all()
    pool.dispose()
    assert notes == ["rang twice"]


def test_an_agent_overrules_a_decision_with_one_click(served: Served, admin: Page) -> None:
    submit(admin, served, "someone stole my card at the station this morning")
    admin.locator("[class*=st-key-alternative_0_] button").click()
    expect(admin.get_by_text("A supervisor will see that").first).to_be_visible()
    row = served.engine.decisions.latest(limit=1)[0]
    assert row.overruled_to in [name for name, _ in row.alternatives[1:]]


def test_bad_input_says_what_is_wrong_and_keeps_the_text(served: Served, admin: Page) -> None:
    before = len(served.engine.decisions.latest(limit=100))
    submit(admin, served, "<p></p>")
    expect(admin.get_by_text("The ticket was not accepted").first).to_be_visible()
    expect(admin.get_by_text("nothing but markup").first).to_be_visible()
    expect(admin.locator(".st-key-body textarea")).to_have_value("<p></p>")
    assert len(served.engine.decisions.latest(limit=100)) == before


def test_text_is_shown_exactly_as_it_was_written(served: Served, admin: Page) -> None:
    submit(admin, served, 'my bill says 5 < 6 & "quotes" **not bold** $x$')
    ticket = served.engine.decisions.latest(limit=1)[0]
    admin.goto(f"{served.url}/review")
    settled(admin)
    admin.get_by_text("Label a ticket by its number").click()
    admin.get_by_label("Ticket number").fill(ticket.ticket_id)
    admin.keyboard.press("Enter")
    settled(admin)
    expect(admin.get_by_text('my bill says 5 < 6 & "quotes" **not bold** $x$').first).to_be_visible()


def test_a_file_of_tickets_is_routed_and_a_bad_one_is_refused_whole(served: Served, admin: Page, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("body,channel\nwhere is my parcel,chat\ni forgot my password,email\n")
    bad.write_text("body,channel\nwhere is my parcel,pigeon\n")
    for file, message in ((bad, "The file was not imported"), (good, "2 tickets routed and stored")):
        admin.goto(f"{served.url}/submit")
        settled(admin)
        admin.get_by_role("tab", name="A file of tickets").click()
        admin.locator("input[type=file]").set_input_files(str(file))
        settled(admin)
        admin.locator(".st-key-import button").click()
        expect(admin.get_by_text(message).first).to_be_visible()


def test_accuracy_and_policy_pages_show_what_the_labels_say(served: Served, admin: Page) -> None:
    for page, words in (("accuracy", "Is the confidence true?"), ("policy", "The built-in defaults are in force")):
        admin.goto(f"{served.url}/{page}")
        settled(admin)
        expect(admin.get_by_text(words).or_(admin.get_by_text("No label yet")).first).to_be_visible()
        expect(admin.locator("[data-testid=stException]")).to_have_count(0)


def test_a_saved_policy_is_in_force_and_listed(served: Served, admin: Page) -> None:
    admin.goto(f"{served.url}/policy")
    settled(admin)
    admin.get_by_role("spinbutton", name="Lowest tracked accuracy").fill("0.75")
    admin.get_by_label("Why this change?").fill("A little more room this week")
    admin.keyboard.press("Enter")
    settled(admin)
    admin.locator(".st-key-save_policy button").click()
    expect(admin.get_by_text("is in force. Every instance follows").first).to_be_visible()
    assert served.engine.policies.live().accuracy == 0.75


def test_two_supervisors_at_one_queue_label_what_each_of_them_sees(served: Served, admin: Page, chromium: Browser) -> None:
    """The box names the ticket below it after every save, and a ticket that the other one labelled is told first."""
    for body in ("the courier never rang", "my new card has not come", "i want a paper invoice"):
        decision = served.engine.router.route(TicketDraft(body=body))
        served.engine.router.overrule(Overrule(ticket_id=decision.ticket_id, department="Complaints", by="lee"))
    ids = [row.ticket_id for row in served.engine.outcomes.queue(limit=3)]

    def box(page: Page) -> Locator:
        return page.locator(".st-key-review_ticket input")

    context = heard(chromium.new_context(viewport={"width": 1280, "height": 2000}))
    other = context.new_page()
    sign_in(other, served.url, Role.SUPERVISOR, served.words[Role.SUPERVISOR])
    for page in (other, admin):
        page.goto(f"{served.url}/review")
        settled(page)
        expect(box(page)).to_have_value(re.compile(ids[0]))
    other.locator(f".st-key-note_{ids[0]} input").fill("rang twice")
    for done, following in zip(ids[:2], ids[1:], strict=True):
        admin.locator(f".st-key-save_label_{done} button").click()
        expect(admin.get_by_text(f"{done}: corrected to Complaints.").first).to_be_visible()
        settled(admin)
        expect(box(admin)).to_have_value(re.compile(following))
        expect(admin.locator(f".st-key-note_{following} input")).to_be_visible()
    other.locator(f".st-key-save_label_{ids[0]} button").click()
    expect(other.get_by_text("labelled it as Complaints meanwhile").first).to_be_visible()
    expect(other.locator(f".st-key-note_{ids[0]} input")).to_have_value("rang twice")
    assert served.engine.decisions.rows([ids[0]])[0].reviewed_by == "admin"
    other.locator(f".st-key-save_label_{ids[0]} button").click()
    expect(other.get_by_text(f"{ids[0]}: corrected to Complaints.").first).to_be_visible()
    settled(other)
    expect(box(other)).to_have_value(re.compile(ids[2]))
    rows = served.engine.decisions.rows(ids)
    assert {row.ticket_id: row.reviewed_by for row in rows} == {ids[0]: str(Role.SUPERVISOR), ids[1]: "admin", ids[2]: None}
    context.close()
