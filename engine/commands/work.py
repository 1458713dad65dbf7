"""The command that works beside the consoles."""
from __future__ import annotations

import signal
import sys
import threading
from argparse import Namespace
from contextlib import suppress

from engine import process
from engine.bootstrap import Engine


def work(_: Namespace) -> int:
    """Prepare later answers until SIGINT or SIGTERM; what is under way then is done again by whoever comes next."""
    stopped, started = threading.Event(), threading.Event()

    def stop(number: int, _: object) -> None:
        again = stopped.is_set()
        stopped.set()
        if started.is_set():
            # Whoever asks twice does not want to wait.
            signal.signal(number, signal.SIG_DFL)
        elif not again:
            # Until it has started a stop ends it where it is, be it in the first fit; a second one must not break off what closes the rest.
            raise KeyboardInterrupt

    for number in process.STOPS:
        signal.signal(number, stop)
    try:
        with suppress(KeyboardInterrupt):
            process.start(_say_ready, worker=True)
            started.set()
            stopped.wait()
    finally:
        process.stop()
    return 0


def _say_ready(engine: Engine) -> None:
    print("The worker is ready (Ctrl-C stops it).", file=sys.stderr, flush=True)
    if engine.settings.background_work == "console":
        print(
            "BACKGROUND_WORK is console here: where the consoles say so too, they do this work as well, one process at a time. "
            "Set it to worker for all of them to leave it to this one.", file=sys.stderr, flush=True,
        )
