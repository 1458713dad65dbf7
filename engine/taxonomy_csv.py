"""Departments, topics and exemplars from CSV files: the starter taxonomy, or a customer's own."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine import csv_table
from engine.domain import Department, Exemplar, Topic
from engine.errors import TaxonomyRejected, TicketRejected
from engine.sanitize import body_text, one_line, plain_text

NAME_MAX = 120
_YES, _NO = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0", ""})


def read_rows(content: bytes, *, name: str, columns: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV with the lines they begin on. Raises TaxonomyRejected naming what is missing or too much; nothing is kept."""
    found = []
    for row in csv_table.rows(content, columns=tuple(columns), refused=lambda problem: TaxonomyRejected(f"{name}: {problem}. Nothing was loaded.")):
        if row.problem:
            raise TaxonomyRejected(f"{name} line {row.line}: {row.problem}. Nothing was loaded.")
        found.append((row.line, {column: value.strip() for column, value in row.cells.items()}))
    return found


def departments(content: bytes, *, name: str = "departments.csv") -> list[Department]:
    """Columns department, purpose, triage (optional: true, yes or 1; false, no, 0 or nothing)."""
    found = [
        Department(_name(row["department"], f"{name} line {line}"), plain_text(row["purpose"]), _yes(row.get("triage", ""), f"{name} line {line}"))
        for line, row in read_rows(content, name=name, columns=("department", "purpose"))
    ]
    _unique([d.name for d in found], name)
    if sum(d.triage for d in found) > 1:
        raise TaxonomyRejected(f"{name}: only one department can be the triage department. Nothing was loaded.")
    return found


def topics(content: bytes, known: Iterable[Department], *, name: str = "topics.csv") -> list[Topic]:
    """Columns department, topic, purpose."""
    names = {department.name for department in known}
    found = []
    for line, row in read_rows(content, name=name, columns=("department", "topic", "purpose")):
        department = one_line(row["department"])
        if department not in names:
            raise TaxonomyRejected(f"{name} line {line}: the department {row['department']!r} is not known. Nothing was loaded.")
        found.append(Topic(_name(row["topic"], f"{name} line {line}"), department, plain_text(row["purpose"])))
    _unique([t.name for t in found], name)
    return found


def exemplars(
    content: bytes, known: Iterable[Department], known_topics: Iterable[Topic], *, name: str = "exemplars.csv", source: str = "seed"
) -> list[Exemplar]:
    """Columns text, department, topic (optional). Every line must be usable, or nothing is loaded."""
    names = {department.name for department in known}
    parents = {topic.name: topic.department for topic in known_topics}
    found = []
    for line, row in read_rows(content, name=name, columns=("text", "department")):
        where = f"{name} line {line}"
        # Names are told apart as they are where they are made: composed or not, with one blank or two.
        department, topic = one_line(row["department"]), one_line(row.get("topic", ""))
        if department not in names:
            raise TaxonomyRejected(f"{where}: the department {row['department']!r} is not known. Nothing was loaded.")
        if topic and parents.get(topic) != department:
            raise TaxonomyRejected(f"{where}: the topic {topic!r} does not belong to {row['department']!r}. Nothing was loaded.")
        try:
            text = body_text(row["text"], minimum=2, maximum=20_000, field="text")
        except TicketRejected as error:
            raise TaxonomyRejected(f"{where}: {error}") from error
        found.append(Exemplar(text=text, department=department, topic=topic, source=source))
    return found


def from_exemplars(content: bytes, *, text_column: str, label_column: str, parents: dict[str, str], name: str) -> tuple[
    list[Department], list[Topic], list[Exemplar]
]:
    """A whole taxonomy from one labelled file: each label is a topic of the department that `parents` names for it.

    A label that `parents` does not know is a department of its own. Raises TaxonomyRejected.
    """
    found: list[Exemplar] = []
    text_column, label_column = csv_table.key(text_column), csv_table.key(label_column)
    for line, row in read_rows(content, name=name, columns=(text_column, label_column)):
        label = _name(row[label_column], f"{name} line {line}")
        try:
            text = body_text(row[text_column], minimum=2, maximum=20_000, field=text_column)
        except TicketRejected as error:
            raise TaxonomyRejected(f"{name} line {line}: {error}") from error
        found.append(Exemplar(text=text, department=parents.get(label, label), topic=label if label in parents else "", source="imported"))
    made = [Department(department, f"Tickets about {department}.") for department in sorted({e.department for e in found})]
    labels = sorted({(e.topic, e.department) for e in found if e.topic})
    return made, [Topic(topic, department) for topic, department in labels], found


def starter(folder: Path) -> tuple[list[Department], list[Topic], list[Exemplar]]:
    """The starter taxonomy that is shipped with the product."""
    some = departments((folder / "departments.csv").read_bytes())
    finer = topics((folder / "topics.csv").read_bytes(), some)
    return some, finer, exemplars((folder / "exemplars.csv").read_bytes(), some, finer)


def _name(value: str, where: str) -> str:
    name = one_line(value)
    if not name or len(name) > NAME_MAX:
        raise TaxonomyRejected(f"{where}: a name of 1 to {NAME_MAX} characters is needed; found {value[:40]!r}. Nothing was loaded.")
    return name


def _yes(value: str, where: str) -> bool:
    if value.lower() not in _YES | _NO:
        raise TaxonomyRejected(f"{where}: triage is yes or no; found {value[:40]!r}. Nothing was loaded.")
    return value.lower() in _YES


def _unique(names: list[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TaxonomyRejected(f"{where}: {', '.join(twice[:5])} is named twice. Nothing was loaded.")
