"""An engine for the length of one command."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine import bootstrap, settings
from engine.bootstrap import Engine


@contextmanager
def opened(*, log: bool = False, working: bool = True) -> Iterator[Engine]:
    """The engine that the environment describes; closed at the end. With `log` its lines go to standard error.

    Without `working` it only answers questions: nothing is drained, reported or learned beside.
    """
    engine = bootstrap.build(settings.load(), log_stream=sys.stderr if log else None, working=working)
    try:
        yield engine
    finally:
        engine.close()
