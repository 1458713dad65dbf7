"""Names and options of the commands."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from engine.commands import access, backup, evaluation, operate, serve, tickets, work
from engine.domain import Channel, Priority
from engine.sanitize import one_line


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line, as every other error of a command; the usage is long, and --help shows it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {one_line(message)}. Nothing was done; see {self.prog} --help.\n")


def build() -> argparse.ArgumentParser:
    """The parser; every command's function is in `run`."""
    parser = _Parser(prog="python -m engine", description="Route call-centre tickets with a confidence that is true.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="serve the console on HOST and PORT until it is stopped")
    command.set_defaults(run=serve.serve)

    command = commands.add_parser("worker", help="learn and embed beside the consoles, on any machine, until it is stopped")
    command.set_defaults(run=work.work)

    command = commands.add_parser("route", help="route one ticket and print its decision as JSON")
    command.add_argument("--text", required=True, help="the customer's message")
    command.add_argument("--subject", default="", help="its subject (none)")
    command.add_argument("--channel", default=Channel.OTHER.value, choices=[c.value for c in Channel], help="how it came (other)")
    command.add_argument("--priority", default=Priority.NORMAL.value, choices=[p.value for p in Priority], help="how urgent it is (normal)")
    command.add_argument("--customer-ref", default="", help="whose it is (nobody's)")
    command.add_argument("--ticket-id", default="", help="its id (a new one)")
    command.add_argument("--dry-run", action="store_true", help="decide without storing anything")
    command.set_defaults(run=tickets.route)

    command = commands.add_parser("import", help="route the tickets of a CSV file; interrupted, it can be run again")
    command.add_argument("file", type=Path, help="CSV: body, and where wanted subject, channel, priority, customer_ref, ticket_id; others are passed over")
    command.add_argument("--text-column", default="body", help="column with the message (default: body)")
    command.set_defaults(run=tickets.import_file)

    command = commands.add_parser("load", help="replace departments, topics and exemplars by those of CSV files")
    command.add_argument("--departments", type=Path, help="CSV: department, purpose, triage (yes for the one that takes every ticket while nothing is learned)")
    command.add_argument("--topics", type=Path, help="CSV: department, topic, purpose")
    command.add_argument("--exemplars", type=Path, required=True, help="CSV: text, department, topic; or with --label-column any labelled CSV")
    command.add_argument("--text-column", help="with --label-column: column with the text (default: text)")
    command.add_argument("--label-column", help="take labels from this column and departments from --parents")
    command.add_argument("--parents", type=Path, help="JSON object: label -> department")
    command.set_defaults(run=tickets.load)

    command = commands.add_parser("demo", help="fill a database without real tickets with demo tickets")
    command.add_argument("--tickets", type=int, default=600, help="how many (600)")
    command.set_defaults(run=tickets.demo)

    command = commands.add_parser("train", help="fit the learned router anew on all exemplars")
    command.set_defaults(run=operate.train)

    command = commands.add_parser("migrate", help="bring the database to the newest schema")
    command.set_defaults(run=operate.migrate)

    command = commands.add_parser("rollup", help="add waiting facts to the dashboard's rollups; --rebuild counts everything anew")
    command.add_argument("--rebuild", action="store_true", help="count from the stored decisions; writers are not stopped")
    command.set_defaults(run=operate.rollup)

    command = commands.add_parser("reindex", help="make the remote vector index equal to Postgres; exit code 1 when it is not")
    command.add_argument("--check", action="store_true", help="only compare, change nothing")
    command.set_defaults(run=operate.reindex)

    command = commands.add_parser("health", help="say which services answer; exit code 1 when tickets cannot be routed")
    command.add_argument("--json", action="store_true", help="one JSON list in place of lines")
    command.set_defaults(run=operate.health)

    command = commands.add_parser("spool", help="say what waits on this machine's disk and what was set aside; exit code 1 when something was")
    command.add_argument("--retry", action="store_true", help="put what was set aside back and store everything now")
    command.add_argument("--new-ids", action="store_true", help="with --retry: give each of them a new ticket id, for where other tickets have theirs")
    command.set_defaults(run=operate.spool)

    backup.add(commands)
    access.add(commands)
    evaluation.add(commands)
    return parser
