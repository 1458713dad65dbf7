"""Tickets that went alone and have no label that chance asked for: how often these are right nobody knows, or not yet."""
from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from engine.bootstrap import Engine
from engine.figures import Tally
from engine.timeline import ChartWindow
from engine.tracking import Evidence
from pages.parts import words


def of(engine: Engine, numbers: Collection[int], window: ChartWindow) -> tuple[int, ...]:
    """Those of these policies, of all for none, by which tickets were decided in the window; oldest first. Raises ServiceUnavailable."""
    found = [row.number for row in reversed(engine.policies.all()) if row.config["review_rate"] == 0 and (not numbers or row.number in numbers)]
    if not found:
        return ()
    _, _, decided = engine.watch.charts.choices(window)
    return tuple(number for number in found if number in decided)


def unheard(engine: Engine, numbers: Collection[int], window: ChartWindow, now: Tally) -> int:
    """How many tickets of the window went alone and could be sampled while no label is of such a one; else 0. Raises ServiceUnavailable.

    Where one of these policies (of all for none) reviews all that go alone, or audits all known cases, labels of sure tickets cannot be told from
    others.
    """
    if not now.auto or not now.surely_reviewed:
        return 0
    _, _, decided = engine.watch.charts.choices(window)
    policies = [engine.policies.find(number) for number in decided if not numbers or number in numbers]
    told = all(max(policy.review_rate, policy.audit_rate) < 1 for policy in policies)
    return now.auto if told and any(policy.review_rate for policy in policies) else 0


def of_labels(evidence: Evidence) -> None:
    """Say that what is counted from these labels speaks for doubtful tickets alone, where it does."""
    if evidence.unheard:
        st.warning(
            f"Of {words.count(evidence.unheard, 'sure ticket')} that could be sampled none has a label yet: the figures and their intervals are those of the "
            "doubtful ones alone, and accuracy is likely to be above them.", icon=":material/hourglass_top:",
        )


def warn(policies: Sequence[int], *, unheard: int) -> None:
    """Say what the figures do not speak for, if there is anything."""
    if unheard:
        st.warning(
            f"Of {words.count(unheard, 'ticket')} routed alone none that was sampled has a label yet: accuracy and its intervals are those of the doubtful "
            "ones alone, and accuracy is likely to be above them.", icon=":material/hourglass_top:",
        )
    if not policies:
        return
    several, numbers = len(policies) > 1, ", ".join(map(str, policies))
    st.warning(
        f"{'Policies' if several else 'Policy'} {numbers} review{'' if several else 's'} none of the sure tickets: for these the accuracy "
        "is unknown, and the figures here, as the alert about them, speak for the others alone.", icon=":material/hourglass_top:",
    )
