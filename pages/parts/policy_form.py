"""The policy's fields, filled from a policy, and the policy that they make."""
from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from engine import policy_words
from engine.domain import Limits, Policy, Stage, Thresholds
from pages.parts import words
from pages.parts.policy_start import Start, figure

STAGES = {
    Stage.EXACT: "Exact cache", Stage.SEMANTIC: "Similar tickets", Stage.LEARNED: "Learned router", Stage.RAG_LLM: "Language model",
}
# As many decimals as there are: what is shown is what is stored. A step also limits what a table's cell shows and takes, so it has none.
EXACT = "%g"
STEP, RATE_STEP = 0.005, 0.001
DEADLINE = "Outside services share it; half a second of it is kept from the language model for storing the decision."


def edit(start: Start) -> Policy:
    """The fields, filled from a policy; what was entered, unchecked."""
    base = start.policy
    wanted = st.segmented_control(
        "What do you ask for?", ["A target accuracy", "Explicit thresholds"], key=f"policy_mode_{start.key}",
        default="A target accuracy" if base.target_accuracy is not None else "Explicit thresholds", required=True,
    )
    target, own = None, base.departments
    if wanted == "A target accuracy":
        before = base.target_accuracy or 0.95
        shown = round(100 * before, 6)
        percent = st.slider(
            "Of the tickets routed alone, at least this share must be right", 80.0, 99.5, shown, 0.5, format="%.1f%%", key=f"policy_target_{start.key}",
        )
        # A target between two steps, untouched, is the one that is stored to its last digit.
        target, own = before if percent == shown else percent / 100, {}
    one, two, three, four = st.columns(4)
    auto = one.number_input("Routed alone from", value=base.thresholds.auto, step=STEP, format=EXACT, key=f"policy_auto_{start.key}")
    preselect = two.number_input("One click from", value=base.thresholds.preselect, step=STEP, format=EXACT, key=f"policy_preselect_{start.key}")
    confidence = three.number_input(
        "A stage answers from", value=base.confidence, step=STEP, format=EXACT, key=f"policy_confidence_{start.key}",
        help="Below this confidence the next stage is asked, and in the end a person. A department with thresholds of its own, promised or "
        "entered, is answered from its own “One click from” instead.",
    )
    accuracy = four.number_input(
        "Lowest tracked accuracy", value=base.accuracy, step=STEP, format=EXACT, key=f"policy_accuracy_{start.key}",
        help="A department and method whose reviewed accuracy may be lower (95% interval) is not routed alone.",
    )
    if wanted != "A target accuracy":
        own = _department_table(start, Thresholds(auto, preselect))
    limits = _limits_table(start, replace(base, confidence=confidence, accuracy=accuracy))
    with st.expander("Cache, audit and stages"):
        a, b, c, d = st.columns(4)
        similarity = a.number_input("Nearest similarity at least", value=base.similarity, step=STEP, format=EXACT, key=f"policy_similarity_{start.key}")
        neighbours = b.number_input("Similar tickets that must agree", 1, 25, base.neighbours, key=f"policy_neighbours_{start.key}")
        audit = c.number_input("Share of hits audited", value=base.audit_rate, step=RATE_STEP, format=EXACT, key=f"policy_audit_{start.key}")
        review = d.number_input("Share of sure ones reviewed", value=base.review_rate, step=RATE_STEP, format=EXACT, key=f"policy_review_{start.key}")
        deadline = a.number_input("Deadline of a ticket (s)", value=base.deadline, step=0.5, format=EXACT, key=f"policy_deadline_{start.key}", help=DEADLINE)
        stages = st.multiselect(
            "Stages", list(STAGES), [s for s in STAGES if s in base.stages], format_func=STAGES.__getitem__, key=f"policy_stages_{start.key}",
            help="The best guess for a person is always the last resort.",
        )
    draft = replace(
        base, confidence=confidence, accuracy=accuracy, similarity=similarity, neighbours=int(neighbours), thresholds=Thresholds(auto, preselect),
        departments=own, limits=limits, stages=frozenset(stages), audit_rate=audit, review_rate=review, deadline=deadline, target_accuracy=target,
    )
    if not _same_target(start, draft):
        return draft
    return replace(draft, departments=base.within(start.departments).departments)


def _same_target(start: Start, draft: Policy) -> bool:
    """True when what a promise rests on is untouched. Its thresholds stay then; newer labels' are offered for a click of their own."""
    return draft.target_accuracy is not None and (draft.target_accuracy, draft.thresholds) == (start.policy.target_accuracy, start.policy.thresholds)


def _department_table(start: Start, common: Thresholds) -> dict[str, Thresholds]:
    own = start.policy.departments
    rows = [(name, own[name].auto if name in own else None, own[name].preselect if name in own else None) for name in start.departments]
    with st.expander("Own thresholds of single departments", expanded=bool(own)):
        st.caption(f"Empty means {figure(common.auto)} and {figure(common.preselect)}, as for all departments.")
        table = st.data_editor(
            pd.DataFrame(rows, columns=["Department", "Routed alone from", "One click from"]), key=f"policy_departments_{start.key}",
            hide_index=True, disabled=["Department"], width="stretch", placeholder="as for all",
            column_config={n: st.column_config.NumberColumn(format=EXACT) for n in ("Routed alone from", "One click from")},
        )
    return {
        name: Thresholds(common.auto if pd.isna(auto) else float(auto), common.preselect if pd.isna(preselect) else float(preselect))
        for name, auto, preselect in table.itertuples(index=False)
        if not (pd.isna(auto) and pd.isna(preselect))
    }


def _limits_table(start: Start, common: Policy) -> dict[str, Limits]:
    columns = {"A stage answers from": "confidence", "Lowest tracked accuracy": "accuracy", "Nearest similarity at least": "similarity"}
    own = start.policy.limits
    rows = [(name, *(getattr(own.get(name, Limits()), field) for field in columns.values())) for name in start.departments]
    with st.expander("Own limits of single departments", expanded=bool(own)):
        st.caption(
            f"Empty means, as for all departments: answered from {figure(common.confidence)} (with thresholds of its own from its “One click "
            f"from”), routed alone at a tracked accuracy of {figure(common.accuracy)}, and by similar tickets at the similarity of all (below)."
        )
        table = st.data_editor(
            pd.DataFrame(rows, columns=["Department", *columns]).astype(dict.fromkeys(columns, float)), key=f"policy_limits_{start.key}",
            hide_index=True, disabled=["Department"], width="stretch", placeholder="as for all",
            column_config={name: st.column_config.NumberColumn(format=EXACT) for name in columns},
        )
    entered = {
        name: {field: float(value) for field, value in zip(columns.values(), values, strict=True) if not pd.isna(value)}
        for name, *values in table.itertuples(index=False)
    }
    return {name: Limits(**fields) for name, fields in entered.items() if fields}


def proposed(start: Start, draft: Policy, derived: Policy) -> Policy:
    """The policy that would be put in force: with the thresholds of the target that it started from while that is untouched."""
    if not _same_target(start, draft):
        return derived
    if draft.departments != derived.departments:
        st.caption(
            f"Target and thresholds are those of {policy_words.name(start.policy.number)}, so the thresholds that it promised by stay with them: "
            + (", ".join(f"{words.plain(name)} from {figure(own.auto)}" for name, own in sorted(draft.departments.items())) or "none")
            + ". What the labels promise now is below."
        )
    return draft
