"""The commands backup and restore."""
from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine import audit, bootstrap, settings
from engine.audit import Audit, Verified
from engine.commands.access import BY, witness
from engine.commands.bar import growing
from engine.commands.opened import caller
from engine.commands.place import expect_writable
from engine.commands.show import show
from engine.errors import ConsoleError, InputRejected
from engine.safe_file import safely
from engine.settings import Settings
from engine.spool import Spool
from engine.telemetry.log import DecisionLog

_AFTERWARDS = (
    "Users and tokens are those of the dump: disable and revoke again what was disabled or revoked since.",
    "Tickets since the dump are gone, apart from those in the spool, which are routed when the console starts. "
    "Files can be imported again: their tickets count once.",
    "Charts that do not agree with the decisions: `python -m engine rollup --rebuild`.",
)


def add(commands: Any) -> None:
    """Add the commands and their options to the parser's commands."""
    command = commands.add_parser("backup", help="write the database into a file, while the console runs or not; says what to keep with it")
    command.add_argument("file", type=Path, help="the dump to write, in the custom format of Postgres' pg_dump")
    command.add_argument("--replace", action="store_true", help="replace the file if there is one, once the new one is whole")
    command.set_defaults(run=backup)

    command = commands.add_parser("restore", help="make a database of a dump, with every console stopped; into an empty one alone")
    command.add_argument("file", type=Path, help="a dump that `backup` or `pg_dump --format=custom` has written")
    command.add_argument("--head", type=witness, metavar="HASH", help="demand that the dump's audit log reaches this row, noted at a backup")
    command.add_argument("--put-aside", action="store_true", help="embedded database: keep the earlier one beside, as postgres.before-TIME")
    command.set_defaults(run=restore)


def backup(arguments: Namespace) -> int:
    """Write the dump and print what to note; 1 also when the audit log in it does not hold together."""
    file, chosen = arguments.file, settings.load()
    expect_writable(file)
    _expect_free(file, replace=arguments.replace)
    archive = bootstrap.archive(chosen)
    with archive.moment() as moment, _audited(chosen, moment.audit) as log:
        taken = datetime.now(UTC)
        found = log.verify()
        try:
            with safely(file) as written:
                with growing(Path(written.name)):
                    archive.dump(moment, Path(written.name))
                _expect_free(file, replace=arguments.replace)
        except OSError as error:
            raise ConsoleError(f"{file}: cannot be written: {error.strerror}. No backup was made") from error
        said = {"schema": moment.contents.schema, "tickets": moment.contents.tickets, "labels": moment.contents.labels}
        size = file.stat().st_size
        try:
            log.record(BY, "backup_made", "database", file.name, after={**said, "bytes": size, "head": found.head})
        except ConsoleError as error:
            raise ConsoleError(f"{file}: the backup is whole, but its row in the audit log could not be written: {error}") from error
    show(json.dumps({
        "file": str(file), "bytes": size, "taken_at": taken.isoformat(timespec="seconds"), **said,
        "audit_rows": found.rows, "head": found.head, "keep_with_it": _kept_beside(chosen),
    }, ensure_ascii=False, indent=2), done=f"{file} is whole; only what the command prints is lost.")
    return _judged(found, f"{file} is whole, but the audit log in it is not: ")


def restore(arguments: Namespace) -> int:
    """Make the database and print what follows; 1 also when its audit log does not hold together."""
    chosen, aside = settings.load(), None
    if arguments.put_aside:
        if chosen.postgres_url is not None:
            raise InputRejected(
                "--put-aside: only for the embedded database. Make a new one and set DATABASE_URL to that. Nothing was changed"
            )
        aside = datetime.now(UTC)
    archive = bootstrap.archive(chosen)
    dump = archive.read(arguments.file)
    if arguments.head:
        dump.expect_head(arguments.head)
    with archive.restored(dump, aside=aside) as restored, _audited(chosen, restored.audit) as log:
        found = log.verify(witness=arguments.head or "")
        said = {"tickets": restored.contents.tickets, "labels": restored.contents.labels}
        schemas = {"dump_schema": dump.schema, "schema": restored.contents.schema}
        log.record(BY, "database_restored", "database", arguments.file.name, after={**schemas, **said, "head": found.head})
    show(json.dumps({
        "file": str(arguments.file), **schemas, **said, "audit_rows": found.rows, "head": found.head,
        "put_aside": str(restored.aside) if restored.aside is not None else None, "what_follows": _following(chosen, restored.aside),
    }, ensure_ascii=False, indent=2), done="The database is restored; only what the command prints is lost.")
    return _judged(found, "the database is restored, but its audit log does not hold together: ")


def _expect_free(file: Path, *, replace: bool) -> None:
    if file.exists() and not (replace and file.is_file()):
        why = "is there already. Name another file, or add --replace" if file.is_file() else "is no ordinary file. Name another one"
        raise InputRejected(f"{file}: {why}. No backup was made")


@contextmanager
def _audited(chosen: Settings, table: audit.AuditStore) -> Iterator[Audit]:
    """The audit log; its rows name the machine's user, and their hashes go into the decision log."""
    log = DecisionLog(chosen.routing_log_path, stream=None)
    audit.coming_from(caller())
    try:
        yield Audit(table, clock=lambda: datetime.now(UTC), log=log)
    finally:
        audit.coming_from("")
        log.close()


def _judged(found: Verified, saying: str) -> int:
    if found.broken_at is None:
        return 0
    print(f"{saying}{found.problem}", file=sys.stderr)
    return 1


def _kept_beside(chosen: Settings) -> list[str]:
    """What a backup of the database leaves out, and this machine has."""
    spool, own = Spool(chosen.spool_folder), chosen.data_dir.resolve() / "cookie.secret"
    held = spool.waiting() + len(spool.set_aside)
    env = Path(".env").resolve()
    lines = [
        (env.is_file(), f"{env}: the settings"),
        (chosen.cookie_secret is None and own.exists(), f"{own}: without it everybody is signed out"),
        (held > 0, f"{chosen.spool_folder}: {held:,} accepted tickets that are not in the database"),
    ]
    return [line for there, line in lines if there]


def _following(chosen: Settings, aside: Path | None) -> list[str]:
    lines = [*_AFTERWARDS]
    if chosen.pinecone_api_key is not None and not chosen.pinecone_off:
        lines.append("Pinecone may know exemplars that the dump does not: `python -m engine reindex`.")
    if chosen.postgres_url is not None:
        lines.append("Rights of other roles on the tables are not restored: grant them again.")
    if aside is not None:
        lines.append(f"{aside} is the earlier database: delete it when nobody misses anything.")
    return [*lines, "Start the console."]
