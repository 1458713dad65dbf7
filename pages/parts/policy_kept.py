"""The Policy page: whether what went alone with the thresholds in force was as accurate as was asked for."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from engine.bootstrap import Engine
from engine.domain import Policy
from engine.kept import Kept

DAYS = 30
_PERCENT = st.column_config.NumberColumn(format="%.1f%%")


def read(engine: Engine, *, demo: bool) -> Sequence[Kept]:
    """The labels of the last `DAYS` days, by department. Raises ServiceUnavailable."""
    return engine.reviewed.kept(demo=demo, since=datetime.now(UTC) - timedelta(days=DAYS))


def show(live: Policy, found: Sequence[Kept]) -> None:
    """What the labels of the last `DAYS` days say of it, as a whole and by department; nothing without a target."""
    whole = Kept.together(found)
    if live.target_accuracy is None:
        return
    if whole is None:
        st.caption(
            f"No ticket that went alone with these thresholds has been labelled in the last {DAYS} days, so nothing says yet whether "
            f"{live.target_accuracy:.1%} of them are right."
        )
        return
    low, high = whole.interval
    said = (
        f"Of the tickets that went alone with these thresholds {whole.accuracy:.1%} were right ({low:.1%} to {high:.1%}; asked for: {whole.target:.1%}; "
        f"{_labels(whole)} of the last {DAYS} days)."
    )
    short = [part for part in found if part.missed()]
    if whole.missed() or short:
        st.warning(
            f"{said} {'That' if whole.missed() else f'In {len(short)} of {len(found)} departments it'} is less than was asked for, by more than chance "
            "explains: tickets have changed since the thresholds were derived, or those labelled before were not like them. Thresholds from "
            "newer labels are offered on this page as soon as they differ.",
            icon=":material/trending_down:",
        )
    else:
        st.caption(said)
    with st.expander("By department", expanded=bool(short)):
        st.dataframe(
            pd.DataFrame(
                [
                    (k.department, 100 * k.accuracy, *(100 * end for end in k.interval), round(k.labels), "less than asked for" if k.missed() else "")
                    for k in found
                ],
                columns=["Department", "Right", "At least", "At most", "Labels", "Beyond chance"],
            ),
            hide_index=True, width="stretch", column_config=dict.fromkeys(("Right", "At least", "At most"), _PERCENT),
        )
        st.caption(
            "At least and at most: 95% interval. Labels weigh as much as the tickets they stand for; the number is that of evenly drawn ones that say as much."
        )


def _labels(kept: Kept) -> str:
    number = round(kept.labels)
    return f"{number:,} label{'' if number == 1 else 's'}"
