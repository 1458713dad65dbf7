"""Security headers on every answer, with a content security policy as tight as the pages allow."""
from __future__ import annotations

import base64
import hashlib
import importlib.util
import re
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_INLINE = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)

# For the sign-in pages and the API, which need nothing but one style sheet.
STRICT = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def inline_hashes(page: str) -> list[str]:
    """CSP sources for the inline scripts of an HTML page."""
    digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE.findall(page))
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def page_policy() -> str:
    """The policy for the pages.

    Wider than one would like, for the front end's sake: WebAssembly may be compiled (the tables decode Arrow with it), styles may stand in
    the page, and pictures and a font in their own addresses. The one inline script is allowed by its hash.
    """
    # Finding the top-level package does not run it, so the engine still knows nothing of the pages' framework.
    spec = importlib.util.find_spec("streamlit")
    index = Path(str(spec.origin)).parent / "static" / "index.html" if spec else None
    scripts = " ".join(["'self'", "'wasm-unsafe-eval'", *(inline_hashes(index.read_text()) if index else [])])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )


class SecurityHeaders:
    """Adds the headers to every HTTP answer; an answer that brings its own keeps that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": page_policy(),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            # Of what says nothing of it: what pages offer to take home, figures, errors.
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    # "Not modified" confirms what a browser keeps; the header would take the place of the one it came with.
                    if name != "Cache-Control" or message["status"] != 304:
                        headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
            await send(message)

        await self._app(scope, receive, with_headers)
