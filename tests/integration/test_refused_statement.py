"""What nobody foresaw: a statement that the database refuses, and an error that no page catches. No word of a ticket is logged."""
from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

import pytest
import requests
from sqlalchemy import Engine as Pool
from sqlalchemy import text

from db.session import connect
from engine.access import Role
from engine.bootstrap import Engine
from engine.domain import TicketDraft
from engine.errors import InvariantBroken, StatementRefused
from engine.web import tracebacks
from tests import websocket
from tests.pages.opening import opening
from tests.serving import Served

WORDS = "my marimba was sold at the flea market by mistake"


@pytest.fixture
def refusing(console: Engine) -> Iterator[Pool]:
    """The test's database, with a constraint that somebody added and that the ticket breaks."""
    pool = connect(console.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("alter table tickets add constraint no_marimba check (body not like '%marimba%')"))
    yield pool
    pool.dispose()


def test_a_refused_statement_is_told_by_code_and_constraint_alone(console: Engine, refusing: Pool) -> None:
    """Neither the message nor what a traceback would print of it holds the row; it is no kind of error that blames the ticket."""
    with pytest.raises(StatementRefused, match="SQLSTATE 23514, constraint no_marimba") as caught:
        console.router.route(TicketDraft(body=WORDS))
    assert isinstance(caught.value, InvariantBroken)
    assert (caught.value.code, caught.value.constraint) == ("23514", "no_marimba")
    printed = "".join(traceback.format_exception(caught.value))
    assert "marimba was sold" not in printed
    assert console.router.route(TicketDraft(body="where is my parcel")).department, "the next ticket is taken"


def test_parameters_of_a_statement_are_no_part_of_its_error(refusing: Pool) -> None:
    with pytest.raises(Exception, match="hidden") as caught, refusing.begin() as connection:
        connection.execute(text("select cast(:words as int)"), {"words": WORDS})
    assert "parameters: " not in str(caught.value).lower()


def test_the_submit_page_says_that_the_ticket_was_not_stored(
    console: Engine, refusing: Pool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = opening(console, monkeypatch, Role.ADMIN)("submit")
    page.text_area(key="body").set_value(WORDS)
    page.button(key="route").click().run()
    assert not page.exception
    assert any("The ticket was not stored. Your text is still in the form" in one.value for one in page.error)
    assert any("constraint no_marimba" in one.value for one in page.text)
    assert page.text_area(key="body").value == WORDS
    assert "marimba was" not in "".join(capfd.readouterr())


def test_the_api_answers_500_and_the_log_of_the_console_holds_no_word(served: Served) -> None:
    pool = connect(served.settings.postgres_url)
    send = {"url": f"{served.url}/api/v1/tickets", "json": {"body": WORDS}, "headers": {"Authorization": f"Bearer {served.token(Role.AGENT)}"}}
    try:
        with pool.begin() as connection:
            connection.execute(text("alter table tickets add constraint no_marimba check (body not like '%marimba%')"))
        answer = requests.post(**send, timeout=60)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (500, "internal")
        assert "marimba" not in answer.text
    finally:
        with pool.begin() as connection:
            connection.execute(text("alter table tickets drop constraint if exists no_marimba"))
        pool.dispose()
    assert "StatementRefused" in served.logged()
    assert served.leaked(WORDS, "marimba was sold") == []


def test_an_error_that_no_page_catches_is_logged_by_type_and_place_and_the_page_says_so(served: Served) -> None:
    """The error's message is words out of a row; the framework would log it, and show its own text."""
    ticket = served.engine.router.route(TicketDraft(body="where is my parcel", created_by="agent"))
    planted = "the marimba tale"
    pool = connect(served.settings.postgres_url)
    change = text("update routing_history set method = :method where ticket_id = :id")
    try:
        with pool.begin() as connection:
            connection.execute(text("alter table routing_history drop constraint ck_routing_history_method"))
            connection.execute(change, {"method": planted, "id": ticket.ticket_id})
        cookie = served.sign_in(Role.AGENT).cookies["console_session"]
        with websocket.opened(served.url, cookie) as socket:
            seen = " ".join(websocket.run(socket).texts)
    finally:
        with pool.begin() as connection:
            connection.execute(change, {"method": ticket.method.value, "id": ticket.ticket_id})
        pool.dispose()
    assert "Something unexpected went wrong" in seen
    assert "Look whether it is stored" in seen
    assert planted not in seen
    log = served.logged()
    assert "KeyError at " in log
    assert "pages/parts/latest.py" in log
    assert planted not in log


def test_a_logged_error_keeps_type_and_place_of_its_causes_too(caplog: pytest.LogCaptureFixture) -> None:
    made = logging.getLogRecordFactory()
    try:
        tracebacks.without_messages()
        tracebacks.without_messages()
        try:
            try:
                raise ValueError(WORDS)
            except ValueError as error:
                raise KeyError(WORDS) from error
        except KeyError as error:
            logging.getLogger("any").exception("it failed at 50 %")
            logging.getLogger("any").warning("failed: %s", error, exc_info=True)
    finally:
        logging.setLogRecordFactory(made)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("it failed at 50 %: builtins.KeyError at ")
    assert "; caused by builtins.ValueError at " in first
    assert first.count("test_refused_statement.py") == 2
    assert second.startswith("failed: %s: builtins.KeyError at ")
    assert "marimba" not in caplog.text


def test_a_line_that_is_given_an_error_names_its_type_and_one_that_does_not_fit_fails_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    made = logging.getLogRecordFactory()
    try:
        tracebacks.without_messages()
        logger = logging.getLogger("any")
        logger.error("failed: %s", ValueError(WORDS))
        logger.error(KeyError(WORDS))
        logger.error("%(why)s", {"why": OSError(WORDS)})
        try:
            raise ValueError(WORDS)
        except ValueError:
            logger.error("number %d", "x", exc_info=True)
    finally:
        logging.setLogRecordFactory(made)
    assert WORDS not in caplog.text
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:3] == ["failed: builtins.ValueError", "builtins.KeyError", "builtins.OSError"]
    assert lines[3].startswith("number %d: builtins.ValueError at ")
