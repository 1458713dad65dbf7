"""The command line as its users meet it: a process, its output, its exit code."""
from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from db.audit import AuditTable
from db import migrate
from db.session import connect
from engine.__main__ import main
from engine.audit import seal
from engine.adapters.machine import instance_name
from engine.commands import evaluation
from engine.errors import ServiceUnavailable
from tests.servers.faulty import Fault
from tests.servers.pinecone import PineconeServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(console_settings, tmp_path, overheard):
    """Runs `python -m engine …` on the test's database; what it writes to standard error is part of the run's logs. `into` None closes
    standard output.
    """
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATABASE_URL": console_settings.postgres_url,
        "REDIS_URL": console_settings.redis_address, "DATA_DIR": str(tmp_path / "data"), "PYTHONWARNINGS": "default",
    }

    def command(*arguments: str, into: object = subprocess.PIPE, **more: str) -> subprocess.CompletedProcess[str]:
        closing = ("sh", "-c", 'exec "$@" >&-', "sh") if into is None else ()
        done = subprocess.run(
            [*closing, sys.executable, "-m", "engine", *arguments], cwd=ROOT, env=environment | more, stdout=into, stderr=subprocess.PIPE,
            text=True, timeout=120,
        )
        overheard.stream("commands").write(done.stderr)
        return done

    return command


def test_route_prints_a_json_decision_for_billing(run) -> None:
    done = run("route", "--text", "you took the money twice for my october bill")
    assert done.returncode == 0, done.stderr
    decision = json.loads(done.stdout)
    assert decision["department"] == "Billing and Payments"
    assert 0 <= decision["confidence"] <= 1
    assert len(decision["alternatives"]) == 3
    assert decision["evidence"][0]["text"]


def test_a_rejected_ticket_is_one_line_on_standard_error_and_exit_code_2(run) -> None:
    done = run("route", "--text", " ")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().splitlines() == [
        "error: body: at least 2 characters; found an empty text. Nothing was stored. Change the body and send it again."
    ]


def test_wrong_use_is_one_line_and_exit_code_2(run) -> None:
    for arguments in (
        ("route",), ("no-such-command",), ("user", "add"), ("evaluate", "--train", "a.csv"), ("route", "--text", "x", "--channel", "y"), (),
        ("route", "--text", "x", "--a\n\x1b[31mb"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ") and " --help." in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"cards": "Bank",}', "must be a JSON object of label and department"), (b"\xff\xfe\xff", "must be a JSON object"),
        (b'["cards"]', "found a list"), (b'{"cards": 7}', "the department of 'cards' must be a name; found 7"),
        (b"[" * 100_000, "must be a JSON object"), (b'{"cards": ' + b"7" * 5_000 + b"}", "must be a JSON object"),
        (b'{"cards": "\\ud800"}', "must be a name"), (b'{"cards": {"a": "b"}}', "found an object"),
        (b'{"cards": "Bank", "cards ": "Post"}', "stands there twice"),
    ],
)
def test_unusable_parents_are_one_line_and_exit_code_2(run, tmp_path, content: bytes, said: str) -> None:
    (tmp_path / "parents.json").write_bytes(content)
    (tmp_path / "tickets.csv").write_text("text,category\nmy card is lost,cards\na late transfer,transfers\n")
    parents, tickets = str(tmp_path / "parents.json"), str(tmp_path / "tickets.csv")
    for arguments in (
        ("evaluate", "--train", tickets, "--test", tickets, "--parents", parents),
        ("load", "--exemplars", tickets, "--label-column", "category", "--parents", parents),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.strip().splitlines()) == 1
        assert "parents.json" in done.stderr and said in done.stderr
        assert ("Nothing was loaded." in done.stderr) is (arguments[0] == "load")


def test_evaluate_refuses_a_place_for_its_report_before_it_works_for_minutes(run, tmp_path) -> None:
    tickets = tmp_path / "tickets.csv"
    tickets.write_text("text,category\n" + "".join(f"my card is lost {n},cards\na late transfer {n},transfers\n" for n in range(10)))
    before = tickets.read_bytes()
    for place, said in (
        (tmp_path / "no" / "report.json", "its folder does not exist"), (tmp_path, "is a folder"),
        (tickets, "is read by this command, the report would replace it"),
    ):
        done = run("evaluate", "--train", str(tickets), "--test", str(tickets), "--json", str(place))
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        (line,) = done.stderr.strip().splitlines()
        assert said in line and line.endswith("Nothing was done")
    assert tickets.read_bytes() == before

    done = run("evaluate", "--train", str(tickets), "--test", str(tickets), "--json", "/dev/full")
    assert done.returncode == 1 and done.stdout.startswith("20 training rows")
    assert done.stderr.strip().splitlines()[-1].endswith("The report above was not kept there")


def test_names_that_no_terminal_of_this_kind_can_show_do_not_break_a_report(run, tmp_path) -> None:
    tickets = tmp_path / "tickets.csv"
    # The same label twice: with an accent of its own, and as one letter.
    rows = [f"my card is lost {n},cafe\u0301\na late transfer {n},café\nwhere is my loan {n},ссуда\n" for n in range(10)]
    tickets.write_text("text,category\n" + "".join(rows), encoding="utf-8")
    done = run("evaluate", "--train", str(tickets), "--test", str(tickets), "--json", str(tmp_path / "out.json"), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "30 training rows, 30 test rows, 2 classes" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["train_rows"] == 30


def test_evaluate_needs_no_database_and_says_how_good_the_router_would_be(run, tmp_path) -> None:
    out = tmp_path / "report.json"
    files = ("--train", "db/starter/exemplars.csv", "--test", "tests/data/starter_kept_apart.csv", "--label-column", "department")
    done = run("evaluate", *files, "--json", str(out), DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert (report["train_rows"], report["test_rows"], report["classes"]) == (855, 135, 9)
    assert report["accuracy"] >= 0.85 and 0.0 <= report["ece"] <= 0.2 and set(report["coverage"]) == {"0.90", "0.95", "0.97", "0.98", "0.99"}
    assert f"accuracy {report['accuracy']:.2%}" in done.stdout
    assert done.stderr == "", "nobody watches"


def test_evaluate_says_of_one_row_that_it_is_one(run, tmp_path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    rows = "".join(f"my card is lost {n},cards\na late transfer {n},transfers\n" for n in range(10))
    train.write_text(f"text,category\n{rows}my card is lost 0,cards\nwhat does a loan cost,loans\nwithout a label,\n")
    test.write_text("text,category\nmy savings are gone,savings\n")
    done = run("evaluate", "--train", str(train), "--test", str(test))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("22 training rows, 1 test row, ")
    assert "1 train row left out: no label" in lines
    assert "1 test row has a label that the training rows do not have; it counts as wrong, because its department is not known either" in lines
    assert "1 training row repeats text and label of another: the confidence is checked on one of them, unseen" in lines
    assert any(line.startswith("1 training row is the only one of its department: what it says of new tickets cannot") for line in lines)


def test_evaluate_says_at_a_terminal_how_far_it_is() -> None:
    terminal, at = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "evaluate", "--train", "db/starter/exemplars.csv", "--test", "tests/data/starter_kept_apart.csv",
         "--label-column", "department"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=at,
    )
    os.close(at)
    seen = b""
    # The terminal's end is an error of reading once nobody holds the other side.
    with suppress(OSError):
        while part := os.read(terminal, 4096):
            seen += part
    os.close(terminal)
    assert process.wait(timeout=120) == 0, seen
    assert b"/990" in seen


def test_what_evaluate_cannot_learn_is_one_line_and_leaves_no_report(run, tmp_path) -> None:
    (tmp_path / "few.csv").write_text("text,category\nmy card is lost,cards\na late transfer,transfers\n")
    few, out = str(tmp_path / "few.csv"), tmp_path / "report.json"
    for more, said in (((), "found 2"), (("--label-column", "team"), "the column team is missing; found text, category")):
        done = run("evaluate", "--train", few, "--test", few, "--json", str(out), *more)
        assert (done.returncode, done.stdout, out.exists()) == (2, "", False)
        assert len(done.stderr.strip().splitlines()) == 1 and said in done.stderr


def test_a_half_given_group_of_settings_names_what_is_missing(run) -> None:
    done = run("health", DATABASE_URL="", POSTGRES_HOST="db.example", POSTGRES_DB="x")
    assert done.returncode == 2
    assert "POSTGRES_USER must be set too" in done.stderr


def test_a_database_url_that_is_none_is_a_configuration_error_without_its_password(run) -> None:
    done = run("health", DATABASE_URL="postgresql:/secret@nonsense")
    assert done.returncode == 2
    assert "DATABASE_URL" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("setting", ["DATABASE_URL", "ANALYTICS_DATABASE_URL"])
@pytest.mark.parametrize(
    "option",
    ["sslmode=verify", "target_session_attrs=rw", "ssl_min_protocol_version=1", "keepalives_idle=30s", "connect_timeout=x", "service=nowhere"],
)
def test_a_database_urls_option_with_a_value_that_nobody_knows_is_a_wrong_setting_and_no_database_that_is_away(run, setting: str, option: str) -> None:
    done = run("health", **{setting: f"postgresql://nobody:secret@one,two/none?{option}"})
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: {setting}: ") and "secret" not in done.stderr
    assert f"value of {option.split('=')[0]}, which stands behind the ?" in done.stderr


def test_a_value_that_nobody_knows_in_the_environment_is_told_with_the_variables_name(run) -> None:
    done = run("health", DATABASE_URL="postgresql://nobody@one/none", PGTARGETSESSIONATTRS="rw")
    assert (done.returncode, done.stdout) == (2, "")
    assert "value of target_session_attrs, which stands in the environment (PGTARGETSESSIONATTRS)" in done.stderr


def test_a_database_that_is_away_is_exit_code_1_in_one_line(run) -> None:
    done = run("health", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_health_lists_every_service(run) -> None:
    done = run("health", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["service"]: row for row in json.loads(done.stdout)}
    assert list(rows) == ["database", "cache", "embedder", "model", "index", "language_model", "spool"]
    assert (rows["index"]["mode"], rows["index"]["ok"]) == ("embedded", True)
    assert rows["index"]["detail"].startswith("pgvector ")
    assert (rows["language_model"]["mode"], rows["language_model"]["ok"]) == ("not configured", True)


def test_health_is_ready_without_a_language_model_and_says_what_follows(run) -> None:
    done = run("health", ANALYTICS_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "not configured" in lines["language_model"]
    assert "Doubtful tickets are left to people: GOOGLE_API_KEY is not set." in lines["language_model"]
    assert "down, routing goes on without it" in lines["replica"]
    assert "Charts come from the primary database" in done.stdout


def test_health_says_ready_with_a_word_about_it_when_only_the_cache_is_away(run) -> None:
    done = run("health", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("cache"))
    assert "down, routing goes on without it" in line
    assert "Repeated tickets are routed anew" in done.stdout


def test_health_is_not_ready_where_the_database_answers_and_stores_nothing(run, console_settings, databases) -> None:
    beside = connect(console_settings.postgres_url)
    with beside.begin() as connection:
        connection.execute(text(f"alter database {databases.name(console_settings.postgres_url)} set default_transaction_read_only = on"))
    beside.dispose()
    done = run("health")
    assert done.returncode == 1, done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("database"))
    assert " DOWN " in line and "read-only" in line


def test_health_tells_the_breakers_and_last_errors_of_the_running_consoles(run, console, build) -> None:
    # Its own report, every fifteen seconds, would come too early or tell of a breaker whose pause is over.
    console.watch.upkeep.close()
    assert "Breakers and last errors are not known: no console reports." in run("health").stdout
    console.services._breakers["cache"]._pause = 600.0
    for number in range(3):
        console.services._breakers["cache"].failed(ServiceUnavailable("cache", f"refused {number}"))
    for task in console.watch.upkeep._tasks:
        if task.name == "report":
            task.run()
    done = run("health")
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("cache")]
    assert " ok " in line, "it answers now, and this process says so"
    assert " open " in line
    assert "UTC: cache is not available: refused 2" in done.stdout
    assert re.search(rf"Breakers and last errors as reported by {re.escape(instance_name())} \(\d+ s ago\)\.", done.stdout)
    [row] = [row for row in json.loads(run("health", "--json").stdout) if row["service"] == "cache"]
    assert (row["circuit"], row["told_by"]) == ("open", [instance_name()])
    assert row["consequence"]


def test_an_engine_that_only_answers_questions_starts_nothing_beside(build) -> None:
    before = set(threading.enumerate())
    engine = build(working=False)
    started = {thread.name for thread in set(threading.enumerate()) - before}
    assert not started & {"spool", "outbox", "upkeep", "refresher", "reembed"}
    assert engine.health.ready()
    assert engine.watch.instances() == []


def test_reindex_without_a_remote_index_says_what_is_not_set(run) -> None:
    done = run("reindex", "--check")
    assert done.returncode == 2
    assert "PINECONE_API_KEY is not set" in done.stderr


def test_reindex_check_finds_every_difference_and_reindex_mends_it(run) -> None:
    with PineconeServer() as server:
        def reindex(*arguments: str) -> tuple[int, dict[str, object]]:
            done = run("reindex", *arguments, PINECONE_API_KEY="key", PINECONE_HOST=server.url, PINECONE_INDEX="tickets")
            return done.returncode, json.loads(done.stdout)

        code, found = reindex()
        assert (code, found["equal"], found["expected"] > 100) == (0, True, True)
        [space] = server.namespaces.values()
        assert len(space) == found["expected"]
        first, second = list(space)[:2]
        del space[first]
        space[second] = (space[second][0], {"department": "Another", "topic": "", "source": "seed"})
        space["999999"] = (space[second][0], {})
        code, found = reindex("--check")
        assert (code, found["missing"], found["different"], found["surplus"]) == (1, 1, 1, 1)
        assert reindex()[0] == 0
        code, found = reindex("--check")
        assert (code, found["equal"]) == (0, True)
        server.fault = Fault("status", 503)
        done = run("reindex", "--check", PINECONE_API_KEY="key", PINECONE_HOST=server.url, PINECONE_INDEX="tickets")
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1


def test_import_says_what_it_stored_and_a_second_run_stores_nothing(run, tmp_path) -> None:
    file = tmp_path / "tickets.csv"
    file.write_text("body\nwhere is my parcel\nsomeone stole my card\n")
    first, second = run("import", str(file)), run("import", str(file))
    assert json.loads(first.stdout)["stored"] == 2, first.stderr
    assert json.loads(second.stdout) | {"departments": 0} == {"stored": 0, "stored_before": 2, "methods": {}, "departments": 0}
    assert first.stderr == ""
    file.write_text("body,custmer_ref,note\nwhere is my bill,C-1,\n")
    assert run("import", str(file)).stderr == "tickets.csv: not stored, because no field has this name: custmer_ref, note\n"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_import_says_how_far_it_came_and_goes_on_when_it_is_run_again(run, tmp_path, console_settings, sent: int) -> None:
    file = tmp_path / "tickets.csv"
    # Words that differ: numbers are masked, and 4,000 answers from the cache can be over before anybody interrupts.
    words = [str(number).translate(str.maketrans("0123456789", "abcdefghij")) for number in range(1000)]
    file.write_text("body\n" + "".join(f"where is my {word} parcel and who has signed for it\n" for word in words))
    pool = connect(console_settings.postgres_url)

    def stored() -> int:
        with pool.connect() as connection:
            return connection.execute(text("select count(*) from tickets")).scalar_one()

    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "import", str(file)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATABASE_URL": console_settings.postgres_url,
             "REDIS_URL": console_settings.redis_address, "DATA_DIR": str(tmp_path / "data")},
        # A test run that was started in the background without job control hands down that the signal is ignored.
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
    )
    while not stored():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, ""), err
    said = re.search(r"stopped (?:after ([0-9,]+) of 1,000 tickets|before the first of the tickets); run it again, it goes on there$", err.strip())
    assert said is not None, err
    there = stored()
    # The last batch may have been stored while it was not counted yet.
    assert there - 128 <= int((said[1] or "0").replace(",", "")) <= there < 1000
    done = json.loads(run("import", str(file)).stdout)
    assert (done["stored_before"], done["stored"]) == (there, 1000 - there)
    pool.dispose()


def test_something_in_the_place_of_the_spool_is_told_at_the_start_and_not_when_a_ticket_needs_it(run, tmp_path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spool").write_text("")
    done = run("health")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(f"error: DATA_DIR: {tmp_path / 'data' / 'spool'} is no folder, and tickets wait there")


def test_import_of_a_missing_file_is_an_error_and_not_a_traceback(run) -> None:
    done = run("import", "/nowhere/tickets.csv")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_import_of_a_file_that_is_too_large_is_refused_before_it_is_read(run, tmp_path) -> None:
    """Gigabytes were read, and decoded, to be refused then."""
    file = tmp_path / "tickets.csv"
    file.write_bytes(b"body,note\n" + b"it,x\n" * 10_000_000)
    done = run("import", str(file))
    # Who has read it names the column as well.
    assert done.stderr == "error: tickets.csv: at most 50,000,000 bytes; found 50,000,010. Split the file. Nothing was stored.\n"
    assert done.returncode == 2


def test_migrate_says_from_where_to_where(run) -> None:
    assert set(json.loads(run("migrate").stdout)) == {"before", "after"}


def test_migrate_says_that_it_brings_an_older_schema_up_to_date(run, databases) -> None:
    url = databases.make()
    pool = connect(url)
    migrate.upgrade(pool, "0010")
    pool.dispose()
    for said in (f"The schema is brought from 0010 to {migrate.newest()}; with millions of tickets that takes minutes.\n", ""):
        done = run("migrate", DATABASE_URL=url)
        assert (done.returncode, done.stderr) == (0, said)
    databases.drop(url)


def test_load_replaces_departments_and_exemplars(run, tmp_path) -> None:
    labelled = tmp_path / "labelled.csv"
    rows = [("please water the roses", "garden"), ("cut the hedge", "garden"), ("boil the pasta", "kitchen"), ("wash the dishes", "kitchen")]
    labelled.write_text("text,category\n" + "".join(f"{text},{label}\n" for text, label in rows))
    done = run("load", "--exemplars", str(labelled), "--label-column", "category")
    assert json.loads(done.stdout)["departments"] == 2, done.stderr
    decision = json.loads(run("route", "--text", "water the roses please").stdout)
    assert decision["department"] == "garden"


def test_load_of_a_bad_taxonomy_changes_nothing(run, tmp_path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("text,department\nhello there,No Such Department\n")
    done = run("load", "--exemplars", str(bad))
    assert done.returncode == 2
    assert done.stderr == "error: bad.csv line 2: the department 'No Such Department' is not known. Nothing was loaded.\n"
    assert json.loads(run("route", "--text", "you took the money twice for my october bill").stdout)["department"] == "Billing and Payments"


def test_demo_fills_an_empty_database_and_refuses_one_with_real_tickets(run) -> None:
    assert run("demo", "--tickets", "40").returncode == 0
    assert run("route", "--text", "where is my parcel").returncode == 0
    done = run("demo", "--tickets", "40")
    assert done.returncode == 1
    assert "real tickets" in done.stderr


def test_loading_and_training_leave_a_row_in_the_audit_log(run, tmp_path, console_settings) -> None:
    labelled = tmp_path / "labelled.csv"
    lines = [f"{text} {number},{label}" for number in range(6) for label, text in (("cards", "my card is lost"), ("parcels", "where is my parcel"))]
    labelled.write_text("text,category\n" + "\n".join(lines) + "\n")
    assert run("load", "--exemplars", str(labelled), "--label-column", "category").returncode == 0
    done = run("train")
    assert done.returncode == 0, done.stderr
    pool = connect(console_settings.postgres_url)
    rows = {row.action: row for row in AuditTable(pool, seal=seal).find(limit=20)}
    pool.dispose()
    assert (rows["taxonomy_loaded"].actor, rows["taxonomy_loaded"].object) == ("command line", "labelled.csv")
    assert rows["taxonomy_loaded"].after["exemplars"] == 12
    assert rows["model_trained"].object == str(json.loads(done.stdout)["model"])


@pytest.mark.parametrize("option", ["--departments", "--topics"])
def test_load_names_the_file_that_was_given(run, tmp_path, option: str) -> None:
    (tmp_path / "mine.csv").write_text("no,such,columns\n1,2,3\n")
    (tmp_path / "some.csv").write_text("text,department\nhello there,Billing and Payments\n")
    done = run("load", "--exemplars", str(tmp_path / "some.csv"), option, str(tmp_path / "mine.csv"))
    assert done.returncode == 2 and done.stderr.startswith("error: mine.csv")


@pytest.mark.parametrize("command", ["health", "serve"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("ROUTING_LOG_PATH", "/proc/no/such/folder/routing.log"), ("DATABASE_URL", "postgresql://u:hush@h:abc/x"), ("REDIS_URL", "foo://:hush@x"),
     ("ANALYTICS_DATABASE_URL", "postgresql://u:hush@h:99999/x"), ("ANALYTICS_DATABASE_URL", "postgresql://h/x?hush=1"),
     ("DATABASE_URL", "postgresql://h/x?hush=1"), ("CLOUDWATCH_REGION", "eu central")],
)
def test_a_setting_that_cannot_be_used_is_one_line_and_exit_code_2(run, command: str, name: str, value: str) -> None:
    done = run(command, **{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(f"error: {name}: ") and "hush" not in line


@pytest.mark.parametrize("command", ["health", "serve", "migrate"])
def test_a_database_of_a_newer_version_is_one_line_and_exit_code_2(run, console_settings, command: str) -> None:
    pool = connect(console_settings.postgres_url)
    with pool.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    pool.dispose()
    done = run(command)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: the database has schema 9999,") and line.endswith("nothing was changed.")


@pytest.mark.parametrize("arguments", [("route", "--text", "where is my parcel"), ("import",)])
def test_tickets_that_cannot_be_stored_are_said_not_to_be(run, tmp_path, arguments: tuple[str, ...]) -> None:
    if arguments == ("import",):
        (tmp_path / "tickets.csv").write_text("body\nwhere is my parcel\n")
        arguments = ("import", str(tmp_path / "tickets.csv"))
    done = run(*arguments, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.strip().splitlines()
    assert line.endswith("Nothing was stored; run this again when it is back.")
    assert not list((tmp_path / "data" / "spool").glob("*")), "and nothing waits in the spool either"


def test_a_decision_that_cannot_be_printed_names_its_ticket(run, console_settings) -> None:
    with open("/dev/full", "w") as full:
        done = run("route", "--text", "where is my parcel", into=full)
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: the output cannot be written (No space left on device). The ticket is accepted as ")
    pool = connect(console_settings.postgres_url)
    with pool.connect() as connection:
        assert connection.execute(text("select id from tickets")).scalar_one() in line
    pool.dispose()


def test_what_there_is_no_memory_for_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evaluation, "run", lambda _: bytearray(1 << 62))
    assert main(["evaluate", "--train", "a.csv", "--test", "b.csv", "--json", "-"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: there is not enough memory for this. What was stored stays; run it again where there is more."
    ]


def test_a_report_that_cannot_be_printed_is_one_line(run) -> None:
    with open("/dev/full", "w") as full:
        done = run("health", into=full)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "error: the output cannot be written (No space left on device). What the command does is done; only what it prints is lost."
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--label-column", "category", "--departments", "d.csv"), "--label-column: the labels make the departments"),
        (("--label-column", "category", "--topics", "t.csv"), "--label-column: the labels make the departments"),
        (("--parents", "p.json"), "--parents: only together with --label-column"),
        (("--text-column", "words"), "--text-column: only together with --label-column"),
        (("--label-column", "Text"), "name the same column: a text is no label"),
    ],
)
def test_load_refuses_options_that_it_would_pass_over(run, tmp_path, options: tuple[str, ...], said: str) -> None:
    file = tmp_path / "e.csv"
    file.write_text("text,department\nmy bill,Bills\n")
    done = run("load", "--exemplars", str(file), *options)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr and done.stderr.endswith("Nothing was loaded.\n")


def test_evaluate_refuses_one_column_for_text_and_label(run) -> None:
    done = run("evaluate", "--train", "a.csv", "--test", "b.csv", "--text-column", "text", "--label-column", " Text")
    assert (done.returncode, done.stdout) == (2, "") and "name the same column" in done.stderr


def test_spool_of_a_folder_that_is_not_there_is_no_good_news(run, tmp_path) -> None:
    done = run("spool", DATA_DIR=str(tmp_path / "mistyped"))
    assert (done.returncode, done.stdout) == (2, "") and "there is no folder" in done.stderr


def test_what_nobody_reads_is_done_all_the_same_and_said_so(run, console) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run("user", "add", "piped", into=writer)
    os.close(writer)
    assert done.returncode == 1 and done.stderr.startswith("error: nobody reads the output. piped is added; `user reset piped`")
    done = run("user", "add", "closed", into=None)
    assert done.returncode == 1 and done.stderr.startswith("error: standard output is closed. closed is added;")
    assert {"piped", "closed"} <= {user.name for user in console.accounts.all()}
