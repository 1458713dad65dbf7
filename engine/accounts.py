"""Local accounts: signing in with a lock-out that grows, and every change of a user, written to the audit log."""
from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol

from engine.access import Role
from engine.audit import Audit
from engine.errors import AccountRejected, NotFound, SignInRefused
from engine.passwords import MAX_CHARACTERS, Passwords, one_time
from engine.ports import Clock, DecisionLog
from engine.sessions import Sessions

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{1,119}")


class UserStore(Protocol):
    """Rows of users; `noted` runs in the change's transaction. Raises ServiceUnavailable."""

    def add(self, values: dict[str, Any], *, noted: Callable[..., None], only_first: bool = False) -> Any: ...

    def change(self, user_id: int, values: dict[str, Any], *, noted: Callable[..., None]) -> Any: ...

    def signed_in(self, user_id: int, at: datetime) -> None: ...

    def by_name(self, name: str) -> Any: ...

    def by_subject(self, subject: str) -> Any: ...

    def all(self) -> list[Any]: ...


class AttemptStore(Protocol):
    """Counted attempts. Raises ServiceUnavailable."""

    def reserve(self, key: str, *, free: int, now: datetime) -> int | None: ...

    def locked(self, key: str, *, now: datetime) -> float: ...

    def give_back(self, key: str) -> None: ...

    def clear(self, *keys: str, now: datetime) -> None: ...


class Accounts:
    """Users and their passwords. `free` and `free_per_address` attempts are not delayed."""

    def __init__(
        self, *, users: UserStore, attempts: AttemptStore, sessions: Sessions, audit: Audit, passwords: Passwords, clock: Clock,
        log: DecisionLog, free: int = 5, free_per_address: int = 50,
    ) -> None:
        self._users = users
        self._attempts = attempts
        self._sessions = sessions
        self._audit = audit
        self._passwords = passwords
        self._clock = clock
        self._log = log
        self._free = free
        self._free_per_address = free_per_address

    # Signing in

    def sign_in(self, name: str, password: str, *, address: str = "", known_browser: str = "") -> Any:
        """The user whose password this is. Raises SignInRefused, which is the same for unknown, disabled and wrong.

        A browser that this user has used before (`known_browser`, its cookie) is counted by itself: somebody else's
        wrong passwords do not lock the owner out, and a locked address does not lock out those who work there.
        """
        name, now = _folded(name)[:200], self._clock()
        device = self._sessions.browser_of(known_browser, name) if known_browser else None
        user = self._users.by_name(name) if _NAME.fullmatch(name) else None
        # With another password, or a new one-time one, a browser's count begins anew.
        account = _key("device", f"{device}:{name}:{user.password_hash if user else ''}") if device else _key("account", name)
        place = "" if device else _key("address", _network(address))
        wait = self._attempts.locked(place, now=now) if place else 0.0
        if wait:
            raise SignInRefused(wait=wait)
        if self._attempts.reserve(account, free=self._free, now=now) is None:
            raise SignInRefused(wait=max(1.0, self._attempts.locked(account, now=now)))
        failures = self._attempts.reserve(place, free=self._free_per_address, now=now) if place else 0
        if failures is None:
            raise SignInRefused(wait=max(1.0, self._attempts.locked(place, now=now)))
        fits = self._passwords.fits(password[: MAX_CHARACTERS + 1], user.password_hash if user else None)
        if fits and user.disabled_at is None and self._passwords.is_old(user.password_hash):
            with suppress(AccountRejected):
                self._users.change(user.id, {"password_hash": self._passwords.hashed(password)}, noted=_unless_changed(user, lambda *_: None))
        if fits:
            # Hashes take their time, in which the password may have been changed: its sessions were ended, and none may begin after that.
            before, user = user, self._users.by_name(name)
            fits = user.password_hash == before.password_hash or self._passwords.fits(password, user.password_hash)
        if not fits or user.disabled_at is not None:
            self._log.event("sign_in_refused", address=address)
            raise SignInRefused
        self._attempts.clear(account, now=now)
        if place:
            # Those who belong here must not use up the attempts of an address that many of them share.
            self._attempts.give_back(place)
        self.entered(user)
        return user

    def entered(self, user: Any) -> None:
        """Note that somebody signed in."""
        self._users.signed_in(user.id, self._clock())
        self._audit.record(user.name, "signed_in", "user", user.name)

    def from_provider(self, subject: str, *, name: str, role: Role) -> Any:
        """The user whom an identity provider vouches for, made or given this role if need be. Raises SignInRefused.

        Nobody takes over a local account by having its name at the provider.
        """
        name = name.strip().casefold()
        user = self._users.by_subject(subject)
        if user is None:
            if not _NAME.fullmatch(name) or self._users.by_name(name) is not None:
                self._log.event("sign_in_refused", reason="the name is taken or cannot be used")
                raise SignInRefused
            values = {"name": name, "role": role.value, "source": "oidc", "subject": subject[:512], "created_at": self._clock()}
            user = self._users.add(values, noted=self._noted("identity provider", "user_added"))
        elif user.role != role.value and user.disabled_at is None:
            user = self._users.change(user.id, {"role": role.value}, noted=self._noted("identity provider", "role_changed"))
        if user.disabled_at is not None:
            raise SignInRefused
        self.entered(user)
        return user

    # Changing users

    def add(self, name: str, *, role: str, by: str, password: str | None = None, must_change: bool = True) -> tuple[Any, str]:
        """A new user and the password: the given one, or a one-time password. Raises AccountRejected, Conflict."""
        values, password = self._new(name, role, password, must_change=must_change)
        return self._users.add(values, noted=self._noted(by, "user_added")), password

    def add_first_admin(self, *, name: str = "admin", password: str | None = None) -> str | None:
        """Make the first user when there is none; the one-time password, or None when there was a user already.

        A given password stays as it is, a one-time password must be changed.
        """
        values, used = self._new(name, Role.ADMIN, password, must_change=password is None)
        row = self._users.add(values, noted=self._noted("first start", "user_added"), only_first=True)
        return used if row is not None else None

    def change_password(self, user: str, old: str, new: str, *, keep_session: str = "") -> None:
        """Change one's own password; all other sessions end. Raises AccountRejected, SignInRefused."""
        row = self.named(user)
        # Whoever asks is signed in already: a count of its own, so that strangers who guess at the sign-in page cannot keep
        # the owner from changing the password, nor a page left open from guessing it.
        key, now = _key("old password", row.name), self._clock()
        if row.source != "local":
            raise AccountRejected("password: this account signs in with the identity provider. Nothing was changed.")
        if self._attempts.reserve(key, free=self._free, now=now) is None:
            raise SignInRefused(wait=max(1.0, self._attempts.locked(key, now=now)))
        if not self._passwords.fits(old[: MAX_CHARACTERS + 1], row.password_hash):
            raise AccountRejected("old password: it is not right. Nothing was changed.")
        self._attempts.clear(key, now=now)
        if old == new:
            raise AccountRejected("new password: it is the old one. Nothing was changed.")
        self._passwords.check(new, name=row.name)
        values = {"password_hash": self._passwords.hashed(new), "must_change": False}
        self._users.change(row.id, values, noted=_unless_changed(row, self._noted(row.name, "password_changed")))
        self._sessions.end_all(row.id, but=keep_session)

    def reset_password(self, user: str, *, by: str, password: str | None = None) -> str:
        """A new password for a user, one-time unless given; unlocks the account and ends the sessions. Raises AccountRejected, NotFound."""
        row = self.named(user)
        if row.source != "local":
            raise AccountRejected("password: this account signs in with the identity provider. Nothing was changed.")
        if row.disabled_at is not None:
            raise AccountRejected(f"{row.name} is disabled, and no password would let it in: enable it first. Nothing was changed.")
        new = password or one_time()
        if password:
            # What chance made may hold a short name, and nobody can guess it for that.
            self._passwords.check(new, name=row.name)
        values = {"password_hash": self._passwords.hashed(new), "must_change": True}
        self._users.change(row.id, values, noted=self._noted(by, "password_reset"))
        self._sessions.end_all(row.id)
        self._attempts.clear(_key("account", row.name), _key("old password", row.name), now=self._clock())
        return new

    def set_role(self, user: str, role: str, *, by: str) -> None:
        """Give a user another role; it counts at once. Raises AccountRejected, NotFound."""
        self._users.change(self.named(user).id, {"role": _role(role).value}, noted=self._noted(by, "role_changed"))

    def disable(self, user: str, *, by: str) -> None:
        """Shut a user out; the sessions end at once. Raises AccountRejected for the last admin, NotFound."""
        row = self.named(user)
        self._users.change(row.id, {"disabled_at": self._clock()}, noted=self._noted(by, "user_disabled"))
        self._sessions.end_all(row.id)

    def enable(self, user: str, *, by: str) -> None:
        """Let a disabled user sign in again. Raises NotFound."""
        self._users.change(self.named(user).id, {"disabled_at": None}, noted=self._noted(by, "user_enabled"))

    def sign_out_everywhere(self, user: str, *, by: str, but: str = "") -> int:
        """End a user's sessions, all or all but one key; their number. Raises NotFound."""
        ended = self._sessions.end_all(self.named(user).id, but=but)
        self._audit.record(by, "signed_out_everywhere", "user", user, after={"sessions": ended})
        return ended

    def all(self) -> list[Any]:
        """Everybody, by name."""
        return self._users.all()

    def named(self, name: str) -> Any:
        """The user of this name. Raises NotFound."""
        row = self._users.by_name(_folded(name)) if _NAME.fullmatch(_folded(name)) else None
        if row is None:
            raise NotFound(f"user {name[:120]!r} does not exist.")
        return row

    def _new(self, name: str, role: str, password: str | None, *, must_change: bool) -> tuple[dict[str, Any], str]:
        name = _folded(name)
        if not _NAME.fullmatch(name):
            raise AccountRejected("name: 2 to 120 letters a-z, digits and . _ @ + -. Nothing was stored.")
        used = one_time() if password is None else password
        if password is not None:
            self._passwords.check(used, name=name)
        values = {
            "name": name, "role": _role(role).value, "password_hash": self._passwords.hashed(used), "must_change": must_change,
            "created_at": self._clock(),
        }
        return values, used

    def _noted(self, by: str, action: str) -> Callable[..., None]:
        def noted(connection: Any, before: Any, after: Any) -> None:
            self._audit.record(by, action, "user", after.name, before=_facts(before), after=_facts(after), connection=connection)

        return noted


def _unless_changed(row: Any, noted: Callable[..., None]) -> Callable[..., None]:
    """Do what is `noted`, or undo the change where the password is no more the one that was checked."""
    def checked(connection: Any, before: Any, after: Any) -> None:
        if before.password_hash != row.password_hash:
            raise AccountRejected("old password: it was changed meanwhile. Nothing was changed.")
        noted(connection, before, after)

    return checked


def _facts(row: Any) -> dict[str, Any] | None:
    return None if row is None else {"role": row.role, "disabled": row.disabled_at is not None, "source": row.source}


def _role(value: str) -> Role:
    try:
        return Role(value)
    except ValueError:
        raise AccountRejected(f"role: one of {', '.join(Role)}; found {str(value)[:40]!r}. Nothing was changed.") from None


def _folded(name: str) -> str:
    """A name as it is stored. The word joiner comes along when one is copied from a page, which keeps links out of names by it."""
    return name.replace("\u2060", "").strip().casefold()


def _network(address: str) -> str:
    """Where attempts come from. Of IPv6 the network of 64 bits: whoever has one address of it has all 2^64 (RFC 4291, RFC 6177)."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped is not None:
        return str(found if found.version == 4 else found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))


def _key(kind: str, value: str) -> str:
    return hashlib.blake2b(f"{kind}:{value}".encode(), digest_size=24).hexdigest()
