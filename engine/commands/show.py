"""What a command prints, and what is said where nobody can read it: a full disk, a device that takes nothing."""
from __future__ import annotations

import os
import sys
from contextlib import suppress

from engine.errors import ConsoleError


class OutputLost(ConsoleError):
    """Standard output took no more; what the command changes is changed all the same."""


SHOWN_ALONE = "What the command does is done; only what it prints is lost."


def show(text: str, *, done: str = SHOWN_ALONE) -> None:
    """Print `text` at once. Raises OutputLost with `done`, which says what happened and what to do; BrokenPipeError where that is
    nothing in particular: whoever reads has seen enough.
    """
    if sys.stdout is None:
        raise OutputLost(f"standard output is closed. {done}")
    try:
        print(text, flush=True)
    except BrokenPipeError as error:
        forget()
        if done == SHOWN_ALONE:
            raise
        raise OutputLost(f"nobody reads the output. {done}") from error
    except OSError as error:
        forget()
        raise OutputLost(f"the output cannot be written ({error.strerror}). {done}") from error


def upgrading(before: str, after: str) -> None:
    """Say what a start or a command spends its time with: it looks as if it hung, and whoever kills it begins anew."""
    print(f"The schema is brought from {before} to {after}; with millions of tickets that takes minutes.", file=sys.stderr, flush=True)


def forget() -> None:
    """Let nobody write the rest: the interpreter would try once more when it ends, with a traceback and an exit code of its own."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
