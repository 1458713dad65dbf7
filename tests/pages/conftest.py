"""What many pages' tests begin with."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from engine.access import Role
from engine.bootstrap import Engine
from tests.pages.opening import opening


@pytest.fixture
def opened(console: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AppTest]:
    """Opens a page as an admin on the test's engine."""
    return opening(console, monkeypatch, Role.ADMIN)


@pytest.fixture
def page(console: Engine, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page Submit of an agent."""
    return opening(console, monkeypatch, Role.AGENT, name="ann")("submit")
