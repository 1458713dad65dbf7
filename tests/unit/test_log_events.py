"""The table of events in docs/decision-log.md says what the source writes: no event is missing in either, nor a field in the table."""
from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

import pytest

from engine.telemetry.log import ERRORS, WARNINGS, DecisionLog

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (.*) \|$", re.M)
TABLE = {name: (level, text) for name, level, text in ROW.findall((ROOT / "docs" / "decision-log.md").read_text().split("## Events")[1])}
# The log renames it as the Elastic Common Schema does.
RENAMED = {"by": "user.name"}


def written() -> list[tuple[str, set[str], str]]:
    """Every call of a log's `event` in the source: a pattern of the event's name, the names of its fields, and where it is."""
    found = []
    for path in sorted([*(ROOT / "engine").rglob("*.py"), *(ROOT / "db").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "event" and node.args:
                match node.args[0]:
                    case ast.Constant(value=str(name)):
                        pattern = re.escape(name)
                    case ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))):
                        pattern = f"{re.escape(one)}|{re.escape(other)}"
                    case ast.JoinedStr(values=parts):
                        pattern = "".join(re.escape(p.value) if isinstance(p, ast.Constant) else "[a-z]+" for p in parts)
                    case _:
                        # Hands on what another call was given.
                        continue
                found.append((pattern, {k.arg for k in node.keywords if k.arg}, f"{path.relative_to(ROOT)}:{node.lineno}"))
    return found


def test_every_event_is_in_the_table_with_its_fields() -> None:
    assert len(written()) > 20
    for pattern, fields, where in written():
        names = [name for name in TABLE if re.fullmatch(pattern, name)]
        assert names, f"{where}: {pattern} is not in docs/decision-log.md"
        for name in names:
            for field in fields:
                assert f"`{RENAMED.get(field, field)}`" in TABLE[name][1], f"{where}: {name} has a field {field}"


def test_every_event_of_the_table_is_written_somewhere() -> None:
    patterns = [pattern for pattern, _, _ in written()]
    assert [name for name in TABLE if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_line_has_the_level_of_the_table(name: str) -> None:
    seen = io.StringIO()
    DecisionLog(stream=seen).event(name)
    assert json.loads(seen.getvalue())["log.level"] == TABLE[name][0]


def test_every_event_that_has_a_level_of_its_own_exists() -> None:
    assert TABLE.keys() >= ERRORS | WARNINGS
    assert not ERRORS & WARNINGS
