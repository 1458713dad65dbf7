"""Routes, middleware and life of the console's web server."""
from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from engine import process, settings
from engine.bootstrap import Engine
from engine.errors import AccountRejected, ConfigurationError, ServiceUnavailable
from engine.telemetry.metrics import CONTENT_TYPE
from engine.web import api, files, listening, oidc, signin, tracebacks
from engine.web.gate import LONGEST_MESSAGE, Gate
from engine.web.headers import SecurityHeaders

# Whoever watches the console must see it while its database is away: a token that was good within this time goes on.
_SCRAPED = timedelta(hours=1)
_SCRIPT = (Path(__file__).parent / "page.js").read_bytes()


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[dict[str, object]]:
    """Build the engine before the first request, or go on trying while its database is away, and close it after the last."""
    tracebacks.without_messages()
    listening.answer_at_once()
    listening.tell_now_and_then_when_full()
    _hang_up_in_order()
    try:
        ignored = settings.without_serve()
        if ignored:
            print(
                f"{' and '.join(ignored)} not applied: Streamlit was started directly. Start the console with `python -m engine serve`.",
                file=sys.stderr, flush=True,
            )
        _start()
    except ConfigurationError as error:
        # The web server would print every line that led here, and end with a code of its own or, for waiting threads, not at all.
        await run_in_threadpool(process.stop)
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        os._exit(2)
    try:
        yield {}
    finally:
        await run_in_threadpool(process.stop)


def _start() -> None:
    """Build the engine on this thread, where a stop can end it: in the middle of the first fit too, which takes as long as many starts. What was
    opened is closed then, nothing is half stored, and the process ends from the signal.
    """
    stops: list[int] = []
    built = threading.Event()

    def stop(number: int, _: object) -> None:
        stops.append(number)
        # Whoever asks twice must not break off what closes the rest.
        if len(stops) == 1 and not built.is_set():
            raise KeyboardInterrupt

    def first(engine: Engine) -> None:
        # A one-time password that is stored and not printed would let nobody in.
        built.set()
        _first_admin(engine)

    stoppable = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, stop) for number in process.STOPS} if stoppable else {}
    try:
        if stoppable:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, process.STOPS)
        process.start(first)
    except KeyboardInterrupt:
        process.stop()
        signal.signal(stops[0], signal.SIG_DFL)
        signal.raise_signal(stops[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stops:
        # It came when the engine was built, or where Python cannot raise anything.
        signal.raise_signal(stops[0])


def _hang_up_in_order() -> None:
    """A terminal that is closed ends the console as a service manager does: without that its embedded servers would run on. `nohup` stays what it is."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def middleware(*, reload: bytes, too_long: bytes, held: Callable[[str], int]) -> list[Middleware]:
    """Middleware around pages and routes, outermost first. `reload`, `too_long` and `held` as of the gate."""
    return [
        Middleware(SecurityHeaders),
        Middleware(
            Gate, sessions=lambda: process.running().sessions, token=lambda token: process.running().tokens.find_again(token, within=_SCRAPED),
            away=process.away, reload=reload, too_long=too_long, held=held, longest=_longest_message,
        ),
    ]


def _longest_message() -> int:
    # Four bytes for each sign of a text, and as much for what stands beside it.
    return max(LONGEST_MESSAGE, 8 * process.running().settings.ticket_max_characters)


def routes() -> list[Route]:
    """The routes beside the pages."""
    return [
        Route("/healthz", alive, methods=["GET"]),
        Route("/readyz", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        # The first page lives at the root; its own name would be "page not found".
        Route("/submit", first_page, methods=["GET"]),
        Route("/page.js", script, methods=["GET"]),
        *api.routes(),
        *files.routes(),
        *signin.routes(),
        *oidc.routes(),
        # Without it an unknown path would be answered with the pages' HTML and a 200.
        Route("/auth/{path:path}", signin.unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]


def _first_admin(engine: Engine) -> None:
    """Where there is no user yet, make the admin and print the one-time password this one time. Raises ConfigurationError."""
    name, given = engine.settings.admin_user or "admin", engine.settings.admin_password
    try:
        made = engine.accounts.add_first_admin(name=name, password=given.get_secret_value() if given else None)
    except AccountRejected as error:
        what, _, why = str(error).removesuffix(" Nothing was changed.").removesuffix(" Nothing was stored.").partition(": ")
        setting = {"name": "ADMIN_USER", "password": "ADMIN_PASSWORD"}[what]
        raise ConfigurationError(f"{setting}: {why} Change the setting and start again.") from error
    if made is not None and given is None:
        print(f"First start: sign in as {name} with the one-time password {made}", file=sys.stderr, flush=True)


async def alive(_: Request) -> Response:
    """200 as long as the process answers."""
    return JSONResponse({"status": "alive"})


def first_page(_: Request) -> Response:
    """To the page that the console opens with."""
    return RedirectResponse("/", status_code=307)


async def script(_: Request) -> Response:
    """The pages' own script; asked for anew each time, since a console may have been brought up to date."""
    return Response(_SCRIPT, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def ready(_: Request) -> Response:
    """200 when tickets can be routed, else 503; says which part is not ready."""
    try:
        reports = process.running().health.report(needed_only=True)
        missing = [report.service for report in reports if report.needed and not report.ok]
    except ServiceUnavailable as error:
        missing = [error.service]
    body = {"status": "not ready" if missing else "ready", "missing": missing}
    return JSONResponse(body, status_code=503 if missing else 200)


def metrics(_: Request) -> Response:
    """Everything that Prometheus scrapes, in its text format. The gate asks for a token with the scope `metrics`."""
    return Response(process.running().watch.metrics.render(), media_type=CONTENT_TYPE)
