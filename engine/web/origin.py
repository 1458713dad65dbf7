"""Whether what a browser says of where it comes from is the console's own address."""
from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers

_PORTS = {"http": 80, "https": 443}


def is_own(address: str, headers: Headers) -> bool:
    """True when `address`, of an Origin or a Referer, names the host and port that the request was sent to. The port counts too: cookies go
    to every port of a host. Some proxies write it into `Host` where a browser leaves it out, being the usual one.
    """
    try:
        there, here = urlsplit(address), urlsplit(f"//{headers.get('host', '')}")
        usual = _PORTS.get(there.scheme)
        return bool(there.hostname) and (there.hostname, there.port or usual) == (here.hostname, here.port or usual)
    except ValueError:
        # No browser writes one that cannot be read, `http://[` say.
        return False


def from_here(headers: Headers) -> bool:
    """False where a browser says that a page of another address asks."""
    origin = headers.get("origin")
    return origin is None or is_own(origin, headers)
