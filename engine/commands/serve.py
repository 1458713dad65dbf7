"""The command that serves the console."""
from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from engine import settings
from engine.secret import cookie_secret

APP = Path(__file__).resolve().parents[2] / "app.py"
# Streamlit uses about four file descriptors for each open page.
OPEN_FILES = 4096


def serve(_: Namespace) -> int:
    """Serve on PORT until stopped."""
    import resource

    chosen = settings.load()
    port = chosen.port
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port), "--server.address", chosen.host]
    # Secrets go by the environment: a command line can be read by every user of the machine.
    environment = settings.child_environment(
        STREAMLIT_SERVER_COOKIE_SECRET=cookie_secret(chosen), FORWARDED_ALLOW_IPS=chosen.trusted_proxies
    )
    print(f"The console will be at http://localhost:{port} (Ctrl-C stops it)", flush=True)
    process = subprocess.Popen(command, cwd=APP.parent, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has sent Ctrl-C to the child as well; wait until it has stopped what it started.
            continue
