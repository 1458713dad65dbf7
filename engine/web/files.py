"""Files that people take from pages, made for each request from what its address asks for.

The pages' own downloads are lost where many pages refresh: their framework forgets what the end of any page's run finds unused,
which is the file that was just made, and a button's number with each run of its page.
"""
from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from engine import access, audit, audit_csv, figures_csv, process
from engine.bootstrap import Engine
from engine.domain import Channel
from engine.errors import ConsoleError, InputRejected, ServiceUnavailable
from engine.sessions import Session
from engine.timeline import DEFAULT_SPAN, SPANS, ChartWindow
from engine.web import forms
from engine.web.origin import is_own

_FROM_HERE = ("same-origin", "none")

Maker = Callable[[Engine, Session, QueryParams], tuple[str, bytes]]


def decisions(engine: Engine, _: Session, query: QueryParams) -> tuple[str, bytes]:
    """The bars of the dashboard as they are now: `span` and `demo` once, `department`, `channel` and `policy` as often as wanted."""
    span = SPANS[_one_of("span", query.get("span", DEFAULT_SPAN), SPANS)]
    now = datetime.now(UTC)
    filters = {
        "demo": _one_of("demo", query.get("demo", "true"), ("true", "false")) == "true",
        # Postgres refuses NUL in text; no name holds one.
        "departments": tuple(name.replace("\x00", "") for name in query.getlist("department")),
        "channels": tuple(_one_of("channel", name, [one.value for one in Channel]) for name in query.getlist("channel")),
        "policies": tuple(_number("policy", text) for text in query.getlist("policy")),
    }
    window, before = ChartWindow(*span.window(now), **filters), ChartWindow(*span.before(now), **filters)
    return f"decisions-{span.key}.csv", figures_csv.content(engine.watch.charts.overview(window, before, bar=span.level).bars)


def audit_log(engine: Engine, session: Session, query: QueryParams) -> tuple[str, bytes]:
    """The rows of the audit log that fit `actor`, `action`, `object` and `since`, a day in UTC."""
    since = query.get("since", "")
    if since and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", since, re.ASCII):
        raise InputRejected("since: a day as 2026-01-31")
    try:
        start = datetime.fromisoformat(since).replace(tzinfo=UTC) if since else None
    except ValueError:
        raise InputRejected("since: this day is in no calendar") from None
    return "audit.csv", audit_csv.content(
        engine.audit, session.name, actor=query.get("actor", ""), action=query.get("action", ""), words=query.get("object", ""), since=start,
    )


MAKERS: dict[str, Maker] = {"/files/decisions.csv": decisions, "/files/audit.csv": audit_log}


def routes() -> list[BaseRoute]:
    """One route for each file of the access table, and what unknown ones get."""
    made = [Route(path, _endpoint(path), methods=["GET"]) for path in access.FILES]
    return [*made, Route("/files/{path:path}", _unknown, methods=["GET"])]


def _endpoint(path: str) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(_answer, request, path)

    return endpoint


async def _unknown(_: Request) -> Response:
    return _told("No such file", "The console has no file of this name.", status=404)


def _told(title: str, text: str, *, status: int) -> Response:
    return forms.message(title, text, status=status, back=("/", "To the console"))


def _from_elsewhere(request: Request) -> bool:
    # Without TLS browsers say nothing of the first; of the second only what the page they come from lets them.
    site, page = request.headers.get("sec-fetch-site", "same-origin"), request.headers.get("referer")
    return site not in _FROM_HERE or (page is not None and not is_own(page, request.headers))


def _answer(request: Request, path: str) -> Response:
    # An export leaves a row in the audit log, and no other site may have one written.
    if _from_elsewhere(request):
        return _told("Not from here", "Files are taken on the console's own pages.", status=403)
    try:
        engine = process.running()
        # The gate has let the session in and says which it is.
        session = engine.sessions.find(request.headers.get("x-console-sid", ""), touch=False)
        if session is None or not access.opens(session.role, access.FILES[path]):
            return _told("Not open to you", "This file belongs to a page that is not open to your role. Ask an admin if you need it.", status=403)
        audit.coming_from(session.address)
        if request.method == "HEAD":
            return Response(media_type="text/csv", headers={"Cache-Control": "no-store"})
        name, content = MAKERS[path](engine, session, request.query_params)
    except InputRejected as problem:
        return _told("No file", f"{problem}. Take it from the console's page.", status=422)
    except ServiceUnavailable:
        return _told("No file at the moment", "The database does not answer. Nothing is lost; try again soon.", status=503)
    except ConsoleError as problem:
        logging.getLogger("console.files").error("no file %s: %s", path, type(problem).__name__)
        return _told("No file", "Something went wrong. Nothing is lost.", status=500)
    return Response(content, media_type="text/csv", headers={
        "Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store",
    })


def _one_of(name: str, value: str, known: Collection[str]) -> str:
    if value not in known:
        raise InputRejected(f"{name}: one of {', '.join(known)}")
    return value


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputRejected(f"{name}: a number of at most nine digits")
    return int(text)
