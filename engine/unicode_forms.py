"""Unicode's normal forms in time that grows with the text, also where thousands of combining marks stand on one letter."""
from __future__ import annotations

import re
import unicodedata
from itertools import groupby
from typing import Literal

# Marks are no word characters, except the half-width sound marks, which are letters until NFKC makes marks of them.
_MANY_MARKS = re.compile("(?:[^\\w\x00-\x7f]|[\uff9e\uff9f]){64,}")


def normal_form(form: Literal["NFC", "NFKC"], text: str) -> str:
    """As `unicodedata.normalize`, which orders the n marks of a run in n squared steps."""
    return unicodedata.normalize(form, text if text.isascii() else _MANY_MARKS.sub(lambda run: _ordered(form, run[0]), text))


def _ordered(form: str, run: str) -> str:
    """The run taken apart, its marks in canonical order, so that nothing is left to move (Unicode, section 3.11, D109)."""
    apart = "".join(unicodedata.normalize(form.replace("C", "D"), sign) for sign in run)
    groups = groupby(apart, key=lambda sign: unicodedata.combining(sign) > 0)
    return "".join("".join(sorted(group, key=unicodedata.combining)) if marks else "".join(group) for marks, group in groups)
