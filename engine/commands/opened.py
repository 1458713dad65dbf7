"""An engine for the length of one command."""
from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from engine import audit, bootstrap, settings
from engine.bootstrap import Engine
from engine.errors import ServiceUnavailable


@contextmanager
def opened(*, following: bool = False, stores: bool = False) -> Iterator[Engine]:
    """The engine that the environment describes; closed at the end. Its log goes to the file of ROUTING_LOG_PATH alone.

    A command does what it is asked for and no more: draining, reporting, alerting and learning are the console's. With
    `following` one that takes long decides by policies and models that come into force meanwhile. With `stores` the refusal
    while a service is away says that nothing was stored: whoever hands in tickets has to know.
    """
    try:
        engine = bootstrap.build(settings.load(), log_stream=None, working=False)
    except ServiceUnavailable as error:
        if not stores:
            raise
        raise ServiceUnavailable(
            error.service, f"{error.reason.rstrip('. ')}. Nothing was stored; run this again when it is back."
        ) from error
    audit.coming_from(caller())
    try:
        if following:
            engine.state.start()
        yield engine
    finally:
        audit.coming_from("")
        engine.close()


def caller() -> str:
    """Who runs the command, for the audit log: the machine's own user, whom no variable of the environment can change."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
