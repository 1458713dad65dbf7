"""Commands for who runs the console: train, migrate, health."""
from __future__ import annotations

import dataclasses
import json
import sys
from argparse import Namespace

from engine import bootstrap, settings
from engine.commands.opened import opened
from engine.errors import ConsoleError


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
    except ConsoleError as error:
        print(f"not ready: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps([dataclasses.asdict(report) for report in reports]))
    else:
        for report in reports:
            state = "ok" if report.ok else ("DOWN" if report.needed else "down, routing goes on without it")
            print(f"{report.service:<10} {report.mode:<10} {state:<6} {report.latency_ms:8.2f} ms  {report.detail}")
    return 0 if all(report.ok for report in reports if report.needed) else 1
