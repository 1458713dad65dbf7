"""How far a command is: a file that something else writes, told to who watches, and what stopped before its end."""
from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from engine.commands import bar
from engine.errors import ServiceUnavailable


class Screen(io.StringIO):
    """A terminal, or not."""

    def __init__(self, watched: bool) -> None:
        super().__init__()
        self._watched = watched

    def isatty(self) -> bool:
        return self._watched


@pytest.mark.parametrize("watched", [True, False])
def test_a_growing_file_is_told_of_where_somebody_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:
    screen = Screen(watched)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(bar, "LOOK", 0.01)
    file = tmp_path / "x.dump"
    with bar.growing(file):
        until = time.monotonic() + 30
        file.write_bytes(b"x" * 2_000)
        while watched and "2.00kB" not in screen.getvalue() and time.monotonic() < until:
            # The bar is drawn anew ten times a second at most, and when the size has changed.
            time.sleep(0.15)
            file.write_bytes(b"x" * (2_000 if file.stat().st_size == 2_001 else 2_001))
    assert ("2.00kB" in screen.getvalue()) is watched
    assert watched or screen.getvalue() == ""


@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_is_drawn_where_somebody_watches(monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:
    screen = Screen(watched)
    monkeypatch.setattr("sys.stderr", screen)
    with bar.bar("tickets") as progress:
        until = time.monotonic() + 30
        for done in range(1, 10_000):
            progress(done, 10_000)
            if "tickets/s" in screen.getvalue() or time.monotonic() > until or (not watched and done > 20):
                break
            time.sleep(0.05)
    assert ("tickets/s" in screen.getvalue()) is watched
    assert watched or screen.getvalue() == ""


def test_what_fails_meanwhile_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), bar.growing(tmp_path / "x.dump"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("done", "said"), [(120, "after 120 of 1,500 tickets"), (None, "before the first of the tickets")])
def test_what_goes_on_when_it_is_run_again_says_how_far_it_came_when_a_service_is_away(done: int | None, said: str) -> None:
    with pytest.raises(ServiceUnavailable) as caught, bar.bar("tickets", resumed=True) as progress:
        if done is not None:
            progress(done, 1500)
        raise ServiceUnavailable("database", "the connection was lost")
    assert str(caught.value) == f"database is not available: the connection was lost. It stopped {said}; run it again, it goes on there"


def test_what_does_not_go_on_there_does_not_say_so() -> None:
    with pytest.raises(ServiceUnavailable, match="lost$"), bar.bar("exemplars") as progress:
        progress(1, 2)
        raise ServiceUnavailable("database", "the connection was lost")
