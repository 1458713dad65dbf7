"""Commands for who runs the console: train, migrate, health."""
from __future__ import annotations

import dataclasses
import json
import sys
from argparse import Namespace

from engine import bootstrap, settings
from engine.commands.opened import opened
from engine.errors import ConfigurationError, ServiceUnavailable


def train(_: Namespace) -> int:
    """Fit the learned router on all exemplars and make it the live one."""
    with opened() as engine:
        print(json.dumps({"model": engine.trainer.train(), "exemplars": engine.exemplars.count()}))
    return 0


def migrate(_: Namespace) -> int:
    """Run the missing migrations."""
    before, after = bootstrap.migrate_only(settings.load())
    print(json.dumps({"before": before, "after": after}))
    return 0


def health(arguments: Namespace) -> int:
    """Print one line per service; 1 when a needed one does not answer."""
    try:
        with opened() as engine:
            reports = engine.health.report()
    except ServiceUnavailable as error:
        print(f"not ready: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps([dataclasses.asdict(report) for report in reports], default=str))
    else:
        for report in reports:
            state = "ok" if report.ok else ("DOWN" if report.needed else "down, routing goes on without it")
            print(f"{report.service:<14} {report.mode:<10} {state:<6} {report.latency_ms:8.2f} ms  {report.circuit:<9} {report.detail}")
            if report.consequence:
                print(f"{'':<14} {report.consequence}")
    return 0 if all(report.ok for report in reports if report.needed) else 1


def reindex(arguments: Namespace) -> int:
    """Bring the remote vector index up to date, or only compare it with Postgres; 1 when they differ."""
    with opened() as engine:
        if engine.reindexer is None or engine.outbox is None or engine.remote_index is None:
            raise ConfigurationError("PINECONE_API_KEY is not set: neighbours are looked up in Postgres, nothing has to be copied")
        if not arguments.check:
            engine.reindexer.run()
            before = engine.reindexer.compare()
            if before.surplus:
                engine.remote_index.clear()
            if not before.equal:
                engine.outbox.note_all()
                engine.reindexer.run()
        found = engine.reindexer.compare()
    print(json.dumps(dataclasses.asdict(found) | {"equal": found.equal}))
    return 0 if found.equal else 1


def rollup(arguments: Namespace) -> int:
    """Roll up, or count everything anew, and print how many decisions that were."""
    with opened() as engine:
        if arguments.rebuild:
            print(json.dumps({"rebuilt": engine.watch.rollups.rebuild()}))
        else:
            print(json.dumps({"rolled": engine.watch.rollups.roll() or 0, "waiting": engine.watch.rollups.pending()}))
    return 0
