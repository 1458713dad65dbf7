"""Which numbered rows were taken in already, where a lower number may be committed after a higher one."""
from __future__ import annotations

from collections.abc import Iterable

# How many numbers a transaction may fall behind. Numbers are given before the commit, and a transaction that idles is ended
# after 20 seconds: this many labels in that time need fifty supervisors who press a key each second.
OVERLAP = 1_000


class Taken:
    """Rows are asked for from some way back, without those that were taken in: `after` and `without` are that question."""

    def __init__(self, numbers: Iterable[int] = (), *, floor: int = 0) -> None:
        """`numbers` were taken in, at least the last `OVERLAP` of them; nothing up to `floor` is ever asked for again."""
        self._floor = floor
        self._newest = floor
        self._numbers: set[int] = set()
        self.add(numbers)

    @property
    def after(self) -> int:
        """Only higher numbers are worth asking for."""
        return max(self._floor, self._newest - OVERLAP)

    @property
    def without(self) -> list[int]:
        """The numbers above `after` that were taken in, ascending."""
        return sorted(self._numbers)

    def add(self, numbers: Iterable[int]) -> None:
        """These were taken in as well."""
        self._numbers.update(numbers)
        self._newest = max(self._newest, max(self._numbers, default=0))
        self._numbers = {number for number in self._numbers if number > self.after}
