"""Routes, middleware and life of the console's web server."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine import bootstrap


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[dict[str, object]]:
    """Build the engine before the first request and close it after the last."""
    await run_in_threadpool(bootstrap.running)
    try:
        yield {}
    finally:
        await run_in_threadpool(bootstrap.stop)


def middleware() -> list[Middleware]:
    """Middleware around pages and routes, outermost first."""
    return []


def routes() -> list[Route]:
    """The routes beside the pages."""
    return [Route("/healthz", alive, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]


async def alive(_: Request) -> Response:
    """200 as long as the process answers."""
    return JSONResponse({"status": "alive"})


def ready(_: Request) -> Response:
    """200 when tickets can be routed, else 503; says which part is not ready."""
    reports = bootstrap.running().health.report()
    missing = [report.service for report in reports if report.needed and not report.ok]
    body = {"status": "not ready" if missing else "ready", "missing": missing}
    return JSONResponse(body, status_code=503 if missing else 200)
