"""The documentation names what there is: every setting with its default, every field of a policy, every alert rule as it is shipped. So do the
commands' own help texts."""
from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from engine import access
from engine.alert_rules import AT_THE_MOMENT, SHIPPED, Rule
from engine.commands import parser
from engine.domain import Policy
from engine.policy_words import FIELD
from engine.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Told in words, as "two hours unused", or usual: a port of Postgres.
IN_WORDS = {
    "DATA_DIR", "POSTGRES_PORT", "REDIS_PORT", "REDIS_DB", "SESSION_IDLE_SECONDS", "SESSION_SECONDS", "PASSWORD_MIN_CHARACTERS",
    "PASSWORD_MEMORY_KIB", "PASSWORD_TIME_COST", "SIGN_IN_FREE_ATTEMPTS", "SIGN_IN_FREE_ATTEMPTS_PER_ADDRESS", "RATE_SUBMIT_PER_MINUTE",
    "RATE_IMPORT_PER_HOUR", "RATE_API_PER_MINUTE", "OIDC_ROLES", "BACKGROUND_WORK",
}


@pytest.fixture(scope="module")
def said() -> str:
    return "\n".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
def test_every_setting_is_named_in_the_documentation(said: str, name: str) -> None:
    # The page about Postgres names the parts of an address one after the other.
    assert re.search(rf"`{name}\b", said), f"{name} stands nowhere in README.md or docs/"


def test_a_default_that_the_documentation_gives_is_the_setting_s_own_and_none_is_kept_back(said: str) -> None:
    given = set(re.findall(r"`([A-Z_]+)`\s+\((?:default )?`?([\w./-]+)`?[);,]", said))
    defaults = {
        (name.upper(), str(field.default)) for name, field in Settings.model_fields.items()
        if isinstance(field.default, (int, float, str)) and not isinstance(field.default, bool)
    }
    assert {pair for pair in given if pair[0] in dict(defaults)} == {pair for pair in defaults if pair[0] not in IN_WORDS}


@pytest.mark.parametrize(("field", "title"), [pair for pair in FIELD.items() if pair[0] not in ("stages", "delta")])
def test_every_field_of_a_policy_is_explained_with_the_value_it_is_shipped_with(field: str, title: str) -> None:
    shipped = Policy()
    value = getattr(shipped.thresholds if field in ("auto", "preselect") else shipped, field)
    (row,) = re.findall(rf"^\| {re.escape(title)} \|(.*)\|$", (ROOT / "docs" / "confidence.md").read_text(), re.M)
    assert row.split("|")[0].strip() == ("none" if value is None else f"{value:g}")


def options(of: argparse.ArgumentParser) -> Iterator[tuple[str, str | None]]:
    """Every option and argument of a command and of those below it, with its help text."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options(below)
        else:
            yield f"{of.prog} {'/'.join(action.option_strings) or action.dest}", action.help


def test_every_option_of_a_command_says_what_it_is_for() -> None:
    told = dict(options(parser.build()))
    assert len(told) > 40 and [name for name, text in told.items() if not text] == []


@pytest.mark.parametrize("page", access.PAGES)
def test_every_page_is_in_the_readme(page: str) -> None:
    named = " ".join(re.findall(r"^\| ([A-Z][\w, ]+) \| [a-z, ]+ \|", (ROOT / "README.md").read_text(), re.M))
    assert re.search(rf"\b{page.capitalize()}\b", named)


def test_the_example_of_an_environment_file_names_only_settings_that_exist() -> None:
    named = re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert len(named) > 20 and set(named) <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: rule.name)
def test_every_shipped_rule_is_explained_with_the_values_it_has(rule: Rule) -> None:
    (row,) = re.findall(rf"^\| {re.escape(rule.title)} \|(.*)\|$", (ROOT / "docs" / "monitoring.md").read_text(), re.M)
    side = "above" if rule.above else "below"
    assert [cell.strip() for cell in row.split("|")] == [
        rule.severity.value, f"{side} {rule.shown(rule.threshold)}", rule.shown(rule.clear),
        "the moment" if rule.measure in AT_THE_MOMENT else span(rule.window), span(rule.hold), str(rule.minimum),
    ]


def span(length: timedelta) -> str:
    """In the largest unit that fits."""
    units = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))
    return next((f"{length // unit} {name}" for unit, name in units if length and length % unit == timedelta(0)), f"{length.seconds} s")


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
