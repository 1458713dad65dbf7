"""What a policy's target accuracy promises, what it all rests on, what a change would have meant, and what was in force before."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine import policy as policies
from engine import policy_words
from engine.accuracy import AccuracySnapshot
from engine.domain import Policy, Thresholds
from engine.risk import Basis, DepartmentThreshold
from engine.sampled import Sampled
from engine.tracking import Evidence
from pages.parts import unsampled, words
from pages.parts.policy_form import EXACT
from pages.parts.policy_start import figure

# What a decision that is stored cannot tell anew.
UNCOUNTED = {
    "stages": "the stages", "similarity": "the nearest similarity", "neighbours": "the neighbours that must agree", "deadline": "the deadline",
}
BASIS = {
    Basis.OWN: "own labels", Basis.POOLED: "all with few labels", Basis.NONE: "nothing yet",
}
NEEDED = (
    "The first number does if the labels to come are much like the present ones, and sometimes fewer do. With the second, or with a number "
    "that stands alone, the promise is given in four of five cases, as far as the labels tell. “Or more”: they do not tell whether it can be given at all."
)


def promise(policy: Policy, found: Mapping[str, DepartmentThreshold]) -> None:
    """Each department's derived threshold, what it rests on, and how many labels are still needed."""
    if not found:
        return
    rows, beyond = [], []
    for name, item in found.items():
        t, own = item.threshold, policy.departments.get(name)
        value, share, asked = t.value, None if t.value is None else 100 * t.coverage, policy.answers_at(name)
        if value is not None and asked > value:
            # By its own limit; what share that leaves, nobody has counted.
            value, share = asked, None
            beyond.append(words.plain(name))
        rows.append((name, value, own and max(own.preselect, asked), share, BASIS[item.basis] + pool(item), item.labels, needed(item)))
    st.subheader(f"What can be promised for {policy.target_accuracy:.1%}", anchor=False)
    st.dataframe(
        pd.DataFrame(rows, columns=["Department", "Routed alone from", "One click from", "Share routed alone", "Rests on", "Labels", "Labels needed"]),
        hide_index=True, width="stretch", placeholder="",
        column_config={
            "Routed alone from": st.column_config.NumberColumn(format="%.4f"), "One click from": st.column_config.NumberColumn(format="%.4f"),
            "Share routed alone": st.column_config.NumberColumn(format="%.0f%%"), "Labels needed": st.column_config.TextColumn(help=NEEDED),
        },
    )
    if beyond:
        st.caption(
            f"{', '.join(beyond)}: the department's own limit asks for more than its promise, so that only a part of the tickets which that is about "
            "goes alone. How large and how accurate this part is was not counted."
        )
    st.caption(
        f"Each promise is kept with a probability of {1 - policy.delta:.0%}. One that rests on own labels is about that department. One that rests "
        "on all with few labels is about the tickets of these together, at that threshold, as is its share: one of them may fall "
        "short of it, above all one without labels of its own. Where a promise rests on nothing yet, the explicit thresholds hold."
    )
    if all(item.basis is Basis.NONE for item in found.values()):
        st.info(
            "Not enough labels yet for a promise. The explicit thresholds above hold; as soon as labels allow a promise, this page offers it. "
            "Label tickets on the Review page.", icon=":material/rule:",
        )


def pool(item: DepartmentThreshold) -> str:
    """How many labels a pooled promise rests on, in brackets; empty for any other."""
    return f" ({item.threshold.labels:,} together)" if item.basis is Basis.POOLED else ""


def needed(item: DepartmentThreshold) -> str:
    """What a department still lacks for its promise; empty when it has one."""
    if item.basis is not Basis.NONE:
        return ""
    t = item.threshold
    if t.noisy_batch:
        return "too few tickets: chance alone breaks it"
    if t.labels_needed is None:
        return "cannot be reached"
    least = _about(t.labels_needed)
    if t.labels_enough is None:
        return f"about {least} or more"
    enough = _about(t.labels_enough)
    return f"about {least} more" if least == enough else f"about {least} to {enough} more"


def _about(number: int) -> str:
    """The number with two digits, rounded up: more of them would claim a knowledge that a forecast does not have."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return f"{-(-number // unit) * unit:,}"


def assumption(evidence: Evidence, sampled: Sampled, *, model: str, demo: bool) -> None:
    """What the figures rest on, and what has to be so for them to hold."""
    if demo and len(evidence):
        st.info(
            "These are labels of demo tickets. They show what the page does; a promise that rests on them is not put in force. "
            "From the first real ticket on, only real labels count.", icon=":material/science:",
        )
    few = len(evidence) - len(evidence.telling())
    without = ((evidence.retired, "retired departments"), (evidence.foreign, "another embedder"), (few, "policies that reviewed few"))
    left_out = [f"{n:,} of {what}" for n, what in without if n]
    if not len(evidence) and not left_out:
        return
    ours = evidence.of_model(model)
    st.caption(
        f"Counted from {words.count(len(evidence), 'label')}: {ours:,} on answers of the model in force ({model}), {len(evidence) - ours:,} of earlier models"
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
        + ". What is derived assumes that coming tickets are like the reviewed ones and that a shown confidence meant the same under earlier "
        "models and policies as it does now."
    )
    unsampled.of_labels(evidence)
    for note in sampled.notes:
        st.caption(note)


def offer(changes: Mapping[str, tuple[Thresholds | None, Thresholds | None]], live: Policy, *, labels: int) -> str | None:
    """What newer labels would derive for the target in force; the reason to save when somebody applies it, else None."""
    if not changes:
        return None
    st.info(f"Newer labels give other thresholds for {live.target_accuracy:.1%}. Those in force stay until they are applied.", icon=":material/update:")
    st.dataframe(
        pd.DataFrame(
            [(name, old and old.auto, new and new.auto) for name, (old, new) in changes.items()], columns=["Department", "In force", "From the labels now"]
        ),
        hide_index=True, width="stretch", placeholder="",
        column_config={n: st.column_config.NumberColumn(format="%.4f") for n in ("In force", "From the labels now")},
    )
    st.caption(f"Empty: no promise, so the explicit {figure(live.thresholds.auto)} holds.")
    if st.button("Apply the newer thresholds", key="apply_newer", icon=":material/update:"):
        return f"Thresholds for {live.target_accuracy:.1%} derived anew from {labels:,} labels."
    return None


def compare(live: Policy, proposed: Policy, evidence: Evidence, snapshot: AccuracySnapshot) -> None:
    """What live and proposed policy would have meant for the reviewed tickets."""
    if not len(evidence):
        st.caption("No label yet of a ticket that chance chose for review, so nothing can be said about what a change would have meant.")
        return
    before, after = (policies.effect(policy, evidence, accuracy=snapshot) for policy in (live, proposed))
    one, two, three = st.columns(3)
    one.metric("Routed alone", f"{after.routed_alone:.1%}", _points(before.routed_alone, after.routed_alone), border=True,
               help="Sure enough for its department, and not held back because too few of its like were right")
    right = "–" if after.accuracy is None else f"{after.accuracy:.1%}"
    two.metric("Of these right", right, _points(before.accuracy, after.accuracy), border=True)
    three.metric("Counted from", words.count(after.labels, "label"), border=True, help="Reviewed tickets, weighted to stand for those that could be sampled")
    if after.accuracy is not None:
        low, high = after.interval
        paired = "" if proposed == live else " Both policies are counted from the same tickets: their difference is as a rule surer."
        st.caption(f"Of these right: 95% interval {low:.1%} to {high:.1%}.{paired}")
    uncounted = [title for name, title in UNCOUNTED.items() if getattr(live, name) != getattr(proposed, name)]
    if any(live.limits_of(name).similarity != proposed.limits_of(name).similarity for name in {*live.limits, *proposed.limits}):
        uncounted.append("the nearest similarity of single departments")
    if uncounted:
        st.caption(
            f"Not wholly in these figures: {', '.join(uncounted)}. By whom tickets are then answered only new ones show: "
            "look at the dashboard, filtered by policy, after the change."
        )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _points(before: float | None, after: float | None) -> str | None:
    """The change in percentage points, None where there is none to speak of."""
    change = 0.0 if before is None or after is None else round(100 * (after - before), 1)
    return f"{change:+.1f} points" if change else None


def history(rows: Sequence[Any]) -> int | None:
    """The earlier policies as a table; the number of the one that was picked."""
    if not rows:
        st.caption("None yet. The first change you make becomes policy 1.")
        return None
    frame = pd.DataFrame(
        [(r.number, r.created_at, r.author, r.reason, _percent(r.config["target_accuracy"]), r.config["auto"], r.live) for r in rows],
        columns=["Policy", "Since (UTC)", "Author", "Reason", "Target", "Routed alone from", "In force"],
    )
    st.dataframe(
        frame, hide_index=True, width="stretch", placeholder="",
        column_config={
            "Since (UTC)": words.TIMES["Time (UTC)"], "Target": st.column_config.NumberColumn(format="%.1f%%"),
            "Routed alone from": st.column_config.NumberColumn(format=EXACT),
        },
    )
    # What was in force before the first change is no row.
    earlier = [*(r.number for r in rows if not r.live), 0]
    return st.selectbox("Go back to", earlier, index=None, key="policy_earlier", format_func=policy_words.name)
