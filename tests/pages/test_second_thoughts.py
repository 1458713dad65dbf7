"""What the pages answer to an overrule or a label that is not, or not quite, what was asked for."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine import bootstrap
from engine.access import Role
from engine.bootstrap import Engine
from engine.domain import Outcome, TicketDraft
from pages.parts import guard
from tests.pages.test_states import said

PAGES = Path(__file__).resolve().parents[2] / "pages"
TEXT = "you took the money twice for my october bill"


@pytest.fixture
def opened(console: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AppTest]:
    """Opens a page as a supervisor on the test's engine."""
    console.accounts.add("sue", role=Role.SUPERVISOR, by="test", password="plum-tractor-evening-42", must_change=False)
    key = console.sessions.key_of(console.sessions.open(console.accounts.named("sue").id))
    monkeypatch.setattr(bootstrap, "running", lambda: console)
    monkeypatch.setattr(guard, "presented_session", lambda: key)
    return lambda name: AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60).run()


def test_an_agent_is_told_whether_a_supervisor_will_see_the_overrule_or_has_labelled_the_ticket_before(
    opened: Callable[[str], AppTest], console: Engine
) -> None:
    page = opened("submit")
    for labelled in (False, True):
        page.text_area(key="body").set_value(TEXT)
        page.button[0].click().run()
        ticket_id = console.decisions.latest(limit=1)[0].ticket_id
        if labelled:
            console.router.review(Outcome(ticket_id=ticket_id, department="Sales", labelled_by="sue"), learn=False)
        page.button(key="alternative_0").click().run()
        assert not page.exception and not page.error
        assert ("A supervisor will see that" in said(page)) is not labelled
    assert "A supervisor has labelled this ticket already, as Sales: that label stands." in said(page)


def test_a_resolution_time_of_nothing_is_refused_and_not_dropped(opened: Callable[[str], AppTest], console: Engine) -> None:
    ticket_id = console.router.route(TicketDraft(body=TEXT)).ticket_id
    page = opened("review")
    page.text_input(key="looked_up").set_value(ticket_id).run()
    page.number_input(key=f"hours_{ticket_id}").set_value(0.0)
    save = next(button for button in page.button if button.label == "Save the label")
    save.click().run()
    assert "The label was not stored" in said(page)
    assert "resolution hours: more than 0 and at most 8760; found 0.0. Leave it out if it is not known." in said(page)
    assert console.decisions.rows([ticket_id])[0].actual_outcome is None
    page.number_input(key=f"hours_{ticket_id}").set_value(0.5)
    next(button for button in page.button if button.label == "Save the label").click().run()
    assert float(console.decisions.rows([ticket_id])[0].resolution_time_hours) == 0.5


def test_a_confidence_reads_the_same_on_the_card_and_in_the_table(opened: Callable[[str], AppTest], console: Engine) -> None:
    page = opened("submit")
    page.text_area(key="body").set_value(TEXT)
    page.button[0].click().run()
    table = next(frame.value for frame in page.dataframe if "Confidence" in frame.value)
    assert table["Confidence"][0].strip() == page.metric[0].value
