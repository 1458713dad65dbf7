"""Policies that review none of the tickets which go alone: how often these are right nobody knows."""
from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from engine.bootstrap import Engine
from engine.timeline import ChartWindow


def of(engine: Engine, numbers: Collection[int], window: ChartWindow) -> tuple[int, ...]:
    """Those of these policies, of all for none, by which tickets were decided in the window; oldest first. Raises ServiceUnavailable."""
    found = [row.number for row in reversed(engine.policies.all()) if row.config["review_rate"] == 0 and (not numbers or row.number in numbers)]
    if not found:
        return ()
    _, _, decided = engine.watch.charts.choices(window)
    return tuple(number for number in found if number in decided)


def warn(policies: Sequence[int]) -> None:
    """Say what the figures do not speak for; nothing where there is no such policy."""
    if not policies:
        return
    several, numbers = len(policies) > 1, ", ".join(map(str, policies))
    st.warning(
        f"{'Policies' if several else 'Policy'} {numbers} review{'' if several else 's'} none of the sure tickets: for these the accuracy "
        "is unknown, and the figures here, as the alert about them, speak for the others alone.", icon=":material/hourglass_top:",
    )
