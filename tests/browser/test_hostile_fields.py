"""Every place that takes text (tests/inventory.py finds them) gets at least 300 hostile texts, typed or sent by a real Chromium.

The browser ignores the content security policy. What is stored is shown afterwards on every page that shows it.
"""
from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from html import escape

import pytest
import requests
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from engine.access import Role
from engine.alert_rules import SHIPPED
from engine.domain import TicketDraft
from engine.outcome import Outcome, Overrule
from engine.sanitize import plain_text, remark
from tests import inventory, signin
from tests.browser.conftest import settled, uploaded
from tests.browser.test_alert_keyboard import unwatched
from tests.browser.test_hostile_text import XSS
from tests.browser.watch import Watch
from tests.serving import Served

pytestmark = pytest.mark.browser

SERVED_WITH = {"rate_submit_per_minute": 100_000}
ENOUGH = 300
# Short ones first: more of them fit into a short field.
TEXTS = sorted(XSS, key=len)


def packed(size: int, *, enough: int = ENOUGH + 10) -> list[str]:
    """The `enough` shortest texts, whole, as many in one string of at most `size` characters as fit."""
    packs, now = [], ""
    for one in [text for text in TEXTS if len(text) <= size][:enough]:
        if now and len(now) + 1 + len(one) > size:
            packs.append(now)
            now = one
        else:
            now = f"{now} {one}".strip()
    return [*packs, now]


def go(page: Page, served: Served, name: str) -> None:
    page.goto(f"{served.url}/{name}")
    settled(page)


def typed(page: Page, selector: str, texts: Sequence[str]) -> None:
    """Type each text, confirm it, and let the page run."""
    for text in texts:
        page.fill(selector, text)
        page.press(selector, "Enter")
        settled(page, 60)


def submit(page: Page, served: Served) -> None:
    """Subject, customer reference and body: every text is typed, and the form sent for each text that a subject takes."""
    go(page, served, "submit")
    for reference in packed(64):
        page.fill(".st-key-customer_ref input", reference)
    references, subjects = packed(64), packed(200)
    card = ""
    for number, subject in enumerate(subjects):
        page.fill(".st-key-subject input", subject)
        page.fill(".st-key-customer_ref input", references[4 * number % len(references)])
        page.fill(".st-key-body textarea", f"please help {number} " + "\n".join(TEXTS[number % 20 :: 20]))
        page.click(".st-key-route button")
        page.wait_for_function(
            "old => { const card = document.querySelector('.st-key-decision'); return card && card.textContent !== old }", arg=card,
            timeout=30_000,
        )
        # The card is drawn piece by piece: its last words are those that the next decision's must differ from.
        settled(page, 60)
        card = page.locator(".st-key-decision").text_content()
    assert len(served.engine.decisions.latest(limit=1000)) >= len(subjects)


def overrule(page: Page, served: Served) -> None:
    """The reason for another department, confirmed text by text and at last sent."""
    go(page, served, "submit")
    page.fill(".st-key-body textarea", "where is my parcel")
    page.click(".st-key-route button")
    page.wait_for_selector(".st-key-decision")
    page.get_by_role("button", name="Another department").click()
    typed(page, "[class*=st-key-overrule_reason_] input", packed(200))
    page.locator("[class*=st-key-overrule_department_]").get_by_role("combobox").click()
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Enter")
    settled(page, 60)
    page.click("[class*=st-key-overrule_send_] button")
    expect(page.get_by_text("A supervisor will see that").first).to_be_visible()


def review(page: Page, served: Served) -> None:
    """Ticket numbers that do not exist, then one ticket labelled again and again with notes."""
    ticket = served.engine.router.route(TicketDraft(body="my parcel is late and " + " ".join(TEXTS)[:15_000]))
    go(page, served, "review")
    page.get_by_text("Label a ticket by its number").click()
    typed(page, ".st-key-looked_up input", packed(500))
    expect(page.get_by_text("No ticket has this number").first).to_be_visible()
    for note in packed(500):
        if not page.locator(".st-key-looked_up input").is_visible():
            page.get_by_text("Label a ticket by its number").click()
        typed(page, ".st-key-looked_up input", [ticket.ticket_id])
        note_field = page.locator(f".st-key-note_{ticket.ticket_id} input").last
        note_field.fill(note)
        note_field.press("Enter")
        # A confirmed label empties the number's field.
        page.wait_for_function("[...document.querySelectorAll('.st-key-looked_up input')].every(field => field.value === '')")
        settled(page, 60)


def number(page: Page, served: Served) -> None:
    """Numbers of tickets that do not exist, below the latest ones."""
    go(page, served, "submit")
    typed(page, "[class*=st-key-open_number_] input", packed(500))
    expect(page.locator(".st-key-opened").get_by_text("No ticket has this number")).to_be_visible()


def policy(page: Page, served: Served) -> None:
    """A policy with each reason; the table of policies shows them all. Columns of numbers take no text."""
    go(page, served, "policy")
    before = served.engine.policies.live().number
    reasons = [f"because {text}" for text in packed(490)]
    page.get_by_role("button", name="Explicit thresholds").or_(page.get_by_role("radio", name="Explicit thresholds")).first.click()
    settled(page, 60)
    for number, reason in enumerate(reasons, start=1):
        page.fill(".st-key-policy_reason input", reason)
        page.press(".st-key-policy_reason input", "Enter")
        settled(page, 60)
        page.click(".st-key-save_policy button")
        expect(page.get_by_text(f"Policy {before + number} is in force.").first).to_be_visible()
        # The fields are filled anew by this run; what is typed before its end goes with it.
        settled(page, 60)
    assert served.engine.policies.all()[0].reason == " ".join(plain_text(reasons[-1]).split())


def audit(page: Page, served: Served) -> None:
    """Filters; the log itself holds hostile names, objects and values."""
    for text in TEXTS:
        served.engine.audit.record(text[:120], "hostile", text[:32], text[:200], before={text: text}, after={"b": text})
    go(page, served, "audit")
    typed(page, ".st-key-object input", packed(200))
    for key in ("actor", "action"):
        scrolled(page, key)


def users(page: Page, served: Served) -> None:
    """Names that are refused, each with its reason."""
    go(page, served, "users")
    page.get_by_role("tab", name="Add a user").click()
    before = len(served.engine.accounts.all())
    for number, name in enumerate(packed(120)):
        page.fill(".st-key-new_name input", name)
        if number % 3 == 0:
            page.click(".st-key-add_user button")
            settled(page, 60)
            expect(page.get_by_text("That was not done.").first).to_be_visible()
    assert len(served.engine.accounts.all()) == before


def account(page: Page, served: Served) -> None:
    """Tokens with hostile names, some made with the form; sessions of browsers with hostile names."""
    owner = served.engine.accounts.named("admin")
    for text in TEXTS:
        served.engine.sessions.open(owner.id, address=text[:64], browser=text[:200])
    for text in TEXTS[:ENOUGH]:
        served.engine.tokens.make(owner, name=f"t {text}"[:120], scopes=["submit"], by="admin")
    go(page, served, "account")
    scrolled(page, "revoke_token")
    page.locator(".st-key-token_scopes").get_by_role("combobox").click()
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    for number, name in enumerate(packed(120)):
        page.fill(".st-key-token_name input", name)
        if number % 6 == 0:
            page.click(".st-key-make_token button")
            settled(page, 60)
    assert len(served.engine.tokens.all(user_id=owner.id)) > ENOUGH
    go(page, served, "users")
    page.get_by_role("tab", name="API tokens").click()
    scrolled(page, "revoke_token")


def purposes(page: Page, served: Served) -> None:
    """Purposes typed into the table's cells, then saved."""
    go(page, served, "departments")
    names = [department.name for department in served.engine.taxonomy.departments(retired=True)]
    table = page.locator("[class*=st-key-purposes_] [data-testid=stDataFrame]")
    texts = packed(1000)
    for start in range(0, len(texts), len(names)):
        some = texts[start : start + len(names)]
        # The first row's cell; the table goes one down with each that is finished.
        table.click(position={"x": 400, "y": 52})
        editor = page.locator("#portal textarea")
        for text in some:
            while not editor.count():
                # The table takes the key once its cell is chosen, and draws the editor a moment later; a second key would close it.
                page.keyboard.press("Enter")
                with suppress(PlaywrightTimeout):
                    editor.wait_for(timeout=5_000)
            editor.fill(text)
            page.keyboard.press("Enter")
            editor.wait_for(state="detached")
        # The table gathers edits for a moment before it sends them.
        settled(page, 800)
        page.click(".st-key-save_departments button")
        expect(page.get_by_text(f"{len(some)} changed.").first).to_be_visible()
        stored = {department.name: department.purpose for department in served.engine.taxonomy.departments(retired=True)}
        assert [stored[name] for name in names[: len(some)]] == [plain_text(text) for text in some]
        go(page, served, "departments")


def one_more(page: Page, served: Served) -> None:
    """Departments added one by one; most are only typed, so that the table of departments stays one that the browser shows whole."""
    go(page, served, "departments")
    page.get_by_text("Add a department", exact=True).click()
    before, added = len(served.engine.taxonomy.departments(retired=True)), 0
    names, about = packed(110), packed(1000)
    for number in range(max(len(names), len(about))):
        # While the page is drawn anew, the fields before stand there as well.
        purpose = f".st-key-department_purpose_{added} textarea"
        page.fill(f".st-key-department_name_{added} input", f"{number} {names[number % len(names)]}")
        page.fill(purpose, about[number % len(about)])
        page.locator(purpose).blur()
        settled(page, 60)
        if number % 20 == 0:
            page.click(f".st-key-add_department_{added} button")
            added += 1
            expect(page.get_by_text("is added. On every instance").first).to_be_visible()
            expect(page.locator(f".st-key-department_name_{added} input")).to_have_value("")
            settled(page)
    assert len(served.engine.taxonomy.departments(retired=True)) == before + added


def address(page: Page, served: Served) -> None:
    """The dashboard's view as somebody else's link says it."""
    for start in range(0, ENOUGH, 60):
        query = "&".join(
            f"{name}={requests.utils.quote(text, safe='')}" for text in TEXTS[start : start + 60]
            for name in ("span", "department", "channel", "policy", "demo", "live")
        )
        go(page, served, f"dashboard?{query}")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def scrolled(page: Page, key: str) -> None:
    """Open a list and look at all of its options."""
    page.locator(f".st-key-{key}").get_by_role("combobox").click()
    options = page.locator("[data-testid=stSelectboxVirtualDropdown]")
    options.wait_for()
    page.evaluate("""async () => {
        const box = document.querySelector('[data-testid=stSelectboxVirtualDropdown]');
        const moving = [box, ...box.querySelectorAll('*')].find(e => e.scrollHeight > e.clientHeight + 1);
        if (!moving) return;
        for (let y = 0; y < moving.scrollHeight; y += moving.clientHeight) {
            moving.scrollTop = y;
            await new Promise(requestAnimationFrame);
        }
    }""")
    page.keyboard.press("Escape")


DRIVERS: dict[Callable[[Page, Served], None], set[str]] = {
    submit: {"draft/subject", "draft/body", "draft/customer_ref"},
    overrule: {"choice/overrule_reason_*"},
    review: {"labelling/looked_up", "labelling/note_*"},
    number: {"latest/open_number_*"},
    policy: {"policy/policy_reason", "policy_form/policy_departments_*", "policy_form/policy_limits_*"},
    audit: {"audit/object"},
    users: {"people/new_name"},
    account: {"account/token_name"},
    purposes: {"taxonomy_form/purposes_*"},
    one_more: {"taxonomy_form/department_name_*", "taxonomy_form/department_purpose_*"},
    address: {"address/span", "address/department", "address/channel", "address/policy", "address/demo", "address/live"},
}


FILES = {
    "file": ("body", "subject", "customer_ref", "channel", "priority", "ticket_id"),
    "departments_csv": ("department", "purpose", "triage"),
    "topics_csv": ("department", "topic", "purpose"),
    "exemplars_csv": ("text", "department", "topic"),
}


def test_every_text_widget_of_the_pages_is_driven() -> None:
    """A new one fails here until it is driven as well."""
    assert set().union(*DRIVERS.values()) == inventory.widgets()


def test_every_column_of_the_files_is_sent() -> None:
    """A new column or uploader fails here until it is sent as well; tickets' columns are sent in test_hostile_text."""
    assert inventory.columns() == {f"{file}/{column}" for file, columns in FILES.items() for column in columns}
    assert inventory.uploaders() == set(FILES)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__name__)
def test_hostile_texts_typed_into_every_field_do_nothing(served: Served, watched: tuple[Page, Watch], driver: Callable) -> None:
    page, watch = watched
    driver(page, served)
    assert watch.seen == []


def as_file(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, object]:
    """A CSV as the browser's file chooser takes it."""
    out = io.StringIO()
    csv.writer(out).writerows([columns, *rows])
    return {"name": name, "mimeType": "text/csv", "buffer": out.getvalue().encode()}


def test_hostile_departments_topics_and_exemplars_do_nothing_on_any_page(served: Served, watched: tuple[Page, Watch]) -> None:
    """Three uploads whose every column is hostile replace the taxonomy; then tickets, labels and alerts carry those names everywhere."""
    page, watch = watched
    texts = [text for text in TEXTS if len(text) <= 100][-ENOUGH:]
    raw = [f"D{number} {text}" for number, text in enumerate(texts)]
    names = [remark(text) for text in raw]
    topics = [remark(f"T{text}") for text in raw]
    files = {
        "departments_csv": [(name, text, "no") for name, text in zip(raw, texts, strict=True)],
        "topics_csv": [(name, topic, text) for name, topic, text in zip(names, topics, texts, strict=True)],
        "exemplars_csv": [(f"please help {text}", name, topic) for text, name, topic in zip(raw, names, topics, strict=True)],
    }
    go(page, served, "departments")
    page.get_by_text("Replace departments, topics and exemplars").click()
    for key, rows in files.items():
        uploaded(page, f".st-key-{key} input[type=file]", as_file(f"{' '.join(TEXTS[:60])}.csv", FILES[key], rows))
    page.get_by_text("Replace what is there").click()
    settled(page)
    upload = ".st-key-departments_csv input[type=file]"
    # Neither yes nor no: refused with its words, and nothing is replaced.
    uploaded(page, upload, as_file("triage.csv", FILES["departments_csv"], [(raw[0], "", TEXTS[0])]))
    page.click(".st-key-replace button")
    expect(page.get_by_text("triage is yes or no; found").first).to_be_visible()
    settled(page, 60)
    uploaded(page, upload, as_file("departments.csv", FILES["departments_csv"], files["departments_csv"]))
    page.click(".st-key-replace button")
    expect(page.get_by_text(f"{len(raw)} departments, {len(raw)} exemplars").first).to_be_visible(timeout=120_000)
    engine = served.engine
    engine.state.refresh()
    assert {d.name for d in engine.taxonomy.departments()} == set(names)

    drafts = [TicketDraft(body=f"please help {text}", created_by="admin") for text in raw]
    decisions = engine.router.route_tickets([engine.router.admit(draft) for draft in drafts])
    for number, decision in enumerate(decisions):
        other = names[number - 1]
        if number % 4 == 0:
            engine.router.overrule(Overrule(ticket_id=decision.ticket_id, department=other, by="admin", reason=texts[number]))
        if number % 3 == 0:
            label = Outcome(ticket_id=decision.ticket_id, department=other, labelled_by="admin", note=texts[number])
            engine.router.review(label, learn=False)
    now, rule = datetime.now(UTC), SHIPPED[0]
    table = engine.watch.alert_table
    for start in range(0, ENOUGH, 100):
        some = names[start : start + 100]
        for name in some:
            table.silence(rule=name[:60], subject=name, until=now + timedelta(hours=1), by=name[:60], reason=name, noted=lambda *_: None)
        # The console's own look, every 15 seconds, would resolve what it knows nothing of, on a busy machine before the page is drawn.
        with unwatched(served, rule, *some) as resolve:
            go(page, served, "alerts")
            page.get_by_role("tab", name="Who is told").click()
            assert {row.subject for row in table.latest(limit=300) if row.resolved_at is None} >= set(some)
            resolve(*some)
    for name in ("dashboard", "accuracy", "policy", "system", "departments", "audit", "account", "users"):
        go(page, served, name)
        settled(page)
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
    go(page, served, "review")
    scrolled(page, "review_department")
    scrolled(page, "review_ticket")
    go(page, served, "submit")
    for text in raw[:: len(raw) // 12]:
        page.fill(".st-key-body textarea", f"please help with {text}")
        page.click(".st-key-route button")
        settled(page)
    page.locator("[class*=st-key-alternative_0_] button").click()
    expect(page.get_by_text("A supervisor will see that").first).to_be_visible()
    assert watch.seen == []


FORMS = {
    "sign_in": ("/auth/login", {"csrf", "next", "name", "password"}),
    "password": ("/auth/password", {"csrf", "username", "old", "new", "again"}),
    "sign_out": ("/auth/logout", {"csrf"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_hostile_texts_in_every_field_of_the_html_forms_do_nothing(served: Served, watched: tuple[Page, Watch], form: str) -> None:
    """Each text in all fields at once; the answers are loaded by the browser as pages of the console."""
    page, watch = watched
    path, fields = FORMS[form]
    assert {f"{form}/{name}" for name in fields} == {name for name in inventory.form_fields() if name.startswith(f"{form}/")}
    # Not the same person for both: wrong old passwords lock the account for a while.
    people = {"password": Role.SUPERVISOR, "sign_out": Role.AGENT}
    http = served.sign_in(people[form]) if form in people else requests.Session()
    http.headers["X-Forwarded-For"] = "10.9.9.10"
    token = signin.csrf_of(http.get(f"{served.url}{path}", timeout=30).text)
    answers: list[str] = []
    for number, text in enumerate(TEXTS[: ENOUGH + 10]):
        # Every fourth with the form's own token replaced as well, which ends earlier.
        data = dict.fromkeys(fields, text) | ({} if number % 4 == 0 or form == "sign_out" else {"csrf": token})
        answer = http.post(f"{served.url}{path}?next={requests.utils.quote(text, safe='')}", data=data, timeout=30, allow_redirects=False)
        assert answer.status_code < 500
        answers.append(answer.text)
    go(page, served, "account")
    for start in range(0, len(answers), 40):
        # Frames of the page's own origin run scripts like pages of their own.
        frames = "".join(f"<iframe srcdoc='{escape(answer)}'></iframe>" for answer in answers[start : start + 40])
        page.evaluate("frames => { document.body.innerHTML = frames }", frames)
        page.wait_for_function("[...document.querySelectorAll('iframe')].every(f => f.contentDocument && f.contentDocument.querySelector('h1'))")
    assert watch.seen == []
