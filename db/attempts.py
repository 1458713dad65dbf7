"""Wrong passwords, counted for each account, address and known browser, with a delay that grows."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, func, select, text, update

from db.models_access import sign_in_attempts
from db.session import reading, writing

# One statement counts the attempt before the password is looked at, so a thousand at once are still counted one by one.
_RESERVE = text(
    """
    insert into sign_in_attempts as a (key, failures, locked_until, last_at) values (:key, 1, :open, :now)
    on conflict (key) do update set
        failures = case when a.last_at < :forget then 1 else a.failures + 1 end,
        last_at = :now,
        locked_until = case when a.last_at < :forget or a.failures + 1 <= :free then :open
            else cast(:now as timestamptz) + make_interval(secs => least(:longest, :shortest * power(2, least(a.failures - :free, 30)))) end
    where a.locked_until <= :now or a.locked_until > :beyond
    returning failures
    """
)
_KEEP = timedelta(days=1)
# An open key is open whatever the clock shows: that of another instance may be minutes behind, and this one's may be put back.
_OPEN = datetime(2000, 1, 1, tzinfo=UTC)
# Instances do not read their clocks in the same moment.
_SAME_TIME = timedelta(minutes=1)
_DELAYS = {"shortest": 1.0, "longest": 900.0}  # in seconds
_MOST = timedelta(seconds=_DELAYS["longest"]) + _SAME_TIME


class Attempts:
    """After the free attempts each locks its key for 1, 2, 4 ... up to 900 seconds.

    A key that is locked for longer was locked while a clock was ahead, and is open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def reserve(self, key: str, *, free: int, now: datetime) -> int | None:
        """Count an attempt; the number of attempts since the last success, or None when the key is locked."""
        with writing(self._engine) as connection:
            values = {"key": key, "now": now, "free": free, "forget": now - _KEEP, "open": _OPEN, "beyond": now + _MOST, **_DELAYS}
            return connection.execute(_RESERVE, values).scalar()

    def locked(self, key: str, *, now: datetime) -> float:
        """Seconds until the key may try again; 0 when it may."""
        with reading(self._engine) as connection:
            until = connection.execute(select(sign_in_attempts.c.locked_until).where(sign_in_attempts.c.key == key)).scalar()
        return (until - now).total_seconds() if until and now < until <= now + _MOST else 0.0

    def give_back(self, key: str) -> None:
        """Take one attempt off the count, because it succeeded."""
        values = {"failures": func.greatest(sign_in_attempts.c.failures - 1, 0), "locked_until": _OPEN}
        with writing(self._engine) as connection:
            connection.execute(update(sign_in_attempts).where(sign_in_attempts.c.key == key).values(values))

    def clear(self, *keys: str, now: datetime) -> None:
        """Forget these keys, and everything older than a day."""
        old = sign_in_attempts.c.last_at < now - _KEEP
        with writing(self._engine) as connection:
            connection.execute(delete(sign_in_attempts).where(sign_in_attempts.c.key.in_(keys) | old))
