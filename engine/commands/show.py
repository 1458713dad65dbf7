"""What a command prints, and what is said where nobody can read it: a full disk, a device that takes nothing."""
from __future__ import annotations

import os
import sys
from contextlib import suppress

from engine.errors import ConsoleError


class OutputLost(ConsoleError):
    """Standard output took no more; what the command changes is changed all the same."""


def show(text: str, *, done: str = "What the command does is done; only what it prints is lost.") -> None:
    """Print `text` at once. Raises OutputLost with `done`, which says what happened and what to do, and BrokenPipeError."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        forget()
        raise
    except OSError as error:
        forget()
        raise OutputLost(f"the output cannot be written ({error.strerror}). {done}") from error


def forget() -> None:
    """Let nobody write the rest: the interpreter would try once more when it ends, with a traceback and an exit code of its own."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
