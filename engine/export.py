"""CSV that is harmless in a spreadsheet."""
from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

# What makes a spreadsheet take a cell for a formula, in ASCII and full width; blanks before it do not help.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\u2212")
_CONTROL = ("\t", "\r", "\n", "\x00")
# A spreadsheet set to semicolons or tabs reads our quotes as part of the text and begins a new cell behind each of these.
_WITHIN = re.compile(rf"([;\t\r\n][\s\"]*)(?=[{re.escape(''.join(_FORMULA))}])")


def neutral(value: object) -> object:
    """Texts that a spreadsheet would run get an apostrophe in front, also where it would take a part of them for a cell; numbers and
    times stay what they are.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    first = value.lstrip()
    shown = value[: len(value) - len(first)] + _WITHIN.sub(r"\1'", first)
    return f"'{shown}" if value.startswith(_CONTROL) or first.startswith(_FORMULA) else shown


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """RFC 4180 in UTF-8 with a byte order mark, every text neutral, headers too."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([neutral(name) for name in columns])
    writer.writerows([neutral(value) for value in row] for row in rows)
    return out.getvalue().encode("utf-8-sig", errors="replace")
