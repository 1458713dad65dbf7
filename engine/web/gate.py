"""The gate in front of pages and websockets: without a living session nothing behind it runs."""
from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.access import Permission
from engine.errors import ServiceUnavailable
from engine.sessions import Session, Sessions
from engine.tokens import Bearer
from engine.web import forms, uploads
from engine.web.origin import from_here

COOKIE = "console_session"
# How the gate tells the pages whose session it is; the same headers from outside are dropped.
IDENTITY = b"x-console-"
POLICY_VIOLATION = 1008
# Seconds after which somebody who was told "not now" may ask again.
ASK_AGAIN = 5
# In bytes: what an open page may say at once. Whoever pastes a text that is too long by less is told so, and keeps it.
LONGEST_MESSAGE = 8_388_608

# Open without a session. Routes under /api/ ask for a token themselves; no websocket is ever open.
_OPEN = frozenset({"/healthz", "/readyz", "/favicon.png", "/_stcore/health", "/_stcore/host-config"})
_OPEN_UNDER = ("/auth/", "/static/", "/api/")

_stands = threading.Event()


def stands() -> bool:
    """True where a gate was put in front of this process' pages; without one, headers from outside would be believed."""
    return _stands.is_set()


def is_always_open(path: str) -> bool:
    """True for the paths that answer even before the engine runs."""
    return path in _OPEN or path == "/auth/style.css" or path.startswith("/static/")


def is_open(path: str) -> bool:
    """True for the paths that answer strangers."""
    return path in _OPEN or path.startswith(_OPEN_UNDER)


def bearer_of(headers: Headers) -> str:
    """The token of an Authorization header, empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class Gate:
    """Checks the session of every request, websocket and websocket message. `sessions` and `token` are asked late, so that
    the gate can be made before the engine runs; `away` names the service without which it cannot run yet. `reload` is the
    message that makes an open page load again; it is the last one that a page gets when its session or its role is over,
    `too_long` the same for a page that has sent too much, which is to say so.
    `held` says how many bytes of uploaded files are kept for a visit, `longest` how many a page's message has at most."""

    def __init__(
        self, app: ASGIApp, *, sessions: Callable[[], Sessions], token: Callable[[str], Bearer | None],
        away: Callable[[], str | None] = lambda: None, reload: bytes = b"", too_long: bytes = b"",
        held: Callable[[str], int] = lambda _: 0,
        longest: Callable[[], int] = lambda: LONGEST_MESSAGE,
    ) -> None:
        _stands.set()
        self._app = app
        self._reload = reload
        self._too_long = too_long
        self._shares = uploads.Shares(held)
        self._longest = longest
        self._away = away
        self._sessions = sessions
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        kept = [(name, value) for name, value in scope["headers"] if not name.lower().startswith(IDENTITY)]
        scope = {**scope, "headers": kept}
        is_http, headers = scope["type"] == "http", Headers(scope=scope)
        if not is_http and not from_here(headers):
            # The pages' framework looks at the host's name alone.
            await _refuse(receive, send)
            return
        if self._away() is not None and not (is_http and is_always_open(scope["path"])):
            await (_not_now(scope, headers, starting=True)(scope, receive, send) if is_http else _refuse(receive, send))
            return
        if is_http and is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            if is_http and scope["path"] == "/metrics":
                refusal = await self._machine(headers)
                await (refusal or self._app)(scope, receive, send)
                return
            cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
            session = await run_in_threadpool(self._find, cookie)
        except ServiceUnavailable:
            await (_not_now(scope, headers, starting=False)(scope, receive, send) if is_http else _refuse(receive, send))
            return
        if session is None or session.must_change:
            await (_turned_away(scope, headers, session)(scope, receive, send) if is_http else _refuse(receive, send))
            return
        scope["headers"] = [
            *kept, (b"x-console-user", session.name.encode()), (b"x-console-role", session.role.encode()),
            (b"x-console-sid", session.key.encode()),
        ]
        if not is_http:
            await self._watched(session, scope, receive, send)
        elif uploads.is_upload(scope):
            await self._upload(session, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _upload(self, session: Session, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        with self._shares.room(session.name, scope["path"], uploads.size(headers)) as fits:
            receive, name = await uploads.named(headers, receive)
            answer: ASGIApp = self._app
            if not uploads.allowed(name):
                answer = PlainTextResponse(uploads.REFUSAL, 415)
            elif not fits:
                answer = PlainTextResponse(uploads.TOO_MUCH, 413)
            await answer(scope, receive, send)

    def _find(self, cookie: str) -> Session | None:
        sessions = self._sessions()
        return sessions.find(sessions.key_of(cookie)) if cookie else None

    async def _machine(self, headers: Headers) -> Response | None:
        """What to answer instead of the metrics, None when they may be given."""
        token = bearer_of(headers)
        bearer = await run_in_threadpool(self._token, token) if token else None
        if bearer is None:
            return JSONResponse({"error": "a token is needed"}, 401, {"WWW-Authenticate": "Bearer"})
        if Permission.METRICS not in bearer.permissions:
            return JSONResponse({"error": "the token does not hold the scope metrics"}, 403)
        return None

    async def _watched(self, opened: Session, scope: Scope, receive: Receive, send: Send) -> None:
        """Every message starts a run of a page or of a part of it, so each one asks for the session again.

        When it has ended, or the role is another one than at the opening, nothing of the page runs any more: what it holds
        was made for that role. Nor does it after a message that is longer than what a page can have to say.
        The page is told to load again, and pages never resume what another role has opened.
        """
        closed = False

        async def checked() -> Message:
            nonlocal closed
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            try:
                session = await run_in_threadpool(lambda: self._sessions().find(opened.key, touch=False))
                too_long = len(message.get("bytes") or message.get("text") or b"") > self._longest()
                if session is not None and not session.must_change and session.role == opened.role and not too_long:
                    return message
                ended = "the session has ended" if session is None else "the role has changed"
                reason, last = ("the message is too long", self._too_long) if too_long else (ended, self._reload)
            except ServiceUnavailable:
                # What was typed stays on the screen, and the page connects again when the database is back.
                reason, last = "the database does not answer", b""
            closed = True
            if last:
                await send({"type": "websocket.send", "bytes": last})
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason})
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}

        async def while_open(message: Message) -> None:
            if not closed:
                await send(message)

        await self._app(scope, checked, while_open)


async def _refuse(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": POLICY_VIOLATION})


def _not_now(scope: Scope, headers: Headers, *, starting: bool) -> Response:
    """503 in the form that the asker reads: a page that looks again by itself, JSON for the API, a line for the rest."""
    if scope["path"].startswith("/api/"):
        error = {"kind": "unavailable", "message": "the console is not ready: its database does not answer yet; nothing was stored"}
        return JSONResponse({"error": error}, 503, {"Cache-Control": "no-store", "Retry-After": str(ASK_AGAIN)})
    if scope["method"] in ("GET", "HEAD", "POST") and "text/html" in headers.get("accept", ""):
        return forms.away(starting=starting, seconds=ASK_AGAIN)
    text = "The console cannot reach its database. Nothing that was stored is lost. Try again soon."
    return PlainTextResponse(text, 503, {"Cache-Control": "no-store", "Retry-After": str(ASK_AGAIN)})


def _turned_away(scope: Scope, headers: Headers, session: Session | None) -> Response:
    if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
        if session is not None:
            return RedirectResponse("/auth/password", 303)
        query = scope["query_string"].decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse("/auth/login" + (f"?next={quote(target, safe='/')}" if target != "/" else ""), 303)
    return PlainTextResponse("Sign in first.", 401, {"Cache-Control": "no-store"})
