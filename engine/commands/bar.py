"""How commands that take long show how far they are."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from engine.errors import ServiceUnavailable

# Seconds between two looks at a file that grows.
LOOK = 0.5


@contextmanager
def bar(unit: str, *, resumed: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, as a `progress(done, total)` function; nothing is drawn where nobody watches, as into a log.

    What is `resumed` when it is run again says so when it is interrupted or a service is away, with how far it came, as the text of
    the KeyboardInterrupt or ServiceUnavailable.
    """
    came = (0, 0)
    # What is refused at once leaves one line, without a bar in front of it.
    with tqdm(unit=f" {unit}", leave=False, delay=0.5, disable=None) as shown:
        def progress(done: int, total: int) -> None:
            nonlocal came
            shown.total = total
            shown.update(done - came[0])
            came = (done, total)

        try:
            yield progress
        except (KeyboardInterrupt, ServiceUnavailable) as error:
            if not resumed:
                raise
            done, total = came
            far = f"after {done:,} of {total:,} {unit}" if total else f"before the first of the {unit}"
            again = f"{far}; run it again, it goes on there"
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(again) from None
            raise ServiceUnavailable(error.service, f"{error.reason.rstrip('. ')}. It stopped {again}", retryable=error.retryable) from error


@contextmanager
def growing(file: Path) -> Iterator[None]:
    """How large the file is that something else writes, on standard error; nothing where nobody watches: a scheduler mails what it says.

    How large it will be nobody knows.
    """
    over = threading.Event()

    def look(shown: tqdm) -> None:
        while not over.wait(LOOK):
            with suppress(FileNotFoundError):
                shown.update(file.stat().st_size - shown.n)

    with tqdm(desc="written", unit="B", unit_scale=True, leave=False, disable=None) as shown:
        watching = threading.Thread(target=look, args=(shown,), name="growing", daemon=True)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join()
