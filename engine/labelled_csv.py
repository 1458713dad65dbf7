"""Labelled tickets from a CSV file: what can be read of it, and how many rows were left out for which reason."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass

from engine.errors import ImportRejected
from engine.sanitize import plain_text

LONGEST_FIELD = 10_000_000
NO_TEXT = "no text"
NO_LABEL = "no label"


@dataclass(frozen=True, slots=True)
class LabelledTickets:
    """Texts, cleaned like any ticket's, and their labels; `skipped` counts left-out rows by reason."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    skipped: dict[str, int]


def read(content: bytes, *, name: str, text_column: str = "text", label_column: str = "category") -> LabelledTickets:
    """Read a UTF-8 CSV with a header; comma, semicolon and tab separate columns.

    Raises ImportRejected for binary data, another encoding, a missing column (naming those that are there), broken
    quoting, or when no row has both a text and a label. Rows without one of them are left out and counted.
    """
    if b"\x00" in content:
        raise ImportRejected(f"{name}: must be a CSV text file; found binary data")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ImportRejected(f"{name}: must be UTF-8; line {line} is not. Save it as UTF-8 and try again") from error
    csv.field_size_limit(LONGEST_FIELD)
    header = text.split("\n", 1)[0]
    separators = [sign for sign in ",;\t" if {text_column, label_column} <= set(_fields(header, sign))]
    if not separators:
        found = ", ".join(_fields(header, ",")) or "nothing"
        wanted = f"{text_column!r} and {label_column!r}"
        raise ImportRejected(f"{name}: needs the columns {wanted}; its first line has {found}")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separators[0], strict=True)
    reader.fieldnames = [field.strip() for field in reader.fieldnames or []]
    texts, labels, skipped = [], [], Counter[str]()
    try:
        for row in reader:
            body, label = plain_text(row[text_column] or ""), (row[label_column] or "").strip()
            if not body or not label:
                skipped[NO_LABEL if body else NO_TEXT] += 1
                continue
            texts.append(body)
            labels.append(label)
    except csv.Error as error:
        raise ImportRejected(f"{name}: not a valid CSV ({error})", row=reader.line_num) from error
    if not texts:
        raise ImportRejected(f"{name}: no row has both a text and a label")
    return LabelledTickets(tuple(texts), tuple(labels), dict(sorted(skipped.items())))


def parents(content: bytes, *, name: str) -> dict[str, str]:
    """A JSON object of label -> department. Raises ImportRejected for anything else, with the place of a mistake."""
    try:
        found = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ImportRejected(f"{name}: must be a JSON object of label and department; {error}") from error
    except RecursionError as error:
        raise ImportRejected(f"{name}: must be a JSON object of label and department; it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ImportRejected(f"{name}: must be a JSON object of label and department; found a {type(found).__name__}")
    wrong = next((label for label, department in found.items() if not isinstance(department, str) or not department.strip()), None)
    if wrong is not None:
        raise ImportRejected(f"{name}: the department of {wrong!r} must be a name; found {json.dumps(found[wrong])[:40]}")
    return found


def _fields(header: str, separator: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([header.strip("\r\n")], delimiter=separator), [])]
