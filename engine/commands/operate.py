"""Commands for who runs the console: train, migrate, health, reindex, spool, rollup."""
from __future__ import annotations

import dataclasses
import json
import sys
from argparse import Namespace
from datetime import UTC, datetime

from engine import bootstrap, settings
from engine.commands.access import BY
from engine.commands.opened import opened
from engine.commands.show import show, upgrading
from engine.errors import ConfigurationError, InputRejected, NotAccepted, ServiceUnavailable
from engine.spool import Spool


def train(_: Namespace) -> int:
    """Fit the learned router on all exemplars and make it the live one."""
    with opened() as engine:
        number, exemplars = engine.trainer.train(), engine.exemplars.count()
        engine.audit.record(BY, "model_trained", "model", str(number), after={"exemplars": exemplars})
    show(json.dumps({"model": number, "exemplars": exemplars}))
    return 0


def migrate(_: Namespace) -> int:
    """Run the missing migrations."""
    before, after = bootstrap.migrate_only(settings.load(), begun=upgrading)
    show(json.dumps({"before": before, "after": after}))
    return 0


def health(arguments: Namespace) -> int:
    """Print one line per service; 1 when a needed one does not answer.

    The services are asked by this process; breakers and last errors are those that the running consoles report.
    """
    try:
        with opened() as engine:
            reports = engine.health.report()
            instances, now = engine.watch.instances(), datetime.now(UTC)
            names = [instance.name for instance in instances]
    except ServiceUnavailable as error:
        print(f"not ready: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if arguments.json:
        show(json.dumps([dataclasses.asdict(report) | {"told_by": names} for report in reports], default=str))
    else:
        for report in reports:
            if not report.configured:
                show(f"{report.service:<14} {report.mode:<14} {'-':<6} {'-':>11}  {'-':<9} {report.consequence}")
                continue
            state = "ok" if report.ok else ("DOWN" if report.needed else "down, routing goes on without it")
            circuit = report.circuit if names else "-"
            show(f"{report.service:<14} {report.mode:<14} {state:<6} {report.latency_ms:8.2f} ms  {circuit:<9} {report.detail}")
            if report.last_error:
                show(f"{'':<14} last error {report.last_error_at:%Y-%m-%d %H:%M:%S} UTC: {report.last_error}")
            if report.consequence:
                show(f"{'':<14} {report.consequence}")
        told = ", ".join(f"{i.name} ({max(0, round((now - i.seen_at).total_seconds()))} s ago)" for i in instances)
        show(f"Breakers and last errors as reported by {told}." if told else "Breakers and last errors are not known: no console reports.")
    return 0 if all(report.ok for report in reports if report.needed) else 1


def reindex(arguments: Namespace) -> int:
    """Bring the remote vector index up to date, or only compare it with Postgres; 1 when they differ."""
    with opened() as engine:
        if engine.reindexer is None or engine.outbox is None or engine.remote_index is None:
            raise ConfigurationError(
                "PINECONE_API_KEY is not set (or PINECONE_OFF is): neighbours are looked up in Postgres, nothing has to be copied"
            )
        if not arguments.check:
            engine.reindexer.run()
            before = engine.reindexer.compare()
            if before.surplus:
                engine.remote_index.clear()
            if not before.equal:
                engine.outbox.note_all()
                engine.reindexer.run()
        found = engine.reindexer.compare()
    show(json.dumps(dataclasses.asdict(found) | {"equal": found.equal}))
    return 0 if found.equal else 1


def spool(arguments: Namespace) -> int:
    """Print what waits on this machine's disk and what was set aside, after another try where asked for; 1 when some is.

    Without `--retry` nothing but the disk is looked at, so that it says so while the database is away too.
    """
    if arguments.new_ids and not arguments.retry:
        raise InputRejected("--new-ids: only together with --retry. Nothing was changed.")
    tried = _stored_now(new_ids=arguments.new_ids) if arguments.retry else {}
    chosen = settings.load()
    if not chosen.data_dir.is_dir():
        raise InputRejected(f"DATA_DIR: there is no folder {chosen.data_dir}, so nothing is known of what waits. Set it to the console's own.")
    here = Spool(chosen.spool_folder)
    aside = here.set_aside.records()
    show(json.dumps(tried | {
        "waiting": here.waiting(), "set_aside": len(aside), "records": [dataclasses.asdict(record) for record in aside],
    }, ensure_ascii=False, indent=2))
    return 1 if aside else 0


def _stored_now(*, new_ids: bool) -> dict[str, int]:
    with opened() as engine:
        try:
            back = engine.spool.set_aside.put_back(engine.spool.keep, new_ids=new_ids)
        except NotAccepted as error:
            raise NotAccepted("spool", "it takes no more. What was not put back is still set aside: make room on the disk and run this again.") from error
        try:
            tried = {"put_back": back, "stored": engine.drainer.drain()}
        except ServiceUnavailable as error:
            raise ServiceUnavailable(
                error.service, f"{back:,} tickets were put back; the console stores them when the database answers. Nothing is lost."
            ) from error
        engine.audit.record(BY, "spool_retried", "spool", "new ids" if new_ids else "same ids", after=tried)
    return tried


def rollup(arguments: Namespace) -> int:
    """Roll up, or count everything anew, and print how many decisions that were."""
    with opened() as engine:
        if arguments.rebuild:
            show(json.dumps({"rebuilt": engine.watch.rollups.rebuild()}))
        else:
            show(json.dumps({"rolled": engine.watch.rollups.roll() or 0, "waiting": engine.watch.rollups.pending()}))
    return 0
