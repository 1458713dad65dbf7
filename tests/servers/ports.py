"""Ports of this machine for servers that tests start."""
from __future__ import annotations

import random
import socket

# Below those that systems give to outgoing connections (Linux from 32768, the others from 49152): between the choice and the
# server's start no connection can take such a port, and whoever tries it meanwhile cannot be connected with itself.
_RANGE = range(20000, 32768)
_given: set[int] = set()
_chance = random.SystemRandom()


def free_port() -> int:
    """A port on which nothing listens, not given by this process before."""
    while True:
        port = _chance.choice(_RANGE)
        if port in _given:
            continue
        with socket.socket() as one:
            # As servers do: what an ended one left in TIME_WAIT does not count.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
