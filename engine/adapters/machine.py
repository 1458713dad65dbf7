"""What the machine, or the container that it runs in, says about itself."""
from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def memory_share() -> float:
    """Used memory in [0, 1]: of the machine, or of the container's limit where that is nearer."""
    share = psutil.virtual_memory().percent / 100
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        # Page cache counts as used in a container, but goes as soon as somebody needs the room.
        cached = next(int(line.split()[1]) for line in (_CGROUP / "memory.stat").read_text().splitlines() if line.startswith("inactive_file "))
        share = max(share, (int((_CGROUP / "memory.current").read_text()) - cached) / limit)
    except (OSError, ValueError, StopIteration):
        pass  # no container, or one without a limit
    return min(1.0, max(0.0, share))


def instance_name() -> str:
    """Names this process among all instances."""
    return f"{socket.gethostname()}:{os.getpid()}"
