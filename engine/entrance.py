"""Everything that decides who comes in and what they leave behind, joined over the given stores."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from engine.accounts import Accounts, AttemptStore, UserStore
from engine.audit import Audit, AuditStore
from engine.passwords import Passwords
from engine.ports import Clock, DecisionLog
from engine.ratelimit import Counter, RateLimiter
from engine.secret import cookie_secret
from engine.sessions import Sessions, SessionStore
from engine.settings import Settings
from engine.tokens import Tokens, TokenStore


class IdentityProvider(Protocol):
    """An organisation's own sign-in. Both methods raise ServiceUnavailable when it does not answer."""

    def start(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser."""
        ...

    def finish(self, *, code: str, nonce: str, verifier: str) -> dict[str, Any]:
        """The checked claims about who came back. Raises SignInRefused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """Accounts, sessions, tokens, the audit log and the limits."""

    accounts: Accounts
    sessions: Sessions
    tokens: Tokens
    audit: Audit
    limits: RateLimiter


def build(
    settings: Settings, *, users: UserStore, attempts: AttemptStore, sessions: SessionStore, tokens: TokenStore, audit: AuditStore,
    counter: Counter, clock: Clock, log: DecisionLog,
) -> Entrance:
    """Join them as the settings say. Raises ConfigurationError when the cookie secret cannot be kept."""
    trail = Audit(audit, clock=clock, log=log)
    signed_in = Sessions(
        sessions, secret=cookie_secret(settings), clock=clock, idle=settings.session_idle_seconds, absolute=settings.session_seconds
    )
    passwords = Passwords(
        memory=settings.password_memory_kib, time_cost=settings.password_time_cost, minimum=settings.password_min_characters
    )
    accounts = Accounts(
        users=users, attempts=attempts, sessions=signed_in, audit=trail, passwords=passwords, clock=clock, log=log,
        free=settings.sign_in_free_attempts, free_per_address=settings.sign_in_free_attempts_per_address,
    )
    limits = {"submit": settings.rate_submit_per_minute, "import": settings.rate_import_per_hour, "api": settings.rate_api_per_minute}
    return Entrance(
        accounts=accounts, sessions=signed_in, tokens=Tokens(tokens, audit=trail, clock=clock), audit=trail,
        limits=RateLimiter(counter, limits=limits, clock=clock, log=log),
    )
