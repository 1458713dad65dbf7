"""A log that tests can ask what it was told."""
from __future__ import annotations


class Heard:
    """A log that remembers its events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def decision(self, *_: object, **__: object) -> None: ...

    def event(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))

    def named(self, name: str) -> list[dict[str, object]]:
        return [fields for event, fields in self.events if event == name]
