"""Commands about tickets: route, import, load, demo."""
from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import Counter
from contextlib import suppress
from pathlib import Path

from engine import demo as demo_module
from engine import imports, labelled_csv, taxonomy_csv
from engine.commands.access import BY
from engine.commands.bar import bar
from engine.commands.columns import expect_two_columns
from engine.commands.opened import opened
from engine.commands.show import show
from engine.decision_json import as_dict
from engine.domain import Origin, Spooled, TicketDraft
from engine.errors import ImportRejected, InputRejected


UNLOADED = "Nothing was loaded."


def route(arguments: Namespace) -> int:
    """Print the decision of one ticket as JSON."""
    draft = TicketDraft(
        body=arguments.text, subject=arguments.subject, channel=arguments.channel, priority=arguments.priority,
        customer_ref=arguments.customer_ref, ticket_id=arguments.ticket_id, origin=Origin.COMMAND, created_by="command line",
    )
    with opened(stores=True) as engine:
        decision = engine.router.replay(engine.router.admit(draft)) if arguments.dry_run else engine.router.route(draft)
        evidence = () if isinstance(decision, Spooled) else decision.evidence
        texts = engine.exemplars.texts([n.exemplar_id for n in evidence]) if evidence else {}
    shown = as_dict(decision)
    for neighbour in shown.get("evidence", []):
        neighbour["text"] = texts.get(neighbour["exemplar"], "")
    kept = (
        f"The ticket is accepted as {decision.ticket_id}: do not send it again, its decision is in the console."
        if not arguments.dry_run else "Nothing was stored, as asked."
    )
    show(json.dumps(shown, ensure_ascii=False, indent=2), done=kept)
    return 0


def import_file(arguments: Namespace) -> int:
    """Route a CSV file's tickets and print what happened."""
    # What is there says why it cannot be looked at when it is read.
    with suppress(OSError):
        imports.expect_size(arguments.file.stat().st_size, name=arguments.file.name)
    content = _content(arguments.file)
    passed_over = imports.unread(content, text_column=arguments.text_column)
    if passed_over:
        print(f"{arguments.file.name}: not stored, because no field has this name: {', '.join(passed_over)}", file=sys.stderr)
    with opened(following=True, stores=True) as engine:
        file = imports.read(
            content, name=arguments.file.name, router=engine.router, text_column=arguments.text_column, created_by="command line"
        )
        with bar("tickets", resumed=True) as progress:
            result = imports.run(file, router=engine.router, store=engine.decisions, progress=progress)
    methods = Counter(decision.method.value for decision in result.decisions)
    departments = Counter(decision.department for decision in result.decisions)
    show(json.dumps({
        "stored": len(result.decisions), "stored_before": result.already_stored, "methods": dict(methods.most_common()),
        "departments": dict(departments.most_common()),
    }, ensure_ascii=False, indent=2), done="The file's tickets are stored; run again, it stores none of them twice and prints that.")
    return 0


def load(arguments: Namespace) -> int:
    """Replace the taxonomy and train on it."""
    _expect_together(arguments)
    content = _content(arguments.exemplars, consequence=UNLOADED)
    if arguments.label_column:
        parents = _parents(arguments.parents) if arguments.parents else {}
        departments, topics, exemplars = taxonomy_csv.from_exemplars(
            content, text_column=arguments.text_column or "text", label_column=arguments.label_column, parents=parents,
            name=arguments.exemplars.name,
        )
    else:
        with opened(stores=True) as engine:
            departments, topics = engine.taxonomy.departments(), engine.taxonomy.topics()
        if arguments.departments:
            departments, topics = taxonomy_csv.departments(_content(arguments.departments, consequence=UNLOADED), name=arguments.departments.name), []
        if arguments.topics:
            topics = taxonomy_csv.topics(_content(arguments.topics, consequence=UNLOADED), departments, name=arguments.topics.name)
        exemplars = taxonomy_csv.exemplars(content, departments, topics, name=arguments.exemplars.name, source="imported")
    with opened(stores=True) as engine:
        with bar("exemplars") as progress:
            number = engine.trainer.replace(departments, topics, exemplars, progress=progress)
        counts = {"departments": len(departments), "topics": len(topics), "exemplars": len(exemplars), "model": number}
        engine.audit.record(BY, "taxonomy_loaded", "taxonomy", arguments.exemplars.name, after=counts)
    show(json.dumps(counts), done="The taxonomy is loaded; only what the command prints is lost.")
    return 0


def demo(arguments: Namespace) -> int:
    """Fill an empty database with demo tickets."""
    with opened(following=True, stores=True) as engine, bar("tickets") as progress:
        report = demo_module.fill(engine, tickets=arguments.tickets, progress=progress)
    show(str(report))
    return 0


def _expect_together(arguments: Namespace) -> None:
    if arguments.label_column:
        expect_two_columns(text_column=arguments.text_column or "text", label_column=arguments.label_column, consequence=UNLOADED)
    if arguments.label_column and (arguments.departments or arguments.topics):
        raise InputRejected("--label-column: the labels make the departments, so not together with --departments or --topics. Nothing was loaded.")
    for option in ("parents", "text_column"):
        if getattr(arguments, option) is not None and not arguments.label_column:
            raise InputRejected(f"--{option.replace('_', '-')}: only together with --label-column. Nothing was loaded.")


def _parents(path: Path) -> dict[str, str]:
    content = _content(path, consequence=UNLOADED)
    try:
        return labelled_csv.parents(content, name=path.name)
    except ImportRejected as error:
        raise ImportRejected(f"{error}. {UNLOADED}") from error


def _content(path: Path, *, consequence: str = "Nothing was stored.") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImportRejected(f"{path}: cannot be read: {error.strerror}. {consequence}") from error
