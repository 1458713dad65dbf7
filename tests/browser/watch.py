"""Looks over a browser's shoulder: whatever a hostile text achieves is noted."""
from __future__ import annotations

from playwright.sync_api import BrowserContext, Dialog, Route


class Watch:
    """Notes every dialog, every new window and every request that is not for the console.

    Nothing leaves the machine: foreign requests are stopped after they were noted. `sent` are those that the browser would
    really have sent, which its content security policy stops before.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.seen: list[str] = []
        self.sent: list[str] = []
        self._own = (url, url.replace("http://", "ws://"), "data:", "blob:")
        context.route(lambda address: not address.startswith(self._own), self._abort)
        context.on("dialog", self._dialog)
        context.on("request", lambda r: None if r.url.startswith(self._own) else self.seen.append(f"request {r.url[:200]}"))
        context.on("page", lambda _: self.seen.append("a new window") if len(context.pages) > 1 else None)

    def _abort(self, route: Route) -> None:
        self.sent.append(route.request.url)
        route.abort()

    def _dialog(self, dialog: Dialog) -> None:
        self.seen.append(f"dialog {dialog.message[:200]}")
        dialog.dismiss()
