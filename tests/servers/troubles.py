"""The ways in which services fail, by the names that tests and benchmarks use, and how all of them are mended."""
from __future__ import annotations

from typing import Protocol

from tests.servers.faulty import Fault
from tests.servers.gemini import GeminiServer
from tests.servers.pinecone import PineconeServer
from tests.servers.proxy import FaultyProxy

HTTP = {
    "refused": None, "hole": Fault("hang", seconds=30), "slow": Fault("slow", seconds=0.3), "5xx": Fault("status", 503),
    "500": Fault("status", 500), "429": Fault("status", 429), "garbage": Fault("garbage"), "cut": Fault("cut"), "half": Fault("half"),
    "drip": Fault("drip", seconds=0.2),
}
TCP = ("refused", "hole", "slow", "garbage", "cut")
PROXIES, STAND_INS = ("postgres", "redis"), ("pinecone", "gemini")


class Breakable(Protocol):
    """Two servers behind proxies and two stand-ins of services far away."""

    postgres: FaultyProxy
    redis: FaultyProxy
    pinecone: PineconeServer
    gemini: GeminiServer


def break_one(services: Breakable, name: str, fault: str) -> None:
    """From now on this service fails in this way."""
    if name in PROXIES:
        getattr(services, name).set(fault)
    elif HTTP[fault] is None:
        getattr(services, name).stop_listening()
    else:
        getattr(services, name).fault = HTTP[fault]


def mend_all(services: Breakable) -> None:
    """All services work again; what hung is let go."""
    for name in PROXIES:
        getattr(services, name).set("ok")
    for name in STAND_INS:
        server = getattr(services, name)
        server.listen()
        server.fault = Fault()
        server.release()
