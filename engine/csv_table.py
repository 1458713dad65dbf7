"""The rows of a CSV file, read so that no cell is lost: the one way in for files of tickets, departments and labels."""
from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engine.errors import InputRejected

SEPARATORS = ",;\t"
# Each row has a cell for every column, and names are compared with one another: a header of 40,000 took 35 s.
MOST_COLUMNS = 1_000
# The reader's own limit names neither the field nor the ticket's limit: whoever uses a cell checks its length.
_LONGEST_CELL = 2**31 - 1
# So many characters of the columns' names are repeated in a message.
_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row: the line of the file on which it begins (header = 1), and its cells by the column's key, missing ones empty.

    `problem` says why it cannot be used: text stands beside the columns. Its cells are then not what was meant.
    """

    line: int
    cells: dict[str, str]
    problem: str = ""


def key(column: str) -> str:
    """The name by which a row's cells hold this column: capital letters and blanks around it do not matter."""
    return column.strip().casefold()


def rows(content: bytes, *, columns: Sequence[str], refused: Callable[[str], InputRejected]) -> Iterator[CsvRow]:
    """The rows of a CSV with a header that has at least these columns, given as their keys; lines in which nothing stands are
    passed over, whatever separators and blanks they have.

    UTF-8, or UTF-16 with its mark; comma, semicolon or tab, whichever gives the columns. Columns without a name at the
    end of the header are none. Raises what `refused` makes of the problem, a sentence without its full stop: binary data,
    another encoding, more than `MOST_COLUMNS`, a missing column, one that is there twice, broken quoting.
    """
    text = _decoded(content, refused)
    csv.field_size_limit(_LONGEST_CELL)
    headers = {separator: _header(text, separator) for separator in SEPARATORS}
    fitting = [separator for separator, names in headers.items() if set(columns) <= set(names)]
    separator = fitting[0] if fitting else max(headers, key=lambda sign: len(headers[sign]))
    names = headers[separator]
    if len(names) > MOST_COLUMNS:
        raise refused(f"at most {MOST_COLUMNS:,} columns; found {len(names):,}")
    if not fitting:
        missing = [column for column in columns if column not in names]
        which = f"column {missing[0]} is" if len(missing) == 1 else f"columns {', '.join(missing)} are"
        raise refused(f"the {which} missing; found {', '.join(names)[:_TOLD] or 'an empty file'}")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise refused(f"the column {twice[:_TOLD]} is there twice; give each column a name of its own")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        header = True
        for values in reader:
            if not _filled(values):
                pass
            elif header:
                header = False
            else:
                yield CsvRow(line, dict(zip(names, values + [""] * len(names), strict=False)), _surplus(values, len(names)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise refused(f"line {line}: not a valid CSV ({error})") from error


def _filled(values: Sequence[str]) -> bool:
    # Spreadsheets write the separators of emptied rows too, often hundreds of them at the end.
    return any(value.strip() for value in values)


def _surplus(values: list[str], columns: int) -> str:
    # Spreadsheets end rows with separators that nothing stands between: nothing is lost with these.
    if not any(value.strip() for value in values[columns:]):
        return ""
    return f"{len(values):,} cells, {columns:,} column{'' if columns == 1 else 's'}; put the text in quotes"


def _header(text: str, separator: str) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names = [key(name) for name in next(filter(_filled, reader), [])]
    while names and not names[-1]:
        names.pop()
    return names


def _decoded(content: bytes, refused: Callable[[str], InputRejected]) -> str:
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        if utf16:
            raise refused("begins as UTF-16, but is not all of it; save it as “CSV UTF-8” and try again") from error
        line = error.object[: error.start].count(b"\n") + 1
        raise refused(f"must be UTF-8; line {line} is not. Save it as UTF-8 and try again") from error
    if "\x00" in text:
        raise refused("must be a CSV text file; found binary data. A spreadsheet's table is saved as “CSV UTF-8”")
    return text
