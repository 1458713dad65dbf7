"""What people see while a service is away: every page that depends on it says what is missing and that nothing is lost."""
from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from engine import process
from engine.access import Role
from engine.domain import Decision, TicketDraft
from pages.parts import guard
from tests.faults.conftest import World
from tests.faults.test_matrix import DOUBTFUL, heal, route, word
from tests.pages.opening import PAGES, said
from tests.servers.troubles import break_one

# A representative fault for each service that tickets can do without, and what operators call it.
CASES = [
    ("redis", "refused", "the exact cache", "Exact cache"),
    ("pinecone", "5xx", "the vector index", "Vector index"),
    ("gemini", "429", "the language model", "Language model"),
]
_numbers = iter(range(5_000, 9_999))


class Pages:
    """Opens the real pages as an admin whose session was opened before anything failed."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        if all(user.name != "boss" for user in world.engine.accounts.all()):
            world.engine.accounts.add("boss", role=Role.ADMIN, by="test", password="plum-tractor-evening-42", must_change=False)
        sessions = world.engine.sessions
        key = sessions.key_of(sessions.open(world.engine.accounts.named("boss").id))
        assert sessions.find(key) is not None
        monkeypatch.setattr(process, "running", lambda: world.engine)
        monkeypatch.setattr(guard, "presented_session", lambda: key)

    def open(self, name: str) -> AppTest:
        page = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60).run()
        assert not page.exception
        return page

    def submitted(self) -> AppTest:
        page = self.open("submit")
        page.text_area(key="body").set_value(DOUBTFUL.format(word(next(_numbers))))
        page.button(key="route").click().run()
        assert not page.exception
        return page

    def imported(self) -> AppTest:
        page = self.open("submit")
        lines = "\n".join(f'"{DOUBTFUL.format(word(next(_numbers)))}"' for _ in range(3))
        page.file_uploader[0].upload("tickets.csv", f"body\n{lines}\n".encode(), "text/csv").run()
        page.button(key="import").click().run()
        assert not page.exception
        return page


@pytest.fixture
def pages(world: World, monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    yield Pages(world, monkeypatch)
    heal(world)


def save_button(page: AppTest, ticket_id: str) -> Button:
    """The button of this ticket's form: that of the number looked up, or of the queue where chance put the ticket first."""
    return next(button for button in page.button if button.form_id == f"label_{ticket_id}")


def leave_alone(world: World, service: str) -> None:
    """Route until the breaker leaves the service alone."""
    for _ in range(4):
        route(world)
    assert [name for name, _ in world.engine.health.left_alone()] == [service]


def waiting_label(world: World) -> Decision:
    """A decision made now that waits for a label."""
    decision = world.engine.router.route(TicketDraft(body=DOUBTFUL.format(word(next(_numbers)))))
    assert isinstance(decision, Decision)
    return decision


@pytest.mark.parametrize(("service", "fault", "words", "title"), CASES)
def test_a_ticket_a_file_a_label_and_the_dashboard_say_what_they_went_without(
    world: World, pages: Pages, service: str, fault: str, words: str, title: str
) -> None:
    break_one(world, service, fault)

    page = pages.submitted()
    assert f"Decided without {words}, which did not answer." in said(page, "warning")
    assert not page.error

    page = pages.imported()
    assert "3 tickets routed and stored." in said(page, "success")
    assert f"3 of 3 were decided without {words}, which did not answer." in said(page, "warning")
    table = next(frame.value for frame in page.dataframe if "Decided without" in frame.value)
    assert list(table["Decided without"]) == [words] * 3

    decision = waiting_label(world)
    page = pages.open("review")
    page.text_input(key="looked_up").set_value(decision.ticket_id).run()
    assert f"Decided without {words}, which did not answer then." in said(page, "caption")
    save_button(page, decision.ticket_id).click().run()
    assert not page.exception
    assert world.engine.decisions.rows([decision.ticket_id])[0].actual_outcome == decision.department

    leave_alone(world, {"redis": "cache", "pinecone": "index", "gemini": "language_model"}[service])
    page = pages.open("dashboard")
    assert f"{title} does not answer." in said(page, "warning")
    assert "tickets were decided while a service did not answer" in said(page, "info")
    assert not page.error

    heal(world)
    assert not pages.submitted().warning
    assert not pages.open("dashboard").warning


def test_a_ticket_that_can_be_kept_nowhere_is_not_accepted_and_the_text_stays_in_the_form(
    world: World, pages: Pages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.write_text("no folder can be made here")
    break_one(world, "postgres", "refused")
    with monkeypatch.context() as patch:
        world.engine.spool.close()
        patch.setattr(world.engine.spool, "_folder", full)
        page = pages.submitted()
        assert "The ticket was NOT accepted: it could be kept nowhere." in said(page, "error")
        assert page.text_area(key="body").value.startswith("hello, it is about the thing")
        assert "is safe" not in said(page, "text")


def test_the_system_page_has_a_row_for_each_service_tests_it_on_demand_and_counts_unusable_answers(world: World, pages: Pages) -> None:
    world.gemini.finish = "SAFETY"
    route(world)
    world.gemini.finish = "STOP"
    break_one(world, "pinecone", "5xx")
    leave_alone(world, "index")
    page = pages.open("system")
    table = next(frame.value for frame in page.dataframe if "Service" in frame.value).set_index("Service")
    assert set(table.index) == {"Database", "Exact cache", "Embedder", "Learned router", "Vector index", "Language model", "Spool"}
    away = table.loc["Vector index"]
    assert (away["Backend"], away["State"]) == ("configured", "away")
    # The pause is a second at first, which opening a page may take.
    assert away["By tickets"] in {"left alone for a while", "tried again with the next ticket"}
    assert "503" in away["Last error"]
    assert away["Degraded"] == "The copy in Postgres answers; nothing is lost."
    assert table.loc["Language model", "State"] == "answers"
    assert "gemini-2.0-flash" in table.loc["Language model", "Version"]
    assert (table["Latency"] > 0).all()
    assert "1 blocked" in said(page, "text")
    page.button(key="test_index").click().run()
    assert "Vector index: does not answer" in said(page, "error")
    heal(world)
    page.button(key="test_index").click().run()
    assert "Vector index: answers" in said(page, "success")


def test_without_postgres_tickets_wait_files_and_labels_are_refused_and_every_page_says_that_nothing_is_lost(
    world: World, pages: Pages
) -> None:
    before = route(world)
    review = pages.open("review")
    review.text_input(key="looked_up").set_value(before.ticket_id).run()
    break_one(world, "postgres", "refused")

    page = pages.submitted()
    texts = said(page, "text")
    assert "is safe. It will be routed as soon as the database answers again" in texts
    assert "Most likely department" in texts
    assert "The latest tickets cannot be read at the moment. Nothing is lost." in said(page, "warning")
    assert not page.error

    page = pages.imported()
    assert "The import stopped. What was routed before is stored" in said(page, "error")
    assert not page.success

    save_button(review, before.ticket_id).click().run()
    assert not review.exception
    assert "No saved label is lost; one that you were just saving was not stored." in said(review, "error")

    page = pages.open("dashboard")
    assert "Database does not answer. New tickets are kept on this machine" in said(page, "warning")
    assert "The figures cannot be read at the moment" in said(page, "error")
    assert "No decision is lost" in said(page, "error")

    page = pages.open("system")
    assert "Database does not answer." in said(page, "error")

    heal(world)
    assert not pages.open("dashboard").error
    assert pages.open("review").selectbox
