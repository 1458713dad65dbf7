"""One POST of JSON with a time limit; no redirect is followed and nothing of the address is repeated in an error."""
from __future__ import annotations

import http.client
import json
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from engine.errors import ServiceUnavailable

SECONDS = 5.0


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = build_opener(_Stay)


def post_json(url: str, body: object, *, headers: dict[str, str] | None = None) -> None:
    """Return when the receiver answered 2xx. Raises ServiceUnavailable("notification") with its status, never its address."""
    data = json.dumps(body, ensure_ascii=False).encode()
    request = Request(url, data=data, headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})}, method="POST")
    try:
        with _OPENER.open(request, timeout=SECONDS) as answer:
            answer.read(1000)
    except HTTPError as error:
        with error:
            raise ServiceUnavailable("notification", f"the receiver answered {error.code}") from None
    except (URLError, OSError, http.client.HTTPException, UnicodeError) as error:
        # The last where the address has letters that no request can hold.
        reason = error.reason if isinstance(error, URLError) else error
        raise ServiceUnavailable("notification", f"the receiver cannot be reached ({type(reason).__name__})") from None
