"""The documentation names what there is: every setting, every alert rule with its threshold, every command's own option."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.alert_rules import SHIPPED, Rule
from engine.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def said() -> str:
    return "\n".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
def test_every_setting_is_named_in_the_documentation(said: str, name: str) -> None:
    # The page about Postgres names the parts of an address one after the other.
    assert re.search(rf"`{name}\b", said), f"{name} stands nowhere in README.md or docs/"


def test_the_example_of_an_environment_file_names_only_settings_that_exist() -> None:
    named = re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert len(named) > 20 and set(named) <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: rule.name)
def test_every_shipped_rule_is_explained_with_the_threshold_it_has(rule: Rule) -> None:
    (row,) = re.findall(rf"^\| {re.escape(rule.title)} \|(.*)\|$", (ROOT / "docs" / "monitoring.md").read_text(), re.M)
    side = "above" if rule.above else "below"
    assert [cell.strip() for cell in row.split("|")][:3] == [rule.severity.value, f"{side} {rule.shown(rule.threshold)}", rule.shown(rule.clear)]


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
