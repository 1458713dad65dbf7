"""No two pages name a widget alike: what one page sets under a name would reach the other's widget."""
from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PAGES = Path(__file__).resolve().parents[2] / "pages"


def names(tree: ast.Module) -> set[str]:
    """The keys that are written out in calls."""
    return {
        keyword.value.value
        for node in ast.walk(tree) if isinstance(node, ast.Call)
        for keyword in node.keywords if keyword.arg == "key" and isinstance(keyword.value, ast.Constant)
    }


def test_no_two_files_name_a_widget_alike() -> None:
    files: dict[str, list[str]] = defaultdict(list)
    for path in PAGES.rglob("*.py"):
        for name in names(ast.parse(path.read_text())):
            files[name].append(path.name)
    assert len(files) > 40
    assert {name: where for name, where in files.items() if len(where) > 1} == {}
