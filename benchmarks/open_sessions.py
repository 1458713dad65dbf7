"""How much memory does one console process take with many people on its pages at the same time?

    python -m benchmarks.open_sessions --json OUT [--data DIR] [--sessions 50]

DIR holds train.csv, test.csv and departments.json: the console has learned the training file, routed the test file's tickets and has labels
of a part of them. Each session is a sign-in of its own with an open websocket, on one page after the other; the most memory that the
process has held so far is counted, sign-ins and the model's loading included. Postgres and Valkey are processes of their own.
"""
from __future__ import annotations

import csv
import io
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from websockets.sync.client import ClientConnection

from benchmarks import labelled_data
from benchmarks.labelled_data import LabelledData
from benchmarks.report import Report
from db.embedded import EmbeddedServers
from engine import imports, labelled_csv, taxonomy_csv
from engine.access import Role
from engine.outcome import Outcome
from engine.web.gate import COOKIE
from tests import websocket
from tests.serving import Served

PAGES = ("submit", "dashboard", "review", "accuracy", "policy", "alerts", "system")
LABELS = 500
GIB = 1024**3


def main() -> int:
    """Run the benchmark; 1 when a bar does not hold, 2 when the data is missing."""
    parser = labelled_data.options("open_sessions", __doc__)
    parser.add_argument("--sessions", type=int, default=50, help="how many people at the same time (default: 50)")
    arguments = parser.parse_args()
    try:
        data = labelled_data.read(arguments.data)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = Report("open sessions")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sessions-benchmark-")))
        folder.chmod(0o755)
        servers = EmbeddedServers(folder).start()
        stack.callback(servers.close)
        served = Served(servers.postgres_url, servers.redis_url, folder, password_memory_kib=65_536, password_time_cost=3)
        stack.callback(served.close)
        filled(served, data)
        served.start()
        at_first = served.most_memory()
        sockets = [stack.enter_context(one(served)) for _ in range(arguments.sessions)]
        for turn in range(len(PAGES)):
            for number, socket in enumerate(sockets):
                looked_at(socket, PAGES[(number + turn) % len(PAGES)])
        most = served.most_memory()
        report.add("gib_with_open_sessions", most / GIB, 1.0, "max")
        print(f"{at_first / GIB:.3f} GiB when it was ready, {most / GIB:.3f} after {len(sockets)} sessions on {len(PAGES)} pages each")
    return report.finish(arguments.json)


def filled(served: Served, data: LabelledData) -> None:
    """Learn the training file, route the test file and label some of it as the file says."""
    engine = served.engine
    engine.trainer.replace(
        *taxonomy_csv.from_exemplars(data.train, text_column="text", label_column="category", parents=data.parents, name="train.csv")
    )
    engine.state.refresh()
    found = labelled_csv.read(data.test, name="test.csv")
    table = io.StringIO()
    csv.writer(table).writerows([("body",), *((text,) for text in found.texts)])
    file = imports.read(table.getvalue().encode(), name="test.csv", router=engine.router)
    decisions = imports.run(file, router=engine.router, store=engine.decisions).decisions
    for decision, label in list(zip(decisions, found.labels, strict=True))[:LABELS]:
        engine.router.review(Outcome(ticket_id=decision.ticket_id, department=data.parents[label], labelled_by="benchmark"), learn=False)


def one(served: Served) -> AbstractContextManager[ClientConnection]:
    """A sign-in of its own, and its websocket."""
    return websocket.opened(served.url, served.sign_in(Role.ADMIN).cookies[COOKIE])


def looked_at(socket: ClientConnection, page: str) -> None:
    """Run a page. One that was not shown is no measure."""
    if not websocket.run(socket, page=page).headings:
        raise RuntimeError(f"the page {page} was not shown")


if __name__ == "__main__":
    sys.exit(main())
