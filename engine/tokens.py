"""API tokens: a machine's key to some of what its owner may do."""
from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from engine.access import TABLE, Permission, Role
from engine.audit import Audit
from engine.errors import AccountRejected, ServiceUnavailable
from engine.ports import Clock
from engine.sanitize import remark

_FORM = re.compile(r"crt_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_TOUCH = timedelta(seconds=10)
MAX_DAYS = 366
ACTIVE = "active"
REMEMBERED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Who sends a request with a token. `permissions` are the token's scopes that its owner's role still holds."""

    token_id: str
    token_name: str
    user: str
    role: str
    permissions: frozenset[Permission]
    expires_at: datetime | None = None


class TokenStore(Protocol):
    """Rows of tokens. Raises ServiceUnavailable."""

    def add(self, values: dict[str, Any], *, noted: Callable[[Any, Any], None]) -> Any: ...

    def find(self, token_id: str) -> Any: ...

    def all(self, *, user_id: int | None = None) -> list[Any]: ...

    def used(self, token_id: str, at: datetime) -> None: ...

    def revoke(self, token_id: str, at: datetime, *, user_id: int | None, noted: Callable[[Any, Any], None]) -> None: ...


def standing(row: Any, *, now: datetime) -> str:
    """ACTIVE, or why a token is not good: it or its owner. `row` as `TokenStore.all` gives it."""
    if row.revoked_at:
        return "revoked"
    if row.expires_at and now >= row.expires_at:
        return "expired"
    if row.disabled_at:
        return "owner disabled"
    return "owner must choose a password" if row.must_change else ACTIVE


def held(row: Any) -> frozenset[Permission]:
    """The token's scopes that its owner's role still holds."""
    return frozenset(Permission(scope) for scope in row.scopes if scope in TABLE[Role(row.role)])


class Tokens:
    """Makes, finds and revokes tokens. The secret is 256 random bits, so a plain SHA-256 keeps it."""

    def __init__(self, store: TokenStore, *, audit: Audit, clock: Clock) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._good: OrderedDict[str, tuple[Bearer, datetime, datetime | None]] = OrderedDict()

    def make(self, user: Any, *, name: str, scopes: Iterable[str], days: int = 90, by: str) -> str:
        """A new token, shown this one time. `user` has id, name, role and disabled_at. Raises AccountRejected."""
        if user.disabled_at is not None:
            raise AccountRejected(f"{user.name} is disabled, and no token would let it in: enable it first. Nothing was stored.")
        wanted = sorted({str(scope) for scope in scopes})
        foreign = [scope for scope in wanted if scope not in TABLE[Role(user.role)]]
        name = remark(name, maximum=1000)
        if not name or len(name) > 120:
            raise AccountRejected("token: give it a name of 1 to 120 characters. Nothing was stored.")
        if not wanted or foreign:
            raise AccountRejected(f"token: {'no scope chosen' if not wanted else 'your role does not hold ' + ', '.join(foreign)}. Nothing was stored.")
        if not 1 <= days <= MAX_DAYS:
            raise AccountRejected(f"token: it lives 1 to {MAX_DAYS} days; found {days}. Nothing was stored.")
        token_id = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(12))
        secret, now = secrets.token_urlsafe(32), self._clock()
        values = {
            "id": token_id, "user_id": user.id, "name": name, "secret_hash": _hash(secret), "scopes": wanted, "created_at": now,
            "expires_at": now + timedelta(days=days),
        }
        about = {"owner": user.name, "name": name, "scopes": wanted, "days": days}
        self._store.add(values, noted=lambda c, _: self._audit.record(by, "token_made", "token", token_id, after=about, connection=c))
        return f"crt_{token_id}_{secret}"

    def find_again(self, token: str, *, within: timedelta) -> Bearer | None:
        """Like `find`; without the database, what it last said about this very token, if that was within this time.

        For what must be answered when the database is away and shows nothing of it. Raises ServiceUnavailable.
        """
        known, now = _hash(token), self._clock()
        try:
            bearer = self.find(token)
        except ServiceUnavailable:
            with self._lock:
                good = self._good.get(known)
            if good is None or now >= good[1] + within or (good[2] is not None and now >= good[2]):
                raise
            return good[0]
        with self._lock:
            self._good.pop(known, None)
            if bearer is not None:
                self._good[known] = (bearer, now, bearer.expires_at)
                while len(self._good) > REMEMBERED:
                    self._good.popitem(last=False)
        return bearer

    def find(self, token: str) -> Bearer | None:
        """Who holds this token; None when it is unknown, wrong, revoked, expired or its owner may not sign in."""
        match = _FORM.fullmatch(token)
        row = self._store.find(match[1]) if match else None
        if match is None or row is None or not hmac.compare_digest(row.secret_hash, _hash(match[2])):
            return None
        now = self._clock()
        if standing(row, now=now) != ACTIVE:
            return None
        if row.used_at is None or now >= row.used_at + _TOUCH:
            self._store.used(row.id, now)
        return Bearer(
            token_id=row.id, token_name=row.name, user=row.user_name, role=row.role, permissions=held(row), expires_at=row.expires_at
        )

    def all(self, *, user_id: int | None = None) -> list[Any]:
        """Tokens without their secrets, newest first; everybody's or one user's."""
        return self._store.all(user_id=user_id)

    def revoke(self, token_id: str, *, by: str, user_id: int | None = None) -> None:
        """End a token, of this user only if given. Raises NotFound."""
        self._store.revoke(
            token_id, self._clock(), user_id=user_id,
            noted=lambda c, row: self._audit.record(by, "token_revoked", "token", row.id, after={"name": row.name}, connection=c),
        )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
