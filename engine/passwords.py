"""Passwords: the rules for new ones, and argon2id hashes of them."""
from __future__ import annotations

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from engine.errors import AccountRejected

MAX_CHARACTERS = 256
# So many hashes are made at the same time, each in the whole memory of its own; the others wait.
AT_ONCE = 4
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
# What long passwords are made of when people want to be done with it; compared without digits and marks.
_WEAK = frozenset({
    "password", "passwort", "passw", "qwerty", "qwertyuiop", "letmein", "welcome", "admin", "administrator", "changeme", "secret",
    "iloveyou", "abcdef", "abcdefghijkl", "console", "callcentre", "callcenter", "supervisor", "manager", "agent", "passwordpassword",
    "adminadmin", "asdfghjkl", "football", "monkey", "dragon", "sunshine", "princess", "trustno", "superman", "master", "login",
})


class Passwords:
    """Hashes and checks with argon2id (RFC 9106). `memory` in KiB; a check costs the same for names that do not exist.

    At most `AT_ONCE` hashes are made at the same time, so that many sign-ins at once do not fill the memory.
    """

    def __init__(self, *, memory: int = 65_536, time_cost: int = 3, minimum: int = 12) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory, parallelism=1)
        self._minimum = minimum
        self._few = threading.BoundedSemaphore(AT_ONCE)
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def hashed(self, password: str) -> str:
        """The hash with its salt and parameters."""
        with self._few:
            return self._hasher.hash(password)

    def fits(self, password: str, hashed: str | None) -> bool:
        """True when the password belongs to the hash; without a hash, as slow as with one and False."""
        try:
            with self._few:
                self._hasher.verify(hashed or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return hashed is not None

    def is_old(self, hashed: str) -> bool:
        """True when the hash was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(hashed)

    def check(self, password: str, *, name: str) -> None:
        """Raise AccountRejected for a password that is too short, too long or too easy to guess, or that holds the user's name."""
        if len(password) < self._minimum:
            raise AccountRejected(f"password: at least {self._minimum} characters; found {len(password)}. Nothing was changed.")
        if len(password) > MAX_CHARACTERS:
            raise AccountRejected(f"password: at most {MAX_CHARACTERS} characters; found {len(password)}. Nothing was changed.")
        lowered = password.casefold()
        letters = "".join(filter(str.isalpha, lowered))
        if name.casefold() in lowered:
            raise AccountRejected("password: the user's name is in it. Take several words that do not belong together. Nothing was changed.")
        if len(set(lowered)) < 5 or letters in _WEAK or lowered in "01234567890123456789012345678901":
            raise AccountRejected("password: too easy to guess. Take several words that do not belong together. Nothing was changed.")


def one_time() -> str:
    """A random password to be changed at first sign-in, about 116 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
