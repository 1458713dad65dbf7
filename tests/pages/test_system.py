"""The System page says what is there, what is away and what follows from it."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine import process
from engine.bootstrap import Engine
from pages.parts import guard

PAGE = Path(__file__).resolve().parents[2] / "pages" / "system.py"


@pytest.fixture
def page(console: Engine, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(process, "running", lambda: console)
    monkeypatch.setattr(guard, "who", lambda: guard.Operator("ada", "admin", "key", 1))
    return AppTest.from_file(str(PAGE), default_timeout=60)


def test_every_service_has_a_row_with_backend_version_and_latency(page: AppTest) -> None:
    page.run()
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["Service"]) == ["Database", "Exact cache", "Embedder", "Learned router", "Vector index", "Language model", "Spool"]
    asked = table[table["Backend"] != "not configured"]
    assert asked["State"].eq("answers").all()
    assert "PostgreSQL" in table["Version"][0]
    assert (asked["Latency"] > 0).all()
    assert page.success[0].value == "Every service answers."


def test_the_index_within_postgres_has_its_row_with_its_vectors_and_its_breaker(page: AppTest, console: Engine) -> None:
    page.run()
    row = page.dataframe[0].value.set_index("Service").loc["Vector index"]
    assert (row["Backend"], row["By tickets"], row["Degraded"]) == ("embedded", "asked", "nothing")
    assert not {"Last error", "Last error at"} & set(row.index), "what nobody has to read takes no room"
    assert re.fullmatch(rf"pgvector \d+\.\d+\.\d+, {console.exemplars.count():,} vectors", row["Version"])
    page.button(key="test_index").click().run()
    assert not page.exception
    assert any("Vector index: answers" in message.value and "UTC" in message.value for message in page.success)
    console.services._breakers["index"].failed(ConnectionError("no such table"))
    page.run()
    row = page.dataframe[0].value.set_index("Service").loc["Vector index"]
    assert row["Last error"] == "no such table" and not row.isna()["Last error at"]
    assert "Last error at (UTC)" in page.dataframe[0].proto.columns


def test_without_a_language_model_its_row_says_so_and_what_follows_and_there_is_nothing_to_test(page: AppTest) -> None:
    page.run()
    row = page.dataframe[0].value.set_index("Service").loc["Language model"]
    assert (row["Backend"], row["By tickets"]) == ("not configured", "not asked")
    assert row["Degraded"] == "Doubtful tickets are left to people: GOOGLE_API_KEY is not set."
    assert row.isna()["Latency"]
    keys = {button.key for button in page.button}
    assert "test_spool" in keys and "test_language_model" not in keys
    assert not page.warning and not page.error


def test_a_service_that_is_away_is_named_with_its_consequence_and_tested_on_demand(page: AppTest, console: Engine) -> None:
    breaker = console.services._breakers["cache"]
    for _ in range(3):
        breaker.before()
        breaker.failed(ConnectionError("nothing listens"))
    page.run()
    assert not page.exception
    assert "Exact cache does not answer." in page.warning[0].value
    assert "routed anew" in page.warning[0].value
    assert page.dataframe[0].value["Last error"][1] == "nothing listens"
    page.button(key="test_cache").click().run()
    assert not page.exception
    assert any("Exact cache: answers" in message.value for message in page.success)


def test_the_progress_of_the_embedding_is_shown(page: AppTest, console: Engine) -> None:
    page.run()
    total = console.exemplars.count()
    [bar] = page.get("progress")
    assert bar.proto.value == 100
    assert bar.proto.text == f"{total:,} of {total:,} exemplars have a vector of {console.reembedder.progress().embedder}"
