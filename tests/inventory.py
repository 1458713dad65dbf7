"""Every place where somebody can put text into the console, found in the source, so that none is added unnoticed.

A place is named `page/key` for a text widget (keys made for a row end in `*`), `address/key` for a control that is read
from the page's address, `file/column` for a column of an uploaded CSV, `form/name` for a field of the plain HTML forms and
`api/name` for a field or filter of the API.
"""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from engine.web import forms

ROOT = Path(__file__).resolve().parents[1]
TEXT_WIDGETS = {"text_input", "text_area", "chat_input", "data_editor", "camera_input"}
LISTS = {"selectbox", "multiselect", "pills", "segmented_control"}
# Which uploader a reader of columns belongs to.
READERS = {"engine/imports.py": {"read": "file"}, "engine/taxonomy_csv.py": {
    "departments": "departments_csv", "topics": "topics_csv", "exemplars": "exemplars_csv"}}


def widgets() -> set[str]:
    """Text widgets and controls bound to the address, of all pages."""
    found = set()
    for path in [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]:
        for call in _calls(ast.parse(path.read_text())):
            name = call.func.attr
            given = {word.arg: word.value for word in call.keywords}
            if name in TEXT_WIDGETS or (name in LISTS and "accept_new_options" in given):
                found.add(f"{path.stem}/{_key(given.get('key'), path, call)}")
            if "bind" in given:
                found.add(f"address/{_key(given.get('key'), path, call)}")
    return found


def uploaders() -> set[str]:
    """Keys of the file uploaders of all pages."""
    return {
        _key(next((word.value for word in call.keywords if word.arg == "key"), None), path, call)
        for path in (ROOT / "pages").rglob("*.py") for call in _calls(ast.parse(path.read_text())) if call.func.attr == "file_uploader"
    }


def columns() -> set[str]:
    """Columns that are read from uploaded files."""
    found = set()
    for file, readers in READERS.items():
        for function in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(function, ast.FunctionDef) and function.name in readers:
                names = _names_read_from("row", function) | _names_read_from("cells", function)
                found |= {f"{readers[function.name]}/{name}" for name in names}
    return found


def form_fields() -> set[str]:
    """Fields of the HTML forms, hidden ones too."""
    shown = {
        "sign_in": forms.sign_in(csrf="x", target="/"), "sign_out": forms.sign_out(csrf="x", name="x"),
        "password": forms.change_password(csrf="x", name="x", forced=True, minimum=12),
    }
    found = set()
    for form, answer in shown.items():
        fields = _Fields()
        fields.feed(bytes(answer.body).decode())
        found |= {f"{form}/{name}" for name in fields.names}
    return found


def api_fields() -> set[str]:
    """Fields of the API's bodies, its filters, and what it takes from the path."""
    tree = ast.parse((ROOT / "engine/web/resources.py").read_text())
    found = {f"api/{name}" for name in _names_read_from("query", tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_only", "_number", "_text"):
            found |= {f"api/{one.value}" for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)}
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_TEXTS":
            found |= {f"api/{one.value}" for one in ast.walk(node.value) if isinstance(one, ast.Constant)}
    return found | {f"api/{name}" for name in re.findall(r'path_params\["(\w+)"\]', ast.unparse(tree).replace("'", '"'))}


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node


def _key(value: ast.expr | None, path: Path, call: ast.Call) -> str:
    assert value is not None, f"{path.name}, line {call.lineno}: a widget that takes text needs a key"
    if isinstance(value, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in value.values)
    assert isinstance(value, ast.Constant), f"{path.name}, line {call.lineno}: the key must be readable in the source"
    return str(value.value)


def _names_read_from(variable: str, tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == variable:
            found.add(_name_read(node.slice))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
            if getattr(node.func.value, "id", "") == variable:
                found.add(_name_read(node.args[0]))
    return found


def _name_read(value: ast.expr) -> str:
    # The column of the text may be chosen on the command line; on the page it is `body`.
    return str(value.value) if isinstance(value, ast.Constant) else "body"


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("input", "textarea", "select") and dict(attrs).get("name"):
            self.names.append(str(dict(attrs)["name"]))
