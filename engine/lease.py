"""What a single ticket keeps at hand between its statements, so that none of them waits for a connection."""
from __future__ import annotations

from typing import Protocol


class Lease(Protocol):
    """A connection for one ticket: within its block the statements of the block's thread use it.

    The block may be entered several times and by several threads, one at a time; the connection is taken when it is first
    entered and given back by `release`, after which entering takes another one.
    """

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def take(self) -> None:
        """Take the connection now, for a block that follows."""
        ...

    def release(self) -> None:
        """Give the connection back, if there is one; waits for the thread that uses it."""
        ...


class NoLease:
    """Every statement takes its own connection: where other services answer in between, nothing is held meanwhile."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def take(self) -> None: ...

    def release(self) -> None: ...
