"""Request bodies with a limit."""
from __future__ import annotations

from starlette.requests import ClientDisconnect, Request


async def read(request: Request, *, limit: int) -> bytes | None:
    """The whole body, or None when it is longer than `limit` bytes, or its sender hung up in the middle; never more than that is kept."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return None
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                return None
            parts.append(part)
    except ClientDisconnect:
        # Nobody reads the answer, and it is no fault of the console for its log.
        return None
    return b"".join(parts)
