"""The command that serves the console."""
from __future__ import annotations

import os
import signal
import socket
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from engine import bootstrap, process, settings
from engine.commands.show import upgrading
from engine.errors import ConfigurationError, ServiceUnavailable
from engine.secret import cookie_secret
from engine.settings import Settings
from engine.telemetry.log import DecisionLog

APP = Path(__file__).resolve().parents[2] / "app.py"
# Streamlit uses about four file descriptors for each open page.
OPEN_FILES = 4096
# Those of the console itself: its connections, its log, its servers.
_OWN_FILES = 60


def serve(_: Namespace) -> int:
    """Serve on PORT until stopped."""
    chosen = settings.load()
    port = chosen.port
    few = open_files()
    _look(chosen)
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port), "--server.address", chosen.host]
    # Standard output is the decision log's. (To find out what its greeting says Streamlit would also ask a server on the internet.)
    command += ["--logger.hideWelcomeMessage", "true"]
    # Secrets go by the environment: a command line can be read by every user of the machine.
    environment = settings.child_environment(
        STREAMLIT_SERVER_COOKIE_SECRET=cookie_secret(chosen), FORWARDED_ALLOW_IPS=chosen.trusted_proxies
    )
    place = "localhost" if chosen.host in ("127.0.0.1", "0.0.0.0", "::1", "::") else f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    print(f"The console will be at http://{place}:{port} (Ctrl-C stops it)", file=sys.stderr, flush=True)
    if few:
        print(few, file=sys.stderr, flush=True)
    os.chdir(APP.parent)
    # While the server loads its modules a stop would be a traceback, or noted and followed by the whole start; it waits for the console's `_start`.
    signal.pthread_sigmask(signal.SIG_BLOCK, process.STOPS)
    # This process becomes the server, so that Ctrl-C and a service manager's signals reach what they are meant for.
    os.execve(sys.executable, command, environment)


def open_files() -> str:
    """Raise the number of files that this process may open as far as it may; what to say where that is not far enough, else nothing."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted == OPEN_FILES:
        return ""
    return (
        f"The console may open {wanted} files, enough for about {max(0, wanted - _OWN_FILES) // 4} open pages; whoever comes then has to wait. "
        f"Raise the hard limit to {OPEN_FILES} (`ulimit -Hn`, or LimitNOFILE of a service)."
    )


def _look(chosen: Settings) -> None:
    """Raise ConfigurationError for what would end the start: the server itself could only say so with a traceback."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in chosen.host else socket.AF_INET) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((chosen.host, chosen.port))
            tried.listen()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no host's name"
        raise ConfigurationError(
            f"PORT and HOST: the console cannot listen on {chosen.host}, port {chosen.port} ({reason}). Choose others, or stop what listens there"
        ) from error
    DecisionLog(chosen.routing_log_path, stream=None).close()
    # A database that is away is waited for by the server.
    with suppress(ServiceUnavailable):
        bootstrap.migrate_only(chosen, begun=upgrading)
