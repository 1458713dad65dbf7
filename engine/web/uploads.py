"""What may be uploaded to a page, told by the file's name and size before any of the file is taken."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

# What the pages' upload fields ask for; the browser asks politely, the gate insists.
ALLOWED = (".csv",)
REFUSAL = f"Only files named {', '.join('*' + one for one in ALLOWED)} are taken. Nothing was stored."

# In bytes: the largest file (`maxUploadSize`), and what the files of one user's open pages may come to. The page for departments takes three.
LARGEST = 50 * 1024 * 1024
MOST_HELD = 3 * LARGEST
TOO_MUCH = (
    f"Your open pages hold {MOST_HELD // 1024 ** 2} MB of uploaded files, or would with this one. Nothing was stored. "
    "Close them, and try again in a few minutes."
)

_UNDER = "/_stcore/upload_file/"
_BOUNDARY = re.compile(r'multipart/form-data;\s*boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70})"?\s*', re.IGNORECASE)
# As browsers write it. A second name or another encoding might be read differently behind the gate.
_DISPOSITION = re.compile(rb'content-disposition: *form-data; *name="[^"\r\n]*"; *filename="([^"\r\n]*)"', re.IGNORECASE)
# The headers of the one part that an upload has.
_LONGEST = 8192


def is_upload(scope: Scope) -> bool:
    """True for requests that bring a file to a page."""
    return scope["path"].startswith(_UNDER) and scope["method"] not in ("GET", "HEAD", "OPTIONS", "DELETE")


def allowed(name: str) -> bool:
    """True when a file of this name is taken."""
    return name.lower().endswith(ALLOWED)


def size(headers: Headers) -> int:
    """How many bytes a request brings; the most there may be where it does not say so."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else LARGEST


class Shares:
    """What the uploads of each user come to in this process' memory, where they stay until their page is closed.

    `held` says how many bytes are kept for a visit. Used by the event loop alone.
    """

    def __init__(self, held: Callable[[str], int]) -> None:
        self._held = held
        self._visits: dict[str, set[str]] = {}
        self._coming: Counter[str] = Counter()

    @contextmanager
    def room(self, user: str, path: str, coming: int) -> Iterator[bool]:
        """True where so many bytes more fit beside what the user's pages hold; inside they count as held. `path` is the upload's."""
        visit = path.removeprefix(_UNDER).partition("/")[0]
        there = {one: self._held(one) for one in self._visits.get(user, set()) | {visit}}
        self._visits[user] = {one for one, bytes_ in there.items() if bytes_}
        fits = sum(there.values()) + self._coming[user] + coming <= MOST_HELD
        self._coming[user] += coming if fits else 0
        try:
            yield fits
        finally:
            self._coming[user] -= coming if fits else 0
            self._visits[user].add(visit)


async def named(headers: Headers, receive: Receive) -> tuple[Receive, str]:
    """The name of the file that is uploaded, empty when there is none that can be read; and `receive` from the start again.

    Only the first part is looked at: behind the gate an upload with more than one file is refused.
    """
    taken: list[Message] = []
    head = b""
    while b"\r\n\r\n" not in head and len(head) <= _LONGEST:
        taken.append(message := await receive())
        head += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body", False):
            break

    async def again() -> Message:
        return taken.pop(0) if taken else await receive()

    return again, _name(headers.get("content-type", ""), head)


def _name(content_type: str, head: bytes) -> str:
    boundary = _BOUNDARY.fullmatch(content_type)
    top, end, _ = head.partition(b"\r\n\r\n")
    first, *lines = top.split(b"\r\n")
    if boundary is None or not end or len(top) > _LONGEST or first != b"--" + boundary[1].encode():
        return ""
    found = [line for line in lines if line.lower().lstrip().startswith(b"content-disposition")]
    match = _DISPOSITION.fullmatch(found[0]) if len(found) == 1 else None
    return match[1].decode("utf-8", "replace") if match else ""
