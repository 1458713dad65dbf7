"""Labelled tickets from a CSV file: what can be read of it, and how many rows were left out for which reason."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from engine import csv_table
from engine.errors import ImportRejected
from engine.sanitize import one_line, plain_text

NO_TEXT = "no text"
NO_LABEL = "no label"


@dataclass(frozen=True, slots=True)
class LabelledTickets:
    """Texts, cleaned like any ticket's, and their labels; `skipped` counts left-out rows by reason."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    skipped: dict[str, int]


def read(content: bytes, *, name: str, text_column: str = "text", label_column: str = "category") -> LabelledTickets:
    """Read a CSV with a header, as `csv_table.rows` does.

    Raises ImportRejected for what that refuses, for a row with more cells than columns, or when no row has both a text
    and a label. Rows without one of them are left out and counted.
    """
    texts, labels, skipped = [], [], Counter[str]()
    text_column, label_column = csv_table.key(text_column), csv_table.key(label_column)
    for row in csv_table.rows(content, columns=(text_column, label_column), refused=lambda problem: ImportRejected(f"{name}: {problem}")):
        if row.problem:
            raise ImportRejected(f"{name}: line {row.line}: {row.problem}")
        body, label = plain_text(row.cells[text_column]), one_line(row.cells[label_column])
        if not body or not label:
            skipped[NO_LABEL if body else NO_TEXT] += 1
            continue
        texts.append(body)
        labels.append(label)
    if not texts:
        raise ImportRejected(f"{name}: no row has both a text and a label")
    return LabelledTickets(tuple(texts), tuple(labels), dict(sorted(skipped.items())))


def parents(content: bytes, *, name: str) -> dict[str, str]:
    """A JSON object of label -> department, cleaned like the labels of a file.

    Raises ImportRejected for anything else, with the place of a mistake, and for a label that stands there with two departments.
    """
    try:
        found = json.loads(content, object_pairs_hook=_Pairs)
    except ValueError as error:  # also a number of thousands of digits, which Python does not read
        raise ImportRejected(f"{name}: must be a JSON object of label and department; {error}") from error
    except RecursionError as error:
        raise ImportRejected(f"{name}: must be a JSON object of label and department; it is nested too deeply") from error
    if not isinstance(found, _Pairs):
        raise ImportRejected(f"{name}: must be a JSON object of label and department; found a {type(found).__name__}")
    above: dict[str, str] = {}
    for label, department in found:
        if not isinstance(department, str) or not one_line(department):
            said = "an object" if isinstance(department, _Pairs) else json.dumps(department)[:40]
            raise ImportRejected(f"{name}: the department of {label!r} must be a name; found {said}")
        if above.setdefault(one_line(label), one_line(department)) != one_line(department):
            raise ImportRejected(f"{name}: {label!r} stands there twice, with the departments {above[one_line(label)]!r} and {department!r}")
    return above


class _Pairs(list[tuple[str, object]]):
    """A JSON object with all it holds, also what is named twice."""

