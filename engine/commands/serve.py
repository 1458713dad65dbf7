"""The command that serves the console."""
from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from engine import settings

APP = Path(__file__).resolve().parents[2] / "app.py"
# Streamlit uses about four file descriptors for each open page.
OPEN_FILES = 4096


def serve(_: Namespace) -> int:
    """Serve on PORT until stopped."""
    import resource

    port = settings.load().port
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port), "--server.address", "127.0.0.1"]
    print(f"The console will be at http://localhost:{port} (Ctrl-C stops it)", flush=True)
    process = subprocess.Popen(command, cwd=APP.parent)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has sent Ctrl-C to the child as well; wait until it has stopped what it started.
            continue
