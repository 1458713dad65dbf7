"""The application as the chaos run kills it: an engine that takes commands on standard input and says what it accepted.

    ticket ID TEXT      ->  accepted ID (stored or safely spooled), or refused ID
    label ID            ->  labelled ID, or failed ID
"""
from __future__ import annotations

import faulthandler
import queue
import signal
import sys
import threading

from engine import bootstrap, settings
from engine.bootstrap import Engine
from engine.domain import TicketDraft
from engine.errors import Conflict, ConsoleError
from engine.outcome import Outcome

WORKERS = 6
_out = threading.Lock()


def say(*words: str) -> None:
    # One write: where Python's output is unbuffered, each argument of print would be one, and a kill could come between them.
    with _out:
        sys.stdout.write(" ".join(words) + "\n")
        sys.stdout.flush()


def handle(engine: Engine, line: str) -> None:
    """Do one command; errors that the console raises on purpose are answers, others end up on standard error."""
    kind, id_, *rest = line.rstrip("\n").split(" ", 2)
    if kind == "ticket":
        try:
            engine.router.route(TicketDraft(body=rest[0], ticket_id=id_))
        except Conflict:
            # Sent again after a crash: it had been stored.
            say("accepted", id_)
        except ConsoleError:
            say("refused", id_)
        else:
            say("accepted", id_)
        return
    try:
        _, decision = engine.decisions.find(id_)
        live = sorted(engine.state.current().live)
        # Two in three are right: which ones depends on the id alone, so that a label sent twice is the same label.
        right = decision.department if sum(id_.encode()) % 3 else live[sum(id_.encode()) % len(live)]
        engine.router.review(Outcome(ticket_id=id_, department=right, labelled_by="chaos"))
    except ConsoleError:
        say("failed", id_)
    else:
        say("labelled", id_)


def main() -> None:
    # For whoever wonders why a run stands still.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    try:
        engine = bootstrap.build(settings.load(), log_stream=None)
    except ConsoleError as error:
        sys.exit(f"not ready: {error}")
    work: queue.Queue[str] = queue.Queue(maxsize=2 * WORKERS)

    def run() -> None:
        while True:
            handle(engine, work.get())

    for _ in range(WORKERS):
        threading.Thread(target=run, daemon=True).start()
    say("ready", "-")
    for line in sys.stdin:
        if line.startswith("quit"):
            break
        work.put(line)
    engine.close()


if __name__ == "__main__":
    main()
