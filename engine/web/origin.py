"""Whether what a browser says of where it comes from is the console's own address."""
from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers


def is_own(address: str, headers: Headers) -> bool:
    """True when `address`, of an Origin or a Referer, names the host and port that the request was sent to. The port counts too: cookies go
    to every port of a host.
    """
    try:
        host = urlsplit(address).netloc
    except ValueError:
        # No browser writes one that cannot be read, `http://[` say.
        return False
    return bool(host) and host == headers.get("host")


def from_here(headers: Headers) -> bool:
    """False where a browser says that a page of another address asks."""
    origin = headers.get("origin")
    return origin is None or is_own(origin, headers)
