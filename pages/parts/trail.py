"""The audit log as a table, and what its check found."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine.bootstrap import Engine
from engine.errors import ConsoleError
from pages.parts import mishap

# In pixels: all but the change, which is as long as it is, beside the navigation of a window of 1280.
WIDTHS = {
    "Number": st.column_config.NumberColumn(width=70), "Who": st.column_config.TextColumn(width=110), "What": st.column_config.TextColumn(width=130),
    "Object": st.column_config.TextColumn(width=150), "From": st.column_config.TextColumn(width=120),
    "Change": st.column_config.TextColumn(width="large"),
}


def table(rows: Sequence[Any]) -> pd.DataFrame:
    """The rows for the page, with what changed in one readable column; before, after and hash are in the CSV."""
    shown = [
        (row.id, row.at, row.actor, row.action.replace("_", " "), f"{row.kind} {row.object}", row.address, _change(row.before, row.after))
        for row in rows
    ]
    return pd.DataFrame(shown, columns=["Number", "Time (UTC)", "Who", "What", "Object", "From", "Change"])


def _change(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    old, new = before or {}, after or {}
    parts = []
    for name in dict.fromkeys([*old, *new]):
        if name in old and name in new and old[name] != new[name]:
            parts.append(f"{name}: {old[name]} → {new[name]}")
        elif name not in old or name not in new:
            parts.append(f"{name}: {new.get(name, old.get(name))}")
    return ", ".join(parts)


def verify(engine: Engine) -> None:
    """Walk the chain and say what came of it."""
    try:
        found = engine.audit.verify()
    except ConsoleError as error:
        mishap.told("The chain could not be checked.", error)
        return
    if found.broken_at is None:
        st.success(f"All {found.rows:,} rows fit together.", icon=":material/verified:")
        st.code(found.head, language=None)
    else:
        st.error(f"The log was tampered with: {found.problem}.", icon=":material/gpp_bad:")
