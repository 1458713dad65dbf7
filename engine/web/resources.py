"""What the API's routes do, once the token was found good: one plain function each."""
from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request

from engine.access import Permission
from engine.bootstrap import Engine
from engine.decision_json import as_dict
from engine.domain import Origin, Spooled, TicketDraft
from engine.errors import InputRejected, NotFound
from engine.outcome import Outcome, Overrule
from engine.sanitize import remark
from engine.timeline import ChartWindow
from engine.tokens import Bearer

_TEXTS = ("body", "subject", "channel", "customer_ref", "priority", "ticket_id")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:#/-]{0,63}")
MAX_ROWS = 200

Answer = tuple[int, Any]


def submit(engine: Engine, bearer: Bearer, _: Request, content: dict[str, Any]) -> Answer:
    """Route one ticket; 201 with the decision, 202 when it is kept safely and will be routed."""
    _only(content, *_TEXTS)
    if "body" not in content:
        raise InputRejected("body: the ticket's text is missing. Nothing was stored.")
    fields = {name: _text(content, name) for name in _TEXTS if name in content}
    engine.limits.take("submit", bearer.user)
    result = engine.router.route(TicketDraft(**fields, created_by=bearer.user, origin=Origin.API))
    return 202 if isinstance(result, Spooled) else 201, as_dict(result)


def ticket(engine: Engine, bearer: Bearer, request: Request, _: dict[str, Any]) -> Answer:
    """One ticket with its decision and an agent's choice; somebody else's only with the scope all_tickets."""
    ticket_id = _known(engine, bearer, request.path_params["ticket_id"])
    found, decision = engine.decisions.find(ticket_id)
    [row] = engine.decisions.rows([ticket_id])
    about = {"id": found.id, "subject": found.subject, "body": found.body, "channel": found.channel.value,
             "customer_ref": found.customer_ref, "priority": found.priority.value, "created_by": found.created_by,
             "created_at": found.created_at.isoformat()}
    return 200, {"ticket": about, "decision": as_dict(decision), "chosen": row.chosen, "labelled_as": row.actual_outcome}


def tickets(engine: Engine, bearer: Bearer, request: Request, _: dict[str, Any]) -> Answer:
    """The newest tickets: one's own, or all with the scope all_tickets. `confidence` and `method` are about what was `decided`."""
    by = None if Permission.ALL_TICKETS in bearer.permissions else bearer.user
    rows = engine.decisions.latest(limit=_number(request, "limit", 20, MAX_ROWS), created_by=by)
    return 200, {"tickets": [
        {"id": row.ticket_id, "subject": row.subject, "department": row.overruled_to or row.department, "decided": row.department,
         "confidence": float(row.confidence), "method": row.method, "automation": row.automation, "chosen": row.chosen,
         "labelled_as": row.actual_outcome,
         "created_at": row.created_at.isoformat()}
        for row in rows
    ]}


def overrule(engine: Engine, bearer: Bearer, _: Request, content: dict[str, Any]) -> Answer:
    """Confirm a decision or send its ticket to another department; `labelled_as` is a supervisor's label, which stands, or null."""
    _only(content, "ticket_id", "department", "reason")
    ticket_id = _known(engine, bearer, _text(content, "ticket_id"))
    department = remark(_text(content, "department"))
    choice = Overrule(ticket_id=ticket_id, department=department, by=bearer.user, reason=_text(content, "reason")[:200])
    return 201, {"ticket_id": ticket_id, "department": department, "labelled_as": engine.router.overrule(choice)}


def outcome(engine: Engine, bearer: Bearer, _: Request, content: dict[str, Any]) -> Answer:
    """Label a ticket."""
    _only(content, "ticket_id", "department", "resolution_hours", "satisfaction", "note")
    hours, stars = content.get("resolution_hours"), content.get("satisfaction")
    if isinstance(hours, bool) or not isinstance(hours, int | float | None):
        raise InputRejected("resolution_hours: a number, or leave it out. Nothing was stored.")
    # 4.0 is what some languages write for 4.
    stars = int(stars) if isinstance(stars, float) and stars.is_integer() else stars
    if isinstance(stars, bool) or not isinstance(stars, int | None):
        raise InputRejected("satisfaction: a whole number from 1 to 5, or leave it out. Nothing was stored.")
    # Whoever labels may label every ticket, as on the Review page; of its texts the answer says nothing.
    ticket_id = _known(engine, bearer, _text(content, "ticket_id"), also=Permission.REVIEW)
    reviewed = engine.router.review(Outcome(
        ticket_id=ticket_id, department=_text(content, "department"), labelled_by=bearer.user, resolution_hours=hours, satisfaction=stars,
        note=_text(content, "note")[:500],
    ))
    return 201, {"ticket_id": ticket_id, "correct": reviewed.correct, "predicted": reviewed.predicted, "actual": reviewed.actual}


def departments(engine: Engine, *_: object) -> Answer:
    """The departments that a decision may name."""
    return 200, {"departments": [{"name": d.name, "purpose": d.purpose, "triage": d.triage} for d in engine.taxonomy.departments()]}


def accuracy(engine: Engine, *_: object) -> Answer:
    """`routing_accuracy`."""
    return 200, {"accuracy": [
        {"department": r.department, "total": r.total_predictions, "correct": r.correct_predictions, "rate": float(r.accuracy_rate)}
        for r in engine.outcomes.accuracy()
    ]}


def figures(engine: Engine, _: Bearer, request: Request, __: dict[str, Any]) -> Answer:
    """The dashboard's totals over the last `hours`, without demo tickets; `degraded_by` and `behind_s` say what they were read from."""
    now = datetime.now(UTC)
    found = engine.watch.charts.summary(ChartWindow(now - timedelta(hours=_number(request, "hours", 24, 24 * 366)), now, False))
    names = (
        "n", "hits", "auto", "degraded", "audited", "labels", "hit_rate", "auto_rate", "low_share", "disagreement_rate",
        "false_hit_rate", "false_hit_interval", "hit_labels", "accuracy", "accuracy_interval", "sampled_labels", "mean_ms",
    )
    return 200, {name: getattr(found.now, name) for name in names} | {
        f"p{round(100 * share)}_ms": found.now.percentile_ms(share) for share in (0.5, 0.95, 0.99)
    } | {"degraded_by": list(found.degraded_by), "behind_s": round(found.behind.total_seconds())}


def policy(engine: Engine, *_: object) -> Answer:
    """The live policy."""
    live = engine.policies.live()
    return 200, {
        "number": live.number, "confidence": live.confidence, "accuracy": live.accuracy, "similarity": live.similarity,
        "target_accuracy": live.target_accuracy, "delta": live.delta, "auto": live.thresholds.auto, "preselect": live.thresholds.preselect,
        "departments": {name: {"auto": own.auto, "preselect": own.preselect} for name, own in sorted(live.departments.items())},
        "limits": {
            name: {"confidence": own.confidence, "accuracy": own.accuracy, "similarity": own.similarity} for name, own in sorted(live.limits.items())
        },
        "audit_rate": live.audit_rate, "review_rate": live.review_rate, "stages": sorted(live.stages),
    }


def alerts(engine: Engine, *_: object) -> Answer:
    """Recent alerts: the open ones first, critical before warning."""
    return 200, {"alerts": [
        {"rule": r.rule, "subject": r.subject, "severity": r.severity, "message": r.message, "opened_at": r.opened_at.isoformat(),
         "resolved_at": r.resolved_at.isoformat() if r.resolved_at else None}
        for r in engine.watch.alert_table.latest(limit=MAX_ROWS)
    ]}


def users(engine: Engine, *_: object) -> Answer:
    """Everybody, without anything secret."""
    return 200, {"users": [
        {"name": u.name, "role": u.role, "disabled": u.disabled_at is not None, "source": u.source} for u in engine.accounts.all()
    ]}


def health(engine: Engine, *_: object) -> Answer:
    """One report per service."""
    return 200, {"services": [
        dataclasses.asdict(r) | {"last_error_at": r.last_error_at.isoformat() if r.last_error_at else None} for r in engine.health.report()
    ]}


def audit(engine: Engine, _: Bearer, request: Request, __: dict[str, Any]) -> Answer:
    """Rows of the audit log, newest first; filters `actor`, `action` and `object`."""
    query = request.query_params
    rows = engine.audit.find(
        limit=_number(request, "limit", 100, 1000), actor=query.get("actor", ""), action=query.get("action", ""),
        words=query.get("object", ""),
    )
    return 200, {"rows": [
        {"number": r.id, "at": r.at.isoformat(), "actor": r.actor, "action": r.action, "kind": r.kind, "object": r.object,
         "before": r.before, "after": r.after, "from": r.address, "hash": r.hash}
        for r in rows
    ]}


HANDLERS: dict[tuple[str, str], Callable[..., Answer]] = {
    ("POST", "/api/v1/tickets"): submit,
    ("GET", "/api/v1/tickets"): tickets,
    ("GET", "/api/v1/tickets/{ticket_id:path}"): ticket,
    ("POST", "/api/v1/overrules"): overrule,
    ("GET", "/api/v1/departments"): departments,
    ("POST", "/api/v1/outcomes"): outcome,
    ("GET", "/api/v1/accuracy"): accuracy,
    ("GET", "/api/v1/figures"): figures,
    ("GET", "/api/v1/policy"): policy,
    ("GET", "/api/v1/alerts"): alerts,
    ("GET", "/api/v1/users"): users,
    ("GET", "/api/v1/health"): health,
    ("GET", "/api/v1/audit"): audit,
}


def _only(content: dict[str, Any], *names: str) -> None:
    strange = sorted(set(content) - set(names))
    if strange:
        raise InputRejected(f"body: unknown field {strange[0][:60]!r}; known are {', '.join(names)}. Nothing was stored.")


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name, "")
    if not isinstance(value, str):
        raise InputRejected(f"{name}: must be text; found {type(value).__name__}. Nothing was stored.")
    # Postgres holds neither; the ticket's own texts are cleaned by the router, which reports what it finds. An id is the sender's: one that
    # was cleaned would be another ticket's.
    return value if name in _TEXTS else value.replace("\x00", "").encode("utf-8", "ignore").decode()


def _known(engine: Engine, bearer: Bearer, ticket_id: str, *, also: Permission = Permission.ALL_TICKETS) -> str:
    """The id, if the ticket is this bearer's own, or one of these scopes opens everybody's; otherwise it looks as if there were none.

    Raises NotFound.
    """
    if _ID.fullmatch(ticket_id):
        found, _ = engine.decisions.find(ticket_id)
        if found.created_by == bearer.user or not bearer.permissions.isdisjoint({Permission.ALL_TICKETS, also}):
            return ticket_id
    raise NotFound(f"ticket {ticket_id[:64]} does not exist. Check the number.")


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise InputRejected(f"{name}: a whole number from 1 to {most}")
    return int(text)
