"""What the whole test run wrote to its logs, and what must not stand in any line of it.

Engines that tests build and consoles that tests serve log into one folder. Secrets (passwords, cookies, tokens, keys) are
noted when a test makes or uses them, tickets' words are read from each database before it is dropped.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic import SecretStr

# Shorter ones occur by chance.
SHORTEST_SECRET = 8
SHORTEST_TEXT = 12


class Overheard:
    """Collects log files, secrets, texts and the names that may be logged, and finds the first two in the lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets: set[str] = set()
        self.texts: set[str] = set()
        # Departments and topics: they are what a decision says, and may look like part of a ticket.
        self.names: set[str] = set()
        self._files: dict[str, TextIO] = {}

    def stream(self, name: str) -> TextIO:
        """A file of the folder to log to, written line by line."""
        if name not in self._files:
            self._files[name] = open(self.folder / f"{name}.log", "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - open as long as the run
        return self._files[name]

    def secret(self, *values: str | None) -> None:
        """Note values that no log may hold."""
        self.secrets |= {value for value in values if value and len(value) >= SHORTEST_SECRET}

    def settings(self, settings: Any) -> None:
        """Note every secret of these settings; of an address with a password the password."""
        for name in type(settings).model_fields:
            value = getattr(settings, name)
            if isinstance(value, SecretStr):
                word = value.get_secret_value()
                if "://" not in word:
                    self.secret(word)
                elif "@" in word and ":" in (login := word.split("://")[1].rsplit("@", 1)[0]):
                    self.secret(login.split(":", 1)[1])

    def ticket(self, *texts: str | None) -> None:
        """Note the words of a ticket, line by line."""
        for text in texts:
            self.texts |= {line.strip() for line in (text or "").splitlines() if len(line.strip()) >= SHORTEST_TEXT}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Every line that was logged, with its file's name."""
        for file in self._files.values():
            file.flush()
        for path in sorted(self.folder.rglob("*.log*")):
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    yield path.name, line.rstrip("\n")

    def found(self) -> list[str]:
        """The secrets and texts that stand in a line: file, the value and the line, shortened."""
        heads: dict[str, list[str]] = {}
        for value in self.secrets | self.texts:
            heads.setdefault(value[:SHORTEST_SECRET], []).append(value)
        found, seen = [], set(self.names)
        for name, line in self.lines():
            for piece in _pieces(line):
                if piece not in seen:
                    seen.add(piece)
                    found += [f"{name}: {value[:80]!r} in {line[:300]}" for value in _inside(piece, heads)]
        return found

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def _inside(piece: str, heads: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The values that stand in a piece, wherever they begin, found by their heads."""
    for start in range(len(piece) - SHORTEST_SECRET + 1):
        for value in heads.get(piece[start : start + SHORTEST_SECRET], ()):
            if piece.startswith(value, start):
                yield value


def _pieces(line: str) -> Iterable[str]:
    """The strings of a line of JSON, names and values, as they were before they were encoded; any other line as it is."""
    try:
        content = json.loads(line)
    except ValueError:
        return [line]
    return _strings(content)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    else:
        yield str(value)
