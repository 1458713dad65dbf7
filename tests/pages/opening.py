"""Opens pages in Streamlit's own test runner, as somebody who is signed in."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine import process
from engine.access import Role
from engine.bootstrap import Engine
from pages.parts import guard

PAGES = Path(__file__).resolve().parents[2] / "pages"
SAYS = ("error", "warning", "info", "success", "text", "caption")


def opening(console: Engine, patch: pytest.MonkeyPatch, role: Role, *, name: str = "boss") -> Callable[[str], AppTest]:
    """What opens a page by its name, on this engine, as a new user with this role."""
    console.accounts.add(name, role=role, by="test", password="plum-tractor-evening-42", must_change=False)
    key = console.sessions.key_of(console.sessions.open(console.accounts.named(name).id))
    patch.setattr(process, "running", lambda: console)
    patch.setattr(guard, "presented_session", lambda: key)
    return lambda page: AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=60).run()


def said(page: AppTest, *kinds: str) -> str:
    """What the page says in plain words, or in elements of these kinds alone."""
    return " ".join(str(element.value) for kind in kinds or SAYS for element in getattr(page, kind))
