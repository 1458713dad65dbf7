"""Collected last (see conftest.py): what every test before has left in the logs."""
from __future__ import annotations

from engine.bootstrap import Engine
from engine.domain import TicketDraft
from tests.overheard import Overheard


def test_no_secret_and_no_word_of_a_ticket_stands_in_any_line_of_the_runs_logs(console: Engine, overheard: Overheard) -> None:
    """Engines and served consoles of the whole run: passwords, one-time passwords, cookies, tokens, keys, bodies, subjects, references."""
    text = "my xylophone was stolen from the left luggage office"
    decision = console.router.route(TicketDraft(body=text, subject="glockenspiel and tuba", customer_ref="C-OBOE-AND-BASSOON"))
    console.router.settle()
    overheard.ticket(text, "glockenspiel and tuba", "C-OBOE-AND-BASSOON")
    assert any(decision.ticket_id in line for _, line in overheard.lines()), "the run's logs are the ones that are searched"
    assert overheard.found() == []
