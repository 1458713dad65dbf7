"""What the two Gemini adapters share: the client, loaded late, and its errors in the product's words."""
from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from engine.adapters.first_import import ALONE
from engine.errors import ServiceUnavailable

_lock = threading.Lock()
_loaded: ModuleType | None = None
_configured: tuple[str, str | None] | None = None


def load() -> ModuleType:
    """`google.generativeai`, imported the first time, which takes about three seconds."""
    global _loaded
    with _lock:
        if _loaded is None:
            with ALONE, warnings.catch_warnings():
                # The package and its dependencies announce their own end of support on import.
                warnings.simplefilter("ignore")
                import google.generativeai as genai
            _loaded = genai
        return _loaded


def client(api_key: str, endpoint: str | None) -> ModuleType:
    """The package, configured for REST. `endpoint` as scheme://host[:port], the public one for None."""
    global _configured
    genai = load()
    with _lock:
        if _configured != (api_key, endpoint):
            # Its configuration is global to the process; configuring anew drops the open connections.
            genai.configure(api_key=api_key, transport="rest", client_options={"api_endpoint": endpoint} if endpoint else None)
            _configured = (api_key, endpoint)
    return genai


@contextmanager
def translated(service: str) -> Iterator[None]:
    """Errors of the client, of its transport and of an unreadable body become ServiceUnavailable of `service`."""
    load()
    import requests
    from google.api_core import exceptions
    from google.protobuf.json_format import Error as Unparsable

    try:
        yield
    except (exceptions.TooManyRequests, exceptions.ServerError) as error:
        retryable = not isinstance(error, exceptions.GatewayTimeout)
        raise ServiceUnavailable(service, _told(error), retryable=retryable) from error
    except exceptions.GoogleAPIError as error:
        raise ServiceUnavailable(service, _told(error)) from error
    except requests.Timeout as error:
        raise ServiceUnavailable(service, "no answer in time") from error
    except requests.RequestException as error:
        raise ServiceUnavailable(service, f"{type(error).__name__}: the connection failed", retryable=True) from error
    except (Unparsable, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        # The transport parses bodies itself; what is not JSON of the documented form, or nested without end, ends here.
        raise ServiceUnavailable(service, f"an answer that cannot be read ({type(error).__name__})") from error


def _told(error: Exception) -> str:
    # The first line only: details may repeat the request, and with it a ticket's text.
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:160]}"
