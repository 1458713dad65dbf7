"""The commands about users, tokens, the audit log and retention, run as somebody at a shell runs them."""
from __future__ import annotations

import io
import json
import os
import pwd
import socket

import pytest
from sqlalchemy import text

from db.session import connect
from engine.__main__ import main
from engine.bootstrap import Engine
from engine.domain import TicketDraft
from engine.settings import Settings


@pytest.fixture
def shell(console_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # noqa: ANN201
    """Runs a command in the test's environment: exit code, standard output, standard error."""
    for name in console_settings.model_fields_set:
        value = getattr(console_settings, name)
        monkeypatch.setenv(name.upper(), value.get_secret_value() if hasattr(value, "get_secret_value") else str(value))
    monkeypatch.setenv("PASSWORD_MEMORY_KIB", "8")
    monkeypatch.setenv("PASSWORD_TIME_COST", "1")

    def run(*arguments: str, given: str | bytes | None = "") -> tuple[int, str, str]:
        content = given.encode() if isinstance(given, str) else given
        monkeypatch.setattr("sys.stdin", None if content is None else io.TextIOWrapper(io.BytesIO(content)))
        capsys.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return run


def test_a_user_is_added_with_a_one_time_password_or_a_given_one_and_disabled(shell, console: Engine) -> None:  # noqa: ANN001
    code, out, _ = shell("user", "add", "Ann", "--role", "admin")
    made = json.loads(out)
    assert (code, made["user"], console.accounts.named("ann").must_change) == (0, "ann", True)
    assert console.accounts.sign_in("ann", made["one_time_password"]).name == "ann"
    code, out, _ = shell("user", "add", "joe", "--password-stdin", given="green-river-table-9\n")
    assert (code, json.loads(out)) == (0, {"user": "joe", "role": "agent"})
    assert console.accounts.sign_in("joe", "green-river-table-9").must_change is False
    assert shell("user", "disable", "joe")[0] == 0
    assert console.accounts.named("joe").disabled_at is not None
    assert [row.actor for row in console.audit.find(action="user_disabled")] == ["command line"]


def test_a_disabled_user_gets_no_password_and_no_token_until_enabled(shell, console: Engine) -> None:  # noqa: ANN001
    shell("user", "add", "joe")
    shell("user", "disable", "joe")
    before = console.accounts.named("joe").password_hash
    refused = "error: joe is disabled, and no {} would let it in: enable it first. Nothing was {}.\n"
    assert shell("user", "reset", "joe") == (2, "", refused.format("password", "changed"))
    assert shell("token", "add", "joe", "--name", "crm", "--scope", "submit") == (2, "", refused.format("token", "stored"))
    assert console.accounts.named("joe").password_hash == before and console.tokens.all() == []
    assert json.loads(shell("user", "enable", "joe")[1]) == {"user": "joe", "disabled": False}
    password = json.loads(shell("user", "reset", "joe")[1])["one_time_password"]
    assert console.accounts.sign_in("joe", password).name == "joe"
    assert [row.actor for row in console.audit.find(action="user_enabled")] == ["command line"]


def test_a_password_of_other_letters_is_read_and_one_that_is_not_utf_8_refused(shell, console: Engine) -> None:  # noqa: ANN001
    assert shell("user", "add", "joe", "--password-stdin", given="grüne-küche-springt-weit\r\n")[0] == 0
    assert console.accounts.sign_in("joe", "grüne-küche-springt-weit").name == "joe"
    code, out, err = shell("user", "add", "ann", "--password-stdin", given="grüne-küche-springt-weit\n".encode("latin-1"))
    assert (code, out, err) == (2, "", "error: password: not UTF-8. Nothing was changed.\n")
    code, out, err = shell("token", "revoke", "\udcff")
    assert (code, out, err) == (2, "", "error: id: not UTF-8. Nothing was done.\n")


def test_a_witness_that_is_none_is_refused_and_not_passed_over(shell) -> None:  # noqa: ANN001
    for head in ("", "abc", "g" * 64, "f" * 65):
        code, out, err = shell("audit", "verify", "--head", head)
        assert (code, out, len(err.splitlines())) == (2, "", 1) and "64 hexadecimal digits" in err


def test_wrong_use_is_one_line_and_exit_code_2(shell) -> None:  # noqa: ANN001
    code, out, err = shell("user", "add", "joe", "--password-stdin", given="short\n")
    assert (code, out, len(err.splitlines())) == (2, "", 1) and "at least 12" in err
    assert shell("user", "add", "joe", "--role", "king")[0] == 2
    code, out, err = shell("user", "add", "joe", "--password-stdin", given=None)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and "found 0" in err
    assert shell("purge", "--older-than", "soon")[0] == 2
    assert "at most 1000y" in shell("purge", "--older-than", "99999999999d")[2]
    assert shell("user", "disable", "nobody")[0] == 1


def test_a_token_is_made_once_and_revoked_by_its_id(shell, console: Engine) -> None:  # noqa: ANN001
    shell("user", "add", "joe", "--password-stdin", given="green-river-table-9\n")
    code, out, err = shell("token", "add", "joe", "--name", "crm", "--scope", "submit")
    bearer = console.tokens.find(out.strip())
    assert code == 0 and bearer is not None and bearer.token_name == "crm" and "one-time" not in err
    assert shell("token", "add", "joe", "--name", "crm", "--scope", "users")[0] == 2
    assert shell("token", "revoke", bearer.token_id)[0] == 0
    assert console.tokens.find(out.strip()) is None


def test_tokens_are_listed_with_what_they_still_open_and_why_they_do_not(shell, console: Engine) -> None:  # noqa: ANN001
    def listed() -> list[tuple[str, str, list[str]]]:
        code, out, _ = shell("token", "list")
        assert code == 0
        return [(row["name"], row["state"], row["scopes"]) for row in map(json.loads, out.splitlines())]

    assert listed() == []
    shell("user", "add", "joe", "--role", "manager", "--password-stdin", given="green-river-table-9\n")
    shell("user", "add", "new", "--role", "agent")
    made = shell("token", "add", "joe", "--name", "board", "--scope", "dashboard", "--scope", "submit")[1].strip()
    code, dead, err = shell("token", "add", "new", "--name", "early", "--scope", "submit")
    assert code == 0 and err.strip().endswith("new has a one-time password: the token works once they have signed in and chosen one")
    assert console.tokens.find(dead.strip()) is None
    assert listed() == [("early", "owner must choose a password", ["submit"]), ("board", "active", ["dashboard", "submit"])]
    assert made.split("_", 2)[2] not in shell("token", "list")[1]

    console.accounts.set_role("joe", "agent", by="test")
    assert listed()[1] == ("board", "active", ["submit"])
    assert sorted(console.tokens.find(made).permissions) == ["submit"]
    shell("user", "disable", "joe")
    assert listed()[1][1] == "owner disabled" and console.tokens.find(made) is None
    shell("token", "revoke", made.split("_")[1])
    assert listed()[1][1] == "revoked"


def test_verify_ends_with_1_when_a_row_was_altered(shell, console: Engine) -> None:  # noqa: ANN001
    for number in range(3):
        console.audit.record("ann", "did_something", "thing", str(number))
    code, out, _ = shell("audit", "verify")
    assert (code, json.loads(out)["rows"]) == (0, 3)
    assert shell("audit", "verify", "--head", json.loads(out)["head"])[0] == 0
    assert shell("audit", "verify", "--head", "f" * 64)[0] == 1
    pool = connect(console.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("update audit_log set actor = 'bob' where id = 2"))
    pool.dispose()
    code, _, err = shell("audit", "verify")
    assert (code, err.strip()) == (1, "audit log: row 2 was altered")


def test_purge_removes_old_texts_and_notes_it(shell, console: Engine) -> None:  # noqa: ANN001
    made = console.router.route(TicketDraft(body="my xylophone parcel is lost"))
    pool = connect(console.settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("update tickets set created_at = created_at - interval '100 days'"))
    pool.dispose()
    assert json.loads(shell("purge", "--older-than", "4m")[1]) == {"texts_removed": 0, "set_aside_removed": 0}
    assert json.loads(shell("purge", "--older-than", "90d")[1]) == {"texts_removed": 1, "set_aside_removed": 0}
    assert console.decisions.find(made.ticket_id)[0].body == ""
    row = console.audit.find(limit=1)[0]
    assert (row.action, row.actor) == ("texts_removed", "command line")
    assert row.address == f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"[:64], "the machine's user and host"


def test_a_narrowed_command_line_refuses_what_its_role_does_not_hold(shell, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    monkeypatch.setenv("COMMAND_ROLE", "manager")
    code, _, err = shell("user", "list")
    assert (code, err) == (2, "error: COMMAND_ROLE is manager, which does not include users. Nothing was done.\n")
    monkeypatch.setenv("COMMAND_ROLE", "admin")
    assert shell("user", "list")[0] == 0


@pytest.mark.parametrize("age", ["99999y", "1001y", "0d"])
def test_an_age_before_all_calendars_is_wrong_use(shell, age: str) -> None:  # noqa: ANN001
    code, out, err = shell("purge", "--older-than", age)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and err.startswith("error: argument --older-than: ") and f"found '{age}'" in err
