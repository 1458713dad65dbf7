"""Signing in, signing out and changing the password: Starlette routes under /auth/, guarded against forged requests."""
from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from engine import access, audit, process
from engine.bootstrap import Engine
from engine.errors import AccountRejected, ServiceUnavailable, SignInRefused, told
from engine.passwords import AT_ONCE
from engine.sessions import Session
from engine.web import forms
from engine.web.body import read
from engine.web.desk import Busy, Desk
from engine.web.gate import ASK_AGAIN, COOKIE
from engine.web.origin import from_here

CSRF = "console_csrf"
BROWSER = "console_browser"
MAX_BODY = 8_192
_TARGET = re.compile(r"/(?!/|auth/|api/)[A-Za-z0-9_/-]{0,200}")
# What a browser writes after the question mark. Nothing in it can end a header's line or name another host.
_QUERY = re.compile(r"[A-Za-z0-9._~%!$&'()*+,;=:@/?-]{0,1500}")
_YEAR = 365 * 24 * 3600
# Forms with a password, which anybody may send: each one checked takes the 64 MiB of its hash.
_PASSWORDS = Desk(at_once=AT_ONCE, waiting=60, patience=5.0)

Form = dict[str, str]


def routes() -> list[Route]:
    """The routes of the sign-in pages."""
    return [
        Route("/auth/style.css", style, methods=["GET"]),
        Route("/auth/login", read_only(login_form), methods=["GET"]),
        Route("/auth/login", posted(login, desk=_PASSWORDS), methods=["POST"]),
        Route("/auth/logout", read_only(logout_form), methods=["GET"]),
        Route("/auth/logout", posted(logout), methods=["POST"]),
        Route("/auth/password", read_only(password_form), methods=["GET"]),
        Route("/auth/password", posted(password, desk=_PASSWORDS), methods=["POST"]),
    ]


def unknown(_: Request) -> Response:
    """What other paths under /auth/ answer."""
    return PlainTextResponse("There is nothing here.", 404)


async def style(_: Request) -> Response:
    """The style sheet of the sign-in pages."""
    return Response(forms.STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def posted(handler: Callable[[Request, Form], Response], *, desk: Desk | None = None) -> Callable[[Request], object]:
    """Check where a form comes from and its token, then handle it on a thread of its own, one of the desk's if given."""

    async def checked(request: Request) -> Response:
        body = await read(request, limit=MAX_BODY)
        if body is None:
            return forms.message("Sign in", "That was too much. Nothing was done.", status=413)
        try:
            fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
        except (UnicodeDecodeError, ValueError):
            return forms.message("Sign in", "That could not be read. Nothing was done.", status=400)
        form = {name: values[-1] for name, values in fields.items()}
        token = request.cookies.get(CSRF, "")
        if not _same_origin(request) or not token or not hmac.compare_digest(token.encode(), form.get("csrf", "").encode()):
            return forms.message("Sign in", "This form has expired, or it did not come from here. Nothing was done.", status=403)
        audit.coming_from(address_of(request))
        try:
            return await (desk.run(handler, request, form) if desk else run_in_threadpool(handler, request, form))
        except Busy:
            page = forms.message("Sign in", "Too many passwords are being checked at the moment. Nothing was done. Try again soon.", status=503)
            page.headers["Retry-After"] = str(ASK_AGAIN)
            return page
        except ServiceUnavailable:
            return forms.message("Sign in", "The console cannot reach its database. Try again soon.", status=503)

    return checked


def read_only(handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Show a form, or why that is not possible at the moment."""

    def shown(request: Request) -> Response:
        try:
            return handler(request)
        except ServiceUnavailable:
            return forms.away(starting=False, seconds=ASK_AGAIN)

    return shown


def login_form(request: Request) -> Response:
    """The sign-in page; somebody who is signed in goes on."""
    target = local(request.query_params.get("next", "/"))
    if current(request) is not None:
        return RedirectResponse(target, 303)
    done = "You are signed out." if "out" in request.query_params else _how_it_ended(request)
    return _with_token(request, lambda csrf: forms.sign_in(csrf=csrf, target=target, provider=_provider(), done=done))


def login(request: Request, form: Form) -> Response:
    """Open a session under a new secret, whatever cookie came along."""
    engine, target, name = process.running(), local(form.get("next", "/")), form.get("name", "")
    try:
        user = engine.accounts.sign_in(
            name, form.get("password", ""), address=address_of(request), known_browser=request.cookies.get(BROWSER, "")
        )
    except SignInRefused as error:
        csrf, status = request.cookies[CSRF], 429 if error.wait else 401
        page = forms.sign_in(csrf=csrf, target=target, name=name[:120], provider=_provider(), problem=str(error), status=status)
        if error.wait:
            page.headers["Retry-After"] = str(told(error.wait))
        return page
    return entered(request, engine, user, target)


def entered(request: Request, engine: Engine, user: object, target: str) -> Response:
    """A new session for this user, in place of the browser's old one, and the way on."""
    earlier = current(request)
    if earlier is not None:
        engine.sessions.end(earlier.key)
    cookie = engine.sessions.open(user.id, address=address_of(request), browser=request.headers.get("user-agent", ""))
    response = RedirectResponse(target, 303)
    secure = request.url.scheme == "https"
    # No lifetime of its own: it ends with the browser, or earlier with the session in the database.
    response.set_cookie(COOKIE, cookie, path="/", httponly=True, samesite="lax", secure=secure)
    known = engine.sessions.known_browser(user.name)
    response.set_cookie(BROWSER, known, max_age=_YEAR, path="/auth", httponly=True, samesite="strict", secure=secure)
    response.headers["Cache-Control"] = "no-store"
    return response


def logout_form(request: Request) -> Response:
    """Ask before signing out."""
    session = current(request)
    if session is None:
        return RedirectResponse("/auth/login", 303)
    return _with_token(request, lambda csrf: forms.sign_out(csrf=csrf, name=session.name))


def logout(request: Request, _: Form) -> Response:
    """End the session."""
    session = current(request)
    if session is not None:
        engine = process.running()
        engine.sessions.end(session.key)
        engine.audit.record(session.name, "signed_out", "user", session.name)
    response = RedirectResponse("/auth/login?out=1", 303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


def password_form(request: Request) -> Response:
    """The form for a new password."""
    session = current(request)
    if session is None:
        return RedirectResponse("/auth/login?next=/account", 303)
    return _with_token(request, lambda csrf: _password_page(session, csrf))


def password(request: Request, form: Form) -> Response:
    """Change the password, end all sessions and open a new one here."""
    session = current(request)
    if session is None:
        return RedirectResponse("/auth/login", 303)
    csrf, engine, problem, status = request.cookies[CSRF], process.running(), "", 422
    if form.get("new", "") != form.get("again", ""):
        problem = "The two new passwords differ. Nothing was changed."
    else:
        try:
            engine.accounts.change_password(session.name, form.get("old", ""), form.get("new", ""))
        except AccountRejected as error:
            problem = str(error)
        except SignInRefused as error:
            problem, status = str(error), 429
    if problem:
        return _password_page(session, csrf, problem=problem, status=status)
    return entered(request, engine, engine.accounts.named(session.name), "/")


def current(request: Request) -> Session | None:
    """The living session of the request's cookie. Raises ServiceUnavailable."""
    sessions = process.running().sessions
    return sessions.find(sessions.key_of(request.cookies.get(COOKIE, "")))


def address_of(request: Request) -> str:
    """The address of the browser, or of the proxy that is not trusted to tell it."""
    return request.client.host if request.client else ""


def local(target: str) -> str:
    """The target when it is a page of this console, else the first page: nobody is sent elsewhere after signing in.

    Its query goes along, so that a shared view of the dashboard survives the sign-in; a strange one is left out.
    """
    path, _, query = target.partition("?")
    if path in access.FILES:
        # The page that offers the file: it says more than a form that stays where it is while a file comes.
        return f"/{access.FILES[path]}"
    if not _TARGET.fullmatch(path):
        return "/"
    return f"{path}?{query}" if query and _QUERY.fullmatch(query) else path


def _how_it_ended(request: Request) -> str:
    """A sentence about the session that this browser had, empty when it had none."""
    engine = process.running()
    why = engine.sessions.ended(request.cookies.get(COOKIE, ""))
    if why is None:
        return ""
    settings = engine.settings
    how = {
        "idle": f"You were signed out after {_length(settings.session_idle_seconds)} without use.",
        "old": f"You were signed out {_length(settings.session_seconds)} after you had signed in.",
    }.get(why, "Your session has ended.")
    return f"{how} Sign in again to go on."


def _length(seconds: int) -> str:
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0 and seconds >= size:
            return f"{seconds // size} {name}{'' if seconds == size else 's'}"
    return f"{seconds} seconds"


def _password_page(session: Session, csrf: str, *, problem: str = "", status: int = 200) -> Response:
    minimum = process.running().settings.password_min_characters
    return forms.change_password(
        csrf=csrf, name=session.name, forced=session.must_change, minimum=minimum, problem=problem, status=status
    )


def _provider() -> bool:
    return process.running().settings.oidc_issuer is not None


def _with_token(request: Request, page: Callable[[str], Response]) -> Response:
    # A token that is there already stays: another tab may hold a form with it.
    known = request.cookies.get(CSRF, "")
    token = known or secrets.token_urlsafe(24)
    response = page(token)
    if not known:
        response.set_cookie(CSRF, token, path="/auth", httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return response


def _same_origin(request: Request) -> bool:
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none") and from_here(request.headers)
