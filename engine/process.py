"""The process's own engine, with the settings of its environment: built when its services are there, closed at the end."""
from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from engine import bootstrap, settings, telling
from engine.bootstrap import Engine
from engine.running import Running

# Longer than the longest deadline of a ticket, in seconds.
LAST_CALLERS = 75.0
# What asks the process to end.
STOPS = (signal.SIGINT, signal.SIGTERM)

_lookouts: list[telling.Lookout] = []
_is_worker = False


def _build_running(renew: Callable[[], None]) -> Engine:
    given = settings.load()
    if not _lookouts:
        # People have to hear of a database that is away before there ever was an engine.
        _lookouts.append(telling.lookout(given, answers=lambda: away() != "database", clock=bootstrap.now))
        _lookouts[0].start()
    return bootstrap.build(given, renew=renew, lookout=_lookouts[0], log_stream=sys.stdout, worker=_is_worker)


def _say(reason: str) -> None:
    who = "worker" if _is_worker else "console"
    print(f"Not ready: {reason}. The {who} tries again until it can start.", file=sys.stderr, flush=True)


_running: Running[Engine] = Running(_build_running, say=_say, last_callers=LAST_CALLERS)


def start(then: Callable[[Engine], None], *, worker: bool = False) -> None:
    """Build the process's engine and call `then`, now or as soon as the services are there. Raises ConfigurationError.

    `worker` is what `build` takes, for every engine of the process.
    """
    global _is_worker
    _is_worker = worker
    _running.start(then)


def running() -> Engine:
    """The process's one engine, built at first use. Pages and routes both come here. Raises ServiceUnavailable."""
    return _running.engine()


def kept(engine: Engine) -> AbstractContextManager[None]:
    """For work that may take longer than `LAST_CALLERS`: inside, this engine stays open although another took over."""
    return _running.kept(engine)


def away() -> str | None:
    """The service without which the process's engine could not be built so far."""
    return _running.away()


def stop() -> None:
    """Close the process's engine; the next `running` builds a new one."""
    _running.stop()
    while _lookouts:
        _lookouts.pop().close()
