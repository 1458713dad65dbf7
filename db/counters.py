"""Named counters that every instance watches to learn of changes."""
from __future__ import annotations

from sqlalchemy import Engine, select

from db.models import counters
from db.session import reading


def read(engine: Engine) -> dict[str, int]:
    """All counters, by name."""
    with reading(engine) as connection:
        return dict(connection.execute(select(counters.c.name, counters.c.value)).all())
