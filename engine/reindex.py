"""Keeps a remote vector index equal to Postgres, and proves that it is."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.background import Background
from engine.domain import Exemplar, Neighbour
from engine.ports import DecisionLog, ExemplarIndex

# Cosine distance up to which two copies of a vector count as the same: float32 written as decimal digits and read again.
SAME = 1e-5


class Row(Protocol):
    """An exemplar with its vector and metadata."""

    exemplar_id: int
    vector: np.ndarray
    metadata: dict[str, str]


class Notes(Protocol):
    """The outbox."""

    def open(self, *, again: bool = False) -> bool: ...

    def work(self, send: Callable[[list[Row], list[int]], None]) -> int: ...

    def rows(self) -> Iterator[list[Row]]: ...

    def waiting(self) -> int: ...

    def note(self, ids: Sequence[int]) -> None: ...


class RemoteIndex(ExemplarIndex, Protocol):
    """A remote index that can be written to."""

    def upsert(self, rows: Sequence[tuple[int, np.ndarray, Mapping[str, str]]]) -> None: ...

    def delete(self, ids: Sequence[int]) -> None: ...

    def fetch(self, ids: Sequence[int]) -> dict[int, tuple[np.ndarray, dict[str, str]]]: ...

    def count(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the remote index differs from Postgres; `surplus` counts vectors there that Postgres does not have."""

    expected: int
    missing: int
    different: int
    surplus: int
    waiting: int

    @property
    def equal(self) -> bool:
        return self.missing == self.different == self.surplus == self.waiting == 0


class Reindexer:
    """Works the outbox off, in the background or until it is empty. Whatever begins with it opens the outbox; a comparison
    changes nothing.
    """

    def __init__(self, *, notes: Notes, index: RemoteIndex, log: DecisionLog, interval: float = 1.0) -> None:
        self._notes = notes
        self._index = index
        self._log = log
        self._opened = False
        # Nobody waits for this; a service in trouble is not asked every second.
        self._background = Background("outbox", self._look, log=log, interval=interval, after_failure=11 * interval)

    def start(self) -> None:
        """Look every `interval` seconds until `close`."""
        self._background.start()

    def close(self) -> None:
        """Stop after the batch that is under way."""
        self._background.close()

    def run(self, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Work until no note is left; their number. Raises ServiceUnavailable, what was sent stays sent."""
        self._open()
        done = 0
        while not self._background.stopped:
            worked = self._notes.work(self._send)
            if worked == 0:
                break
            done += worked
            if progress is not None:
                progress(done, done + self._notes.waiting())
        return done

    def compare(self) -> Comparison:
        """Read everything on both sides. Raises ServiceUnavailable."""
        expected = missing = different = 0
        for page in self._notes.rows():
            there = self._index.fetch([row.exemplar_id for row in page])
            expected += len(page)
            for row in page:
                if row.exemplar_id not in there:
                    missing += 1
                elif not _same(row, there[row.exemplar_id]):
                    different += 1
        surplus = max(0, self._index.count() - (expected - missing))
        return Comparison(expected=expected, missing=missing, different=different, surplus=surplus, waiting=self._notes.waiting())

    def _open(self) -> None:
        if not self._opened:
            # An index that cannot be used is said at the start, not when the first label is sent, and takes no other's place: those
            # who send to that would stop.
            self._index.count()
        # Later on only what was closed meanwhile: two consoles with different indexes would take it from each other for ever.
        self._notes.open(again=self._opened)
        self._opened = True

    def _send(self, keep: list[Row], remove: list[int]) -> None:
        if keep:
            self._index.upsert([(row.exemplar_id, row.vector, row.metadata) for row in keep])
        if remove:
            self._index.delete(remove)

    def _look(self) -> None:
        done = self.run()
        if done:
            self._log.event("index_updated", exemplars=done)


class CheckedIndex:
    """A remote index whose hits count only as Postgres knows them: the text is added, removed exemplars are left out."""

    def __init__(self, index: ExemplarIndex, *, active: Callable[[Sequence[int]], dict[int, Exemplar]]) -> None:
        self._index = index
        self._active = active

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        """As the index's own. Raises ServiceUnavailable, also when Postgres is away."""
        # A few more than asked for, since some may have been corrected a moment ago.
        found = self._index.nearest(vectors, k + 3)
        known = self._active(sorted({n.exemplar_id for row in found for n in row}))
        return [
            [
                Neighbour(n.exemplar_id, e.department, e.topic, n.similarity, e.text, e.source)
                for n in row
                if (e := known.get(n.exemplar_id)) is not None
            ][:k]
            for row in found
        ]


def _same(row: Row, there: tuple[np.ndarray, dict[str, str]]) -> bool:
    vector, metadata = there
    if vector.shape != row.vector.shape or metadata != row.metadata:
        return False
    scale = float(np.linalg.norm(vector) * np.linalg.norm(row.vector)) or 1.0
    return 1.0 - float(vector @ row.vector) / scale <= SAME
