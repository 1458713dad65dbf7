"""The starter taxonomy is complete, varied and kept apart from what measures it."""
from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from engine import taxonomy_csv
from engine.fingerprint import fingerprint, normalised

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "db" / "starter"
DEPARTMENTS = {
    "Billing and Payments", "Technical Support", "Account Access", "Orders and Delivery", "Returns and Refunds", "Sales",
    "Fraud and Security", "Complaints", "General Enquiries",
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def kept_apart() -> list[dict[str, str]]:
    return rows(ROOT / "tests" / "data" / "starter_kept_apart.csv")


@pytest.fixture(scope="module")
def demo() -> list[dict[str, str]]:
    return rows(STARTER / "demo.csv")


def test_there_are_nine_departments_with_a_purpose_and_one_takes_the_rest() -> None:
    found, topics, _ = taxonomy_csv.starter(STARTER)
    assert {department.name for department in found} == DEPARTMENTS
    assert all(len(department.purpose) >= 80 for department in found)
    assert [department.name for department in found if department.triage] == ["General Enquiries"]
    per_department = Counter(topic.department for topic in topics)
    assert set(per_department) == DEPARTMENTS
    assert all(3 <= count <= 6 for count in per_department.values())
    assert all(topic.purpose for topic in topics)


def test_each_department_has_at_least_forty_exemplars_and_every_topic_some() -> None:
    _, topics, found = taxonomy_csv.starter(STARTER)
    assert min(Counter(exemplar.department for exemplar in found).values()) >= 40
    per_topic = Counter(exemplar.topic for exemplar in found)
    assert set(per_topic) == {topic.name for topic in topics}
    assert min(per_topic.values()) >= 5


def test_exemplars_are_unique_and_read_like_real_messages_short_and_long() -> None:
    _, _, found = taxonomy_csv.starter(STARTER)
    assert len({normalised(exemplar.text) for exemplar in found}) == len(found)
    lengths = [len(exemplar.text.split()) for exemplar in found]
    assert min(lengths) <= 2 and max(lengths) >= 60
    assert {exemplar.source for exemplar in found} == {"seed"}


def test_fifteen_tickets_per_department_are_kept_apart_and_share_no_text_with_the_exemplars(kept_apart: list[dict[str, str]]) -> None:
    assert Counter(row["department"] for row in kept_apart) == dict.fromkeys(DEPARTMENTS, 15)
    _, _, found = taxonomy_csv.starter(STARTER)
    known = {fingerprint(exemplar.text) for exemplar in found}
    assert len({fingerprint(row["text"]) for row in kept_apart}) == len(kept_apart)
    assert [row["text"] for row in kept_apart if fingerprint(row["text"]) in known] == []


def test_the_demo_has_at_least_twenty_tickets_per_department_and_none_from_the_other_files(
    demo: list[dict[str, str]], kept_apart: list[dict[str, str]]
) -> None:
    per_department = Counter(row["department"] for row in demo)
    assert set(per_department) == DEPARTMENTS
    assert min(per_department.values()) >= 20
    prints = {fingerprint(row["text"]) for row in demo}
    assert len(prints) == len(demo)
    _, _, found = taxonomy_csv.starter(STARTER)
    assert not prints & {fingerprint(exemplar.text) for exemplar in found}
    assert not prints & {fingerprint(row["text"]) for row in kept_apart}
