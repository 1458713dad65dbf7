"""Sessions: a signed secret in the browser's cookie, everything else in Postgres, so that a session can be ended at once."""
from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from itsdangerous import BadSignature, Signer

from engine.errors import ServiceUnavailable
from engine.ports import Clock

# A session's last use is written at most this often.
TOUCH = timedelta(seconds=30)
# Without the database, who was here within this time can go on; nobody new comes in.
GRACE = timedelta(minutes=10)
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody signed in. `key` identifies the session but does not open it: it is a hash of the cookie's secret."""

    key: str
    user_id: int
    name: str
    role: str
    source: str
    must_change: bool
    address: str
    browser: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


class SessionStore(Protocol):
    """Rows of sessions. Raises ServiceUnavailable."""

    def add(self, values: dict[str, Any], *, now: datetime) -> None: ...

    def find(self, key: str) -> Any: ...

    def of_user(self, user_id: int) -> list[Any]: ...

    def seen(self, key: str, at: datetime) -> None: ...

    def remove(self, key: str) -> None: ...

    def remove_user(self, user_id: int, *, but: str = "") -> int: ...


class Sessions:
    """Opens, finds and ends sessions. `idle` and `absolute` lifetimes in seconds."""

    def __init__(self, store: SessionStore, *, secret: str, clock: Clock, idle: int, absolute: int) -> None:
        self._store = store
        self._signer = Signer(secret, salt="console.session", digest_method=hashlib.sha256)
        self._devices = Signer(secret, salt="console.device", digest_method=hashlib.sha256)
        self._clock = clock
        self._idle = timedelta(seconds=idle)
        self._absolute = timedelta(seconds=absolute)
        self._lock = threading.Lock()
        self._last: OrderedDict[str, tuple[Session, datetime]] = OrderedDict()

    def open(self, user_id: int, *, address: str = "", browser: str = "") -> str:
        """A new session; what to put into the cookie."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        self._store.add(
            {
                "key": _hash(secret), "user_id": user_id, "created_at": now, "seen_at": now, "expires_at": now + self._absolute,
                "address": address[:64], "browser": browser[:200],
            },
            now=now,
        )
        return self._signer.sign(secret).decode()

    def key_of(self, cookie: str) -> str | None:
        """The key of a cookie's session, None when the signature does not fit; asks no database."""
        try:
            return _hash(self._signer.unsign(cookie).decode())
        except (BadSignature, UnicodeError):
            return None

    def find(self, key: str | None, *, touch: bool = True) -> Session | None:
        """The living session, None when it is unknown, ended, idle for too long or its user disabled.

        With `touch` it counts as used now. While the database is away, a session that was found within the last ten
        minutes, and used within the idle limit, is still found, so that tickets can go on coming in. Raises ServiceUnavailable
        for others then.
        """
        if not key:
            return None
        now = self._clock()
        try:
            row = self._store.find(key)
            if row is None or row.disabled_at is not None or now >= row.expires_at or now >= row.seen_at + self._idle:
                self._forget(lambda session: session.key == key)
                return None
            if touch and now >= row.seen_at + TOUCH:
                self._store.seen(row.key, now)
        except ServiceUnavailable:
            with self._lock:
                known = self._last.get(key)
                if known is None or now >= min(known[1] + GRACE, known[0].expires_at, known[0].seen_at + self._idle):
                    raise
                if touch:
                    self._last[key] = replace(known[0], seen_at=now), known[1]
            return known[0]
        session = replace(_session(row), seen_at=now) if touch else _session(row)
        with self._lock:
            self._last[key] = (session, now)
            self._last.move_to_end(key)
            while len(self._last) > REMEMBERED:
                self._last.popitem(last=False)
        return session

    def ended(self, cookie: str) -> str | None:
        """How the session of a genuine cookie came to its end: `idle`, `old`, or "" when it was ended or is not known any more.

        None for a cookie that is not ours and for a session that lives. Raises ServiceUnavailable.
        """
        key, now = self.key_of(cookie), self._clock()
        row = self._store.find(key) if key else None
        if key is None or row is None or row.disabled_at is not None:
            return None if key is None else ""
        if now >= row.expires_at:
            return "old"
        return "idle" if now >= row.seen_at + self._idle else None

    def _forget(self, which: Callable[[Session], bool]) -> None:
        with self._lock:
            for key in [key for key, (session, _) in self._last.items() if which(session)]:
                del self._last[key]

    def of_user(self, user_id: int) -> list[Session]:
        """A user's living sessions, the last used first."""
        now = self._clock()
        return [_session(r) for r in self._store.of_user(user_id) if now < r.expires_at and now < r.seen_at + self._idle]

    def end(self, key: str) -> None:
        """End one session; ending it again is no error."""
        self._forget(lambda session: session.key == key)
        self._store.remove(key)

    def end_all(self, user_id: int, *, but: str = "") -> int:
        """End a user's sessions, all or all but one key; their number."""
        self._forget(lambda session: session.user_id == user_id and session.key != but)
        return self._store.remove_user(user_id, but=but)

    def known_browser(self, name: str) -> str:
        """A cookie that says: this user has signed in with this browser before."""
        return self._devices.sign(f"{secrets.token_urlsafe(12)}:{name}").decode()

    def browser_of(self, cookie: str, name: str) -> str | None:
        """The browser's own id when the cookie is genuine and for this user."""
        try:
            device, _, owner = self._devices.unsign(cookie).decode().partition(":")
        except (BadSignature, UnicodeError):
            return None
        return device if owner == name else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _session(row: Any) -> Session:
    return Session(
        key=row.key, user_id=row.user_id, name=row.name, role=row.role, source=row.source, must_change=row.must_change,
        address=row.address, browser=row.browser, created_at=row.created_at, seen_at=row.seen_at, expires_at=row.expires_at,
    )
