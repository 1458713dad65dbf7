"""The Accuracy page's figures, recounted by hand from the labels behind them."""
from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from db.session import connect
from engine import process
from engine import policy as policies
from engine.bootstrap import Engine
from engine.domain import Policy
from pages.parts import guard
from tests.integration.test_rollups import decision, store

PAGE = Path(__file__).resolve().parents[2] / "pages" / "accuracy.py"
BILLING, SUPPORT = "Billing and Payments", "Technical Support"
SURE, UNSURE = 0.97, 0.70


@dataclass(frozen=True)
class Label:
    """A reviewed decision. Sure ones were sampled for review with a probability of one half: each stands for two."""

    department: str
    actual: str
    method: str
    confidence: float

    @property
    def right(self) -> bool:
        return self.actual == self.department

    @property
    def weight(self) -> float:
        return 2.0 if self.confidence == SURE else 1.0


def _some_labels() -> list[Label]:
    """840 labels: sure ones nearly always right, unsure ones mostly, cached ones from Billing alone with one false hit."""
    chance = random.Random(11)
    found = []
    for name, other in ((BILLING, SUPPORT), (SUPPORT, BILLING)):
        for confidence, right, number in ((SURE, 0.995, 240), (UNSURE, 0.8, 120)):
            found += [Label(name, name if chance.random() < right else other, "learned", confidence) for _ in range(number)]
    found += [Label(BILLING, BILLING, "cached", SURE)] * 119 + [Label(BILLING, SUPPORT, "cached", SURE)]
    return found


@pytest.fixture
def labels(console: Engine) -> list[Label]:
    return stored(console, _some_labels())


def stored(console: Engine, made: list[Label]) -> list[Label]:
    """Stored as reviewed decisions of the model in force, one an hour."""
    chance, now = random.Random(5), datetime.now(UTC)
    rows = [
        decision(
            i, chance, at=now - timedelta(hours=len(made) - i), department=label.department, actual=label.actual, method=label.method,
            confidence=label.confidence, demo=False, probability=1 / label.weight, audit=None,
        )
        for i, label in enumerate(made)
    ]
    pool = connect(console.settings.postgres_url)
    store(pool, *rows)
    with pool.begin() as connection:
        connection.execute(
            text("update routing_history set reviewed_at = created_at, versions = cast(:versions as jsonb)"),
            {"versions": json.dumps(console.state.current().versions)},
        )
        connection.execute(text(
            "insert into outcomes (ticket_id, kind, predicted, actual, labelled_by, created_at) select ticket_id, "
            "case when department = actual_outcome then 'confirmed' else 'corrected' end, department, actual_outcome, 'boss', created_at "
            "from routing_history order by id"
        ))
    pool.dispose()
    return made


@pytest.fixture
def page(labels: list[Label], console: Engine, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return opened(console, monkeypatch)


def opened(console: Engine, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(process, "running", lambda: console)
    monkeypatch.setattr(guard, "who", lambda: guard.Operator("ada", "manager", "key", 1))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    return page


def share(of: list[Label], among: list[Label]) -> float:
    """The weighted share that `of` are `among`."""
    return sum(label.weight for label in of) / sum(label.weight for label in among)


def worth(labels: list[Label]) -> float:
    """How many evenly drawn labels say as much: (sum w)^2 / sum w^2."""
    return sum(label.weight for label in labels) ** 2 / sum(label.weight ** 2 for label in labels)


def figure(page: AppTest, number: int) -> dict[str, Any]:
    """The page's charts in their order: reliability, risk against coverage, confusion."""
    return json.loads(page.get("plotly_chart")[number].proto.spec)


def table(page: AppTest, column: str) -> Any:
    return next(frame.value for frame in page.dataframe if column in frame.value.columns)


def test_accuracy_and_false_hits_weigh_each_label_by_how_seldom_its_like_is_sampled(page: AppTest, labels: list[Label]) -> None:
    shown = {metric.label: metric.value for metric in page.metric}
    right = [label for label in labels if label.right]
    assert shown["Accuracy of all tickets"] == f"{share(right, labels):.1%}"
    assert f"{share(right, labels):.1%}" != f"{len(right) / len(labels):.1%}", "the data must tell the two apart"
    hits = [label for label in labels if label.method == "cached"]
    assert shown["False-hit rate"] == f"{1 - share([label for label in hits if label.right], hits):.1%}" == "0.8%"


def test_the_reliability_diagram_holds_every_label_once_and_can_be_narrowed(page: AppTest, labels: list[Label]) -> None:
    drawn = figure(page, 0)
    found = next(trace for trace in drawn["data"] if trace["name"] == "found")
    assert f"n = {len(labels):,} labels" in drawn["layout"]["title"]["text"]
    assert sum(int(words.split()[0].replace(",", "")) for words in found["text"]) == len(labels)
    page.selectbox(key="trust_method").set_value("cached").run()
    assert "n = 120 labels" in figure(page, 0)["layout"]["title"]["text"]
    page.selectbox(key="trust_department").set_value(SUPPORT).run()
    assert "No label for this choice yet." in [caption.value for caption in page.caption]


def test_what_the_diagrams_show_stands_in_tables_as_well(page: AppTest, labels: list[Label]) -> None:
    drawn, shown = figure(page, 0), table(page, "Found right")
    found = next(trace for trace in drawn["data"] if trace["name"] == "found")
    assert len(shown) == len(found["text"]) and shown["Labels"].sum() == len(labels)
    assert ((shown["At least"] <= shown["Found right"]) & (shown["Found right"] <= shown["At most"])).all()
    pairs = {(sent, belonged): count for sent, belonged, count in table(page, "Belonged to").itertuples(index=False)}
    assert pairs == Counter((label.department, label.actual) for label in labels)


def test_few_labels_neither_praise_the_confidence_nor_blame_a_department(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(console, [Label(BILLING, BILLING, "learned", SURE)] * 3 + [Label(SUPPORT, BILLING, "learned", UNSURE)])
    page = opened(console, monkeypatch)
    assert "4 labels, too few to judge by: from 200 even ones on under 0.05 is good" in [caption.value for caption in page.caption]
    wrong = table(page, "Gate").set_index("Department").loc[SUPPORT]
    assert (wrong["Accuracy"], wrong["Goal"], wrong["Gate"]) == (0, "open", "unproven")


def test_intervals_and_the_gate_say_how_many_even_labels_they_rest_on(page: AppTest, labels: list[Label]) -> None:
    said = [caption.value for caption in page.caption]
    assert any(caption.endswith(f", {len(labels)} labels worth {worth(labels):,.0f} even ones") for caption in said)
    # The 840 are of the last 35 days, one an hour; half of one is left after 14 days.
    today, at = datetime.now(UTC).date(), datetime.now(UTC)
    left = [0.5 ** ((today - (at - timedelta(hours=len(labels) - i)).date()).days / 14) for i in range(len(labels))]
    parts = [(share * label.weight, share * label.weight ** 2) for share, label in zip(left, labels, strict=True)]
    lately = sum(weight for weight, _ in parts) ** 2 / sum(squared for _, squared in parts)
    assert any(caption.endswith(f", worth {lately:.0f} labels of today") for caption in said)
    assert any(caption.endswith(", 120 labels") for caption in said), "these are even"
    rows = table(page, "Gate").set_index(["Department", "Method"])
    own = [label for label in labels if (label.department, label.method) == (BILLING, "learned")]
    assert rows.loc[(BILLING, "Learned router"), "Worth even ones"] == pytest.approx(worth(own), abs=0.05)
    assert worth(own) < rows.loc[(BILLING, "Learned router"), "Labels"] == len(own)


def test_uneven_labels_are_counted_as_the_alert_counts_them_before_the_confidence_is_judged(
    console: Engine, monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored(console, [Label(BILLING, BILLING, "learned", confidence) for confidence in (SURE, UNSURE) for _ in range(105)])
    page = opened(console, monkeypatch)
    assert "210 labels worth 189 even ones, too few to judge by: from 200 even ones on under 0.05 is good" in [c.value for c in page.caption]


def test_a_department_is_under_the_warning_when_its_labels_say_so(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = stored(console, [*_some_labels(), *[Label(SUPPORT, BILLING, "fallback", UNSURE)] * 3])
    page = opened(console, monkeypatch)
    assert f"{len(labels):,} labels worth {worth(labels):,.0f} even ones; under 0.05 is good" in [caption.value for caption in page.caption]
    assert table(page, "Gate").set_index(["Department", "Method"]).loc[(SUPPORT, "Best guess"), "Goal"] == "under 85%"


def test_thresholds_are_derived_once_for_the_page_and_once_more_for_another_target(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, derived = [], policies.derived

    def counted(policy: Policy, *given: object) -> object:
        targets.append(policy.target_accuracy)
        return derived(policy, *given)

    monkeypatch.setattr(policies, "derived", counted)
    page.run()
    assert targets == [0.95]
    page.slider(key="trust_target").set_value(90.0).run()
    assert targets[1:] == [0.95, 0.9]


def test_the_slider_says_what_a_target_would_do_and_what_none_can_promise(page: AppTest, labels: list[Label]) -> None:
    page.slider(key="trust_target").set_value(90.0).run()
    promise = next(message.value for message in page.success if "With this target" in message.value)
    assert re.search(r"\b[1-8] of 9 departments get the promise of at least 90\.0%", promise)
    assert promise.endswith("in the others the explicit thresholds go on.")
    page.slider(key="trust_target").set_value(95.0).run()
    shared = next(message.value for message in page.success if "With this target" in message.value)
    assert "9 of 9 departments get the promise of at least 95.0% right, 9 of them one for all 9 together." in shared
    assert "others" not in shared
    page.slider(key="trust_target").set_value(99.5).run()
    assert not any("With this target" in message.value for message in page.success)
    refusal = next(message.value for message in page.warning if "No department can be promised 99.5%" in message.value)
    # 0.90 is the built-in policy's: exactly the sure ones go alone.
    alone = [label for label in labels if label.confidence == SURE]
    wrong = sum(label.weight for label in alone if not label.right) / sum(label.weight for label in labels)
    assert f"{share(alone, labels):.0%} of tickets routed alone" in refusal
    said = re.search(r"about ([\d.]+) wrong ones a day \(95% interval ([\d.]+) to ([\d.]+)\) at 24 tickets a day", refusal)
    low, found, high = (float(said[at]) for at in (2, 1, 3))
    assert found == round(24 * wrong, 1) and low < found < high
    assert figure(page, 1)["layout"]["title"]["text"].endswith(f"(n = {len(labels):,} labels)")
    # Nothing is gated here, so the curve reaches every ticket, and the policy's one threshold for all lies on it.
    curve, dot = figure(page, 1)["data"]
    assert dot["x"] == [pytest.approx(share(alone, labels))]
    assert dot["y"] == [pytest.approx(share([label for label in alone if label.right], alone))]
    assert not any("are beyond both" in caption.value for caption in page.caption)


def test_what_the_gate_holds_back_is_on_neither_side_of_the_figure(page: AppTest, labels: list[Label], console: Engine) -> None:
    live = console.policies.live()
    policies.save(replace(live, accuracy=0.94), console.policies, departments=[], author="ada", reason="a gate that holds")
    page.run()
    free = [label for label in labels if label.method == "cached"]
    curve, dot = figure(page, 1)["data"]
    assert figure(page, 1)["layout"]["annotations"][1]["text"] == f"routed alone {share(free, labels):.0%}"
    assert share(free, labels) == pytest.approx(dot["x"][0])
    assert any(f"{1 - share(free, labels):.0%} of tickets are beyond both" in caption.value for caption in page.caption)


def test_cells_count_their_own_labels_by_band(page: AppTest, labels: list[Label]) -> None:
    rows, by_band = (table(page, column).set_index(["Department", "Method"]) for column in ("Gate", "High"))
    for name, method, words in ((BILLING, "learned", "Learned router"), (SUPPORT, "learned", "Learned router"), (BILLING, "cached", "Known case")):
        own = [label for label in labels if (label.department, label.method) == (name, method)]
        row = rows.loc[(name, words)]
        assert row["Labels"] == len(own)
        assert row["Accuracy"] == pytest.approx(100 * share([label for label in own if label.right], own))
        assert row["from"] < row["Accuracy"] < row["to"]
        row = by_band.loc[(name, words)]
        assert row["High"].endswith(f", {sum(label.confidence == SURE for label in own)}")
        unsure = sum(label.confidence == UNSURE for label in own)
        assert row["Medium"].endswith(f", {unsure}") if unsure else row["Medium"] == ""
    assert len(rows) == len(by_band) == 3


def test_the_confusion_matrix_and_the_confident_mistakes_are_the_labels(page: AppTest, labels: list[Label]) -> None:
    drawn = figure(page, 2)["data"][0]
    counts = Counter((label.department, label.actual) for label in labels)
    assert drawn["x"] == drawn["y"] == [BILLING, SUPPORT]
    assert drawn["text"] == [[counts[went, right] for right in (BILLING, SUPPORT)] for went in (BILLING, SUPPORT)]
    wrong = table(page, "Right was")
    surest = sorted((label.confidence for label in labels if not label.right), reverse=True)[:25]
    assert [words.strip() for words in wrong["Shown confidence"]] == [f"{confidence:.0%}" for confidence in surest]
    assert set(zip(wrong["Went to"], wrong["Right was"], strict=True)) <= {(BILLING, SUPPORT), (SUPPORT, BILLING)}


def test_a_pooled_promise_shows_each_department_s_own_labels_and_those_it_rests_on(
    page: AppTest, labels: list[Label], console: Engine
) -> None:
    rows = table(page, "State").set_index("Department")
    own = Counter(label.department for label in labels)
    assert rows["Labels"].to_dict() == {department.name: own[department.name] for department in console.taxonomy.departments()}
    assert rows["State"].eq(f"can be promised ({len(labels):,} together)").all(), "each has few, so all are promised together"
    assert any("One without labels of its own has shown nothing yet." in caption.value for caption in page.caption)
