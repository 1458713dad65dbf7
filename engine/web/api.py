"""The HTTP API for machines: JSON in and out, a token for every route, its scopes read from the access table."""
from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engine import access, audit, process
from engine.bootstrap import Engine
from engine.errors import Conflict, ConsoleError, InputRejected, NotAllowed, NotFound, ServiceUnavailable, TooManyRequests, told
from engine.tokens import Bearer
from engine.web import resources
from engine.web.body import read
from engine.web.gate import bearer_of

MAX_BODY = 131_072
# Tickets keep coming in while the database is away, as they do from people who were seen within that time.
BELIEVED = timedelta(minutes=10)
RETRY_SECONDS = 10
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_STATUS: tuple[tuple[type[ConsoleError], int, str], ...] = (
    (InputRejected, 422, "rejected"),
    (NotAllowed, 403, "not_allowed"),
    (TooManyRequests, 429, "too_many_requests"),
    (NotFound, 404, "not_found"),
    (Conflict, 409, "conflict"),
    (ServiceUnavailable, 503, "unavailable"),
)

Handler = Callable[[Engine, Bearer, Request, dict[str, Any]], tuple[int, Any]]


def routes() -> list[BaseRoute]:
    """One route for each row of the table that is under /api/, then what unknown paths and methods get."""
    made = []
    for path in dict.fromkeys(path for _, path in access.API if path.startswith("/api/")):
        handlers = {method: resources.HANDLERS[method, path] for method, other in access.API if other == path}
        made.append(Route(path, _endpoint(path, handlers), methods=_METHODS))
    return [*made, Route("/api/{path:path}", _unknown, methods=_METHODS), Route("/api", _unknown, methods=_METHODS)]


def error(status: int, kind: str, message: str, **headers: str) -> Response:
    """An error as JSON."""
    # A lone surrogate from a stranger's JSON cannot be written as UTF-8.
    body = {"error": {"kind": kind, "message": message.encode("utf-8", "replace").decode()}}
    return JSONResponse(body, status, {"Cache-Control": "no-store", **{name.replace("_", "-"): value for name, value in headers.items()}})


async def _unknown(request: Request) -> Response:
    return error(404, "not_found", f"there is no route {request.url.path[:200]}")


def _endpoint(path: str, handlers: dict[str, Handler]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        handler = handlers.get(request.method)
        if handler is None:
            return error(405, "method", f"this route takes {', '.join(sorted(handlers))}", Allow=", ".join(sorted(handlers)))
        body = await read(request, limit=MAX_BODY)
        return await run_in_threadpool(_answer, request, body, handler, access.API[request.method, path])

    return endpoint


def _answer(request: Request, body: bytes | None, handler: Handler, permission: access.Permission) -> Response:
    try:
        engine = process.running()
        token = bearer_of(Headers(scope=request.scope))
        bearer = _bearer(engine, token, permission) if token else None
        if bearer is None:
            return error(401, "token", "send a living token: Authorization: Bearer ...", WWW_Authenticate="Bearer")
        if permission not in bearer.permissions:
            # Not what NotAllowed says: the owner's role may well hold it, and it is the token that has to be made anew.
            return error(403, "not_allowed", f"the token needs the scope {permission.value}, and an owner whose role holds it; nothing was stored")
        if body is None:
            return error(413, "too_large", f"at most {MAX_BODY} bytes; nothing was stored")
        engine.limits.take("api", bearer.token_id)
        audit.coming_from(request.client.host if request.client else "")
        status, content = handler(engine, bearer, request, _json(request, body))
        return JSONResponse(content, status, {"Cache-Control": "no-store"})
    except TooManyRequests as problem:
        return error(429, "too_many_requests", str(problem), Retry_After=str(told(problem.wait)))
    except ConsoleError as problem:
        status, kind = next(((s, k) for t, s, k in _STATUS if isinstance(problem, t)), (500, "internal"))
        if isinstance(problem, ServiceUnavailable):
            # Not the reason: it names addresses, and whoever asks may be a stranger.
            again = "Ask again later." if request.method == "GET" else "Nothing was stored: send it again later."
            return error(status, kind, f"{problem.service} is not available. {again}", Retry_After=str(RETRY_SECONDS))
        if status == 500:
            _log(request, problem)
        return error(status, kind, str(problem) if status != 500 else "something went wrong; nothing was stored")
    except Exception as problem:  # noqa: BLE001 - a stranger's request must not see more than this, and the log no text of theirs
        _log(request, problem)
        return error(500, "internal", "something went wrong")


def _bearer(engine: Engine, token: str, permission: access.Permission) -> Bearer | None:
    if permission is access.Permission.SUBMIT:
        return engine.tokens.find_again(token, within=BELIEVED)
    return engine.tokens.find(token)


def _log(request: Request, problem: Exception) -> None:
    logging.getLogger("console.api").error("api error in %s: %s", request.url.path.split("/")[3:4], type(problem).__name__)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InputRejected(f"{name[:40]}: is there twice. Nothing was stored: send it once.")
        found[name] = value
    return found


def _json(request: Request, body: bytes) -> dict[str, Any]:
    if request.method == "GET":
        return {}
    try:
        content = json.loads(body, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise InputRejected("body: not JSON in UTF-8. Nothing was stored.") from None
    if not isinstance(content, dict):
        raise InputRejected(f"body: a JSON object is needed; found {type(content).__name__}. Nothing was stored.")
    return content
