"""How commands that take long show how far they are."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, as a `progress(done, total)` function."""
    # What is refused at once leaves one line, without a bar in front of it.
    with tqdm(unit=f" {unit}", leave=False, delay=0.5) as shown:
        def progress(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield progress
