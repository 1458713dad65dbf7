"""Named counters that every instance watches to learn of changes."""
from __future__ import annotations

from sqlalchemy import Engine, select

from db.models import counters
from db.session import reading, writing
from db.taxonomy import raise_counter

CACHE_VERSION = "cache"


def read(engine: Engine) -> dict[str, int]:
    """All counters, by name."""
    with reading(engine) as connection:
        return dict(connection.execute(select(counters.c.name, counters.c.value)).all())


def leave_cache(engine: Engine) -> None:
    """Begin a new epoch of the exact cache: no earlier entry is used any more, by any instance."""
    with writing(engine) as connection:
        raise_counter(connection, CACHE_VERSION)
