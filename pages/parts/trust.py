"""Whether the confidence is true: reliability, risk and coverage, accuracy cells, confusion, confident mistakes."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engine import policy as policies
from engine.accuracy import AccuracySnapshot, Band, Cell
from engine.accuracy_snapshot import MINIMUM_LABELS
from engine.alert_rules import SHIPPED, Measure
from engine.calibration import reliability
from engine.domain import Method, Policy
from engine.intervals import effective_count
from engine.model import RoutingModel
from engine.reliability import debiased_calibration_error
from engine.risk import Basis, DepartmentThreshold
from engine.sampled import Sampled
from engine.tracking import Evidence
from pages.parts import chart_tables, charts, policy_outlook, trust_charts, unsampled, words

Derived = tuple[Policy, dict[str, DepartmentThreshold]]
WARNING, GOAL = 0.85, 0.90
# With fewer labels the calibration error is often 0.000 however wrong the confidence is; the alert about it asks for as many.
TELLING = next(rule.minimum for rule in SHIPPED if rule.measure is Measure.CALIBRATION_ERROR)
BINS = 10
# As many departments fit into half a page; more need its width for their names.
BESIDE = 9
PERCENT = st.column_config.NumberColumn(format="%.0f%%")


def summary(snapshot: AccuracySnapshot, evidence: Evidence, sampled: Sampled, audits: tuple[int, int]) -> None:
    """The four figures that say whether the console can be trusted, and what stands in the way of believing them."""
    cell, hits = snapshot.cell(None), snapshot.cell(None, Method.CACHED.value)
    error = debiased_calibration_error(evidence.confidence, evidence.correct, weights=evidence.weights)
    # As the alert and the metric count them: uneven labels leave as much noise in the bins as fewer even ones.
    size = int(effective_count(evidence.weights) + 0.5)
    one, two, three, four = st.columns(4)
    of = "every ticket that could be sampled" if sampled.beyond_chance else "every ticket"
    one.metric("Accuracy of sampled tickets" if sampled.beyond_chance else "Accuracy of all tickets",
               f"{cell.rate:.1%}" if cell.rate is not None else "–", border=True,
               help=f"Weighted to stand for {of}, from {_worth(cell.n, cell.effective)}; 95% interval {cell.lower:.1%} to {cell.upper:.1%}")
    one.caption(f"{cell.lower:.1%} to {cell.upper:.1%}, {_worth(cell.n, cell.effective)}")
    two.metric("Lately", f"{cell.recent:.1%}" if cell.recent is not None else "–", border=True,
               help="Of a label half is left after 14 days; what is left of all of them is worth so many even ones of today")
    two.caption(
        f"{cell.recent_lower:.1%} to {cell.recent_upper:.1%}, worth {words.count(round(cell.recent_effective), 'label')} of today"
        if cell.recent is not None else "nothing lately"
    )
    three.metric("Calibration error", f"{error:.3f}", border=True,
                 help="Mean distance of shown confidence and found accuracy, without what chance alone adds to it, over all these labels; the alert "
                 "and the metric take those of the days that the alert looks back alone")
    labels = _worth(len(evidence), size)
    three.caption(f"{labels}; under 0.05 is good" if size >= TELLING else f"{labels}, too few to judge by: from {TELLING:,} even ones on under 0.05 is good")
    four.metric("False-hit rate", f"{1 - hits.rate:.1%}" if hits.rate is not None else "–", border=True,
                help="Answers from earlier tickets that supervisors found wrong, weighted to stand for all such answers that could be sampled")
    audited, disagreed = audits
    of_hits = _worth(hits.n, hits.effective)
    four.caption(f"{1 - hits.upper:.1%} to {1 - hits.lower:.1%}, {of_hits}" if hits.n else "no answer from earlier tickets is labelled yet")
    if audited:
        four.caption(f"The learned router disagreed with {disagreed:,} of {words.count(audited, 'audited one')}")
    unsampled.of_labels(evidence)
    for note in sampled.notes:
        st.warning(note, icon=":material/hourglass_top:")


def _worth(labels: int, effective: float) -> str:
    """How many labels there are, and how many evenly drawn ones they are worth where that is not the same: intervals rest on these."""
    number = words.count(labels, "label")
    return number if effective >= labels - 0.5 else f"{number} worth {effective:,.0f} even ones"


def calibration(model: RoutingModel | None) -> None:
    """How many labels each method's shown confidence rests on."""
    if model is None:
        return
    rows = [
        (words.METHOD[Method(name)] if name in set(Method) else "Learned router, words alone", c.labels, round(c.effective), round(c.support - c.effective))
        for name, c in sorted(model.calibrators.items())
    ]
    with st.expander(f"What the shown confidence rests on (model {model.number})"):
        st.dataframe(
            pd.DataFrame(rows, columns=["Method", "Labels", "Worth even ones", "Prior counts as"]), hide_index=True, width="stretch",
        )
        st.caption("Labels are reviewed tickets where there are some, examples that were held out before. The fewer they are beside the prior, "
                   "the more the confidence is what the prior says.")


def reliability_diagram(evidence: Evidence) -> None:
    """Shown confidence against found accuracy, for all methods or one, all departments or one."""
    one, two = st.columns(2)
    method = one.selectbox("Method", ["All methods", *sorted(set(evidence.methods))], key="trust_method",
                           format_func=lambda name: words.METHOD.get(Method(name), name) if name in set(Method) else name)
    department = two.selectbox("Department", ["All departments", *sorted(set(evidence.departments))], key="trust_department")
    chosen = np.array([
        (method == "All methods" or m == method) and (department == "All departments" or d == department)
        for m, d in zip(evidence.methods, evidence.departments, strict=True)
    ], dtype=bool)
    if not chosen.any():
        st.caption("No label for this choice yet.")
        return
    bins = reliability(
        evidence.confidence[chosen], evidence.correct[chosen], bins=min(BINS, max(1, int(chosen.sum()) // 5)), weights=evidence.weights[chosen]
    )
    st.plotly_chart(trust_charts.reliability_diagram(bins, n=int(chosen.sum())), key="reliability", config=charts.config("reliability"))
    # For who does not see it: a chart says its axes to a screen reader, and no more.
    with st.expander("This diagram as a table"):
        st.dataframe(
            pd.DataFrame(
                [(100 * b.confidence, 100 * b.accuracy, 100 * b.lower, 100 * b.upper, b.count) for b in bins],
                columns=["Shown", "Found right", "At least", "At most", "Labels"],
            ),
            hide_index=True, width="stretch", column_config=dict.fromkeys(("Shown", "Found right", "At least", "At most"), PERCENT),
        )
        st.caption("At least and at most: 95% interval.")


def derived(evidence: Evidence, policy: Policy, departments: Sequence[str]) -> Derived:
    """The policy with thresholds for its target, or for 95% where it has none, and what each department's rests on."""
    return policies.derived(replace(policy, target_accuracy=policy.target_accuracy or 0.95), evidence, departments)


def slider(
    evidence: Evidence, policy: Policy, volume: float, departments: Sequence[str], snapshot: AccuracySnapshot, begins_with: Derived
) -> None:
    """Target accuracy -> share routed alone and expected errors a day, if a policy with that target were in force."""
    meant, found = begins_with
    percent = st.slider("Target accuracy of tickets routed alone", 80.0, 99.5, 100 * meant.target_accuracy, 0.5, format="%.1f%%", key="trust_target")
    target = percent / 100
    if target != meant.target_accuracy:
        meant, found = derived(evidence, replace(policy, target_accuracy=target), departments)
    effect = policies.effect(meant, evidence, accuracy=snapshot)
    curve = policies.curve(meant, evidence, accuracy=snapshot)
    st.plotly_chart(trust_charts.risk_coverage(curve, target=target, chosen=effect, n=len(evidence)), key="risk", config=charts.config("routed-alone"))
    held = 1.0 - float(curve.coverage[-1]) if len(curve.coverage) else 1.0
    beyond = f" {words.percent(held)} of tickets are beyond both: their department and method is gated, or the stage that answers them is off."
    st.caption("The curve is what one threshold for all departments would do; the dot is the policy with this target, in which each department may "
               f"have its own.{beyond if held > 1e-9 else ''}")
    chart_tables.risk_coverage(curve)
    share = f"{effect.routed_alone:.0%} of tickets routed alone, {_wrong_a_day(effect, volume)}, by {words.count(effect.labels, 'reviewed ticket')}"
    promised = sum(item.basis is not Basis.NONE for item in found.values())
    if promised:
        pooled = sum(item.basis is Basis.POOLED for item in found.values())
        together = f", {pooled} of them one for all {pooled} together" if pooled > 1 else ""
        others = "" if promised == len(found) else "; in the others the explicit thresholds go on"
        st.success(
            f"With this target: {share}. {promised} of {len(found)} departments get the promise of at least {target:.1%} right{together}. A promise "
            f"is kept with a probability of {1 - policy.delta:.0%}{others}.", icon=":material/verified:",
        )
    else:
        st.warning(f"No department can be promised {target:.1%} yet. With the explicit thresholds: {share}.", icon=":material/rule:")


def _wrong_a_day(effect: policies.Effect, volume: float) -> str:
    at = f"at {volume:,.0f} tickets a day"
    if effect.accuracy is None:
        return f"none wrong {at}"
    alone, (low, high) = volume * effect.routed_alone, effect.interval
    return f"about {alone * (1 - effect.accuracy):.1f} wrong ones a day (95% interval {alone * (1 - high):.1f} to {alone * (1 - low):.1f}) {at}"


def cells(snapshot: AccuracySnapshot, policy: Policy) -> None:
    """Accuracy per department, method and band, against warning and goal, and whether it holds automation back."""
    rows, by_band = [], []
    for (department, method, band), cell in snapshot.cells.items():
        if department is None or method is None or band is not None or cell.rate is None:
            continue
        gate = snapshot.gated(department, method, threshold=policy.accuracy_of(department))
        state = goal(snapshot, department, method)
        bands = {b: snapshot.cell(department, method, band=b) for b in Band}
        shown = [_in_band(bands[b]) for b in (Band.HIGH, Band.MEDIUM, Band.LOW)]
        found = (100 * cell.rate, 100 * cell.lower, 100 * cell.upper, cell.n, round(cell.effective, 1))
        rows.append((department, words.METHOD[Method(method)], *found, state, gate.state.value))
        by_band.append((department, words.METHOD[Method(method)], *shown))
    st.subheader("Accuracy by department and method", anchor=False)
    st.caption(f"Warning {WARNING:.0%}, goal {GOAL:.0%}; 95% intervals")
    columns = ["Department", "Method", "Accuracy", "from", "to", "Labels", "Worth even ones", "Goal", "Gate"]
    st.dataframe(
        pd.DataFrame(sorted(rows), columns=columns), hide_index=True, width="stretch", column_config=dict.fromkeys(("Accuracy", "from", "to"), PERCENT),
    )
    st.caption(f"“Gated” is not routed alone; “unproven” has too few labels to say: worth fewer than {MINIMUM_LABELS} evenly drawn ones.")
    # Beside the others these columns would reach beyond a laptop's screen, where nobody looks for them.
    with st.expander("The same by band of the shown confidence"):
        # Left to itself a column is as wide as its first rows need, and the next one's number of labels is cut off.
        wide = dict.fromkeys(("High", "Medium", "Low"), st.column_config.TextColumn(width=165))
        st.dataframe(
            pd.DataFrame(sorted(by_band), columns=["Department", "Method", "High", "Medium", "Low"]), hide_index=True, width="stretch", placeholder="",
            column_config=wide,
        )
        st.caption("High is from 85%, Medium from 60%, Low below: accuracy, its interval, number of labels.")


def goal(snapshot: AccuracySnapshot, department: str, method: str) -> str:
    """Where a department and method stands against goal and warning. One wrong label of one is not under the warning: its interval
    is, but chance alone would show that of better ones too, as the gate's exact bound knows.
    """
    cell = snapshot.cell(department, method)
    if cell.lower >= GOAL:
        return "good"
    return f"under {WARNING:.0%}" if cell.upper < WARNING and snapshot.gated(department, method, threshold=WARNING).gated else "open"


def _in_band(cell: Cell) -> str:
    return "" if cell.rate is None else f"{cell.rate:.0%} ({cell.lower:.0%} to {cell.upper:.0%}), {cell.n:,}"


def departments_seen(evidence: Evidence) -> list[str]:
    """Departments that tickets went to or belonged to, by name."""
    return sorted({*evidence.departments, *evidence.actual})


def confusion(evidence: Evidence) -> None:
    """Predicted against actual department."""
    names = departments_seen(evidence)
    counts = Counter(zip(evidence.departments, evidence.actual, strict=True))
    st.plotly_chart(trust_charts.confusion(names, counts, n=len(evidence)), key="confusion", config=charts.config("confusion"))
    with st.expander("These numbers as a table"):
        st.dataframe(
            pd.DataFrame([(*pair, n) for pair, n in counts.most_common()], columns=["Sent to", "Belonged to", "Labels"]), hide_index=True, width="stretch",
        )


def labels_needed(policy: Policy, promised: Derived) -> None:
    """Which departments the labels allow a promise for, whether it is in force, and how many labels the others need."""
    rows, target = [], promised[0].target_accuracy
    for name, item in promised[1].items():
        state = policy_outlook.needed(item) or f"can be promised{policy_outlook.pool(item)}"
        in_force = f"from {max(policy.departments[name].auto, policy.answers_at(name)):.4f}" if name in policy.departments else ""
        rows.append((name, item.labels, state, in_force))
    st.subheader(f"Labels still needed to promise {target:.1%}", anchor=False)
    shown = pd.DataFrame(rows, columns=["Department", "Labels", "State", "In force"])
    st.dataframe(
        shown if policy.target_accuracy is not None else shown.drop(columns="In force"), hide_index=True, width="stretch",
        column_config={"State": st.column_config.TextColumn(help=policy_outlook.NEEDED)},
    )
    if any(item.basis is Basis.POOLED for item in promised[1].values()):
        st.caption("“Together”: with the labels of all departments that have few, and about the tickets of these together. One without labels of "
                   "its own has shown nothing yet.")
    if policy.target_accuracy is None:
        st.caption("No target accuracy is in force, so nothing is promised: the thresholds of the policy were entered by hand.")


def mistakes(rows: Sequence[Any]) -> None:
    """The surest wrong answers, to learn from."""
    st.subheader("Confident mistakes", anchor=False)
    if not rows:
        st.caption("None among the reviewed tickets.")
        return
    shown = [
        (confidence, r.department, r.actual_outcome, words.METHOD[Method(r.method)], r.body, r.ticket_id)
        for r, confidence in zip(rows, words.percents(r.confidence for r in rows), strict=True)
    ]
    st.dataframe(
        pd.DataFrame(shown, columns=["Shown confidence", "Went to", "Right was", "Method", "Text", "Ticket"]), hide_index=True, width="stretch",
        column_config={**words.CONFIDENCES, "Text": st.column_config.TextColumn(width="large")},
    )
