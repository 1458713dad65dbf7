"""The error tree, split by what the caller should do.

ConsoleError
├── InputRejected          fix the input: nothing of it was stored
│   ├── TicketRejected     one field of one ticket
│   ├── ImportRejected     a file, or a row of it
│   ├── OutcomeRejected    a supervisor's label
│   ├── PolicyRejected     thresholds that contradict each other
│   ├── TaxonomyRejected   departments, topics or exemplars
│   └── AccountRejected    a user's name, password, role or token
├── SignInRefused          wrong name or password, or too many attempts: never says which of the first two
├── NotAllowed             the role does not hold the permission
├── TooManyRequests        slow down, then send it again
├── NotFound               the named object does not exist
├── Conflict               the object exists already, or changed meanwhile
├── ConfigurationError     fix the settings and start again
├── ServiceUnavailable     retry later: a service is away or too slow
│   ├── DeadlineExceeded   the ticket's time is used up
│   └── NotAccepted        the ticket could be kept nowhere: the sender still has the only copy
└── InvariantBroken        a bug: report it with its message
    └── StatementRefused   the database takes part in it: a constraint, a type, a missing table
"""
from __future__ import annotations

import math


def told(wait: float) -> int:
    """A wait in whole seconds, 1 at least, as somebody is told it: who waits so long never comes too early."""
    return max(1, math.ceil(wait))


class ConsoleError(Exception):
    """Every error that the console raises on purpose. `str(error)` can be shown to an operator as it is."""


class InputRejected(ConsoleError):
    """The input cannot be accepted; nothing of it was stored."""


class TicketRejected(InputRejected):
    """One field of a ticket breaks a limit.

    `field` is the ticket's field, `limit` the rule in words, `found` the value or measure that broke it.
    """

    def __init__(self, field: str, *, limit: str, found: str) -> None:
        self.field = field
        self.limit = limit
        self.found = found
        super().__init__(f"{field}: {limit}; found {found}. Nothing was stored. Change the {field} and send it again.")


class ImportRejected(InputRejected):
    """A file cannot be read as tickets."""


class OutcomeRejected(InputRejected):
    """A supervisor's label is incomplete or out of range."""


class PolicyRejected(InputRejected):
    """A policy whose thresholds are out of range or contradict each other."""


class TaxonomyRejected(InputRejected):
    """Departments, topics or exemplars that contradict each other."""


class AccountRejected(InputRejected):
    """A user's name, password, role or token breaks a rule."""


class SignInRefused(ConsoleError):
    """Nobody was signed in. `wait` is how long the account or address is locked in seconds, 0 when it is not."""

    def __init__(self, *, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(
            "Too many attempts. Wait a little before you try again." if wait else "Name or password is wrong. Nobody was signed in."
        )


class NotAllowed(ConsoleError):
    """The role does not hold the permission; `permission` is its name."""

    def __init__(self, permission: str) -> None:
        self.permission = permission
        super().__init__(f"your role does not include {permission.replace('_', ' ')}. Ask an admin if you need it.")


class TooManyRequests(ConsoleError):
    """A limit is used up; `wait` is the time until it is free again, in seconds. `seconds` is the limit's span of time.

    `wanted` and `left` are what was asked for at once and what would still have been given.
    """

    def __init__(self, what: str, *, limit: int, wait: float, seconds: int = 60, wanted: int = 1, left: int = 0) -> None:
        self.wait = wait
        span = "a minute" if seconds == 60 else "an hour"
        asked = f"; {wanted:,} were asked for and {max(0, left):,} are left" if wanted > 1 else ""
        time = f"{told(wait)} s" if wait < 120 else f"{math.ceil(wait / 60)} minutes"
        then = f"Wait {time} and send it again" if wanted <= limit else "Split it"
        super().__init__(f"{what}: no more than {limit:,} in {span}{asked}. Nothing was stored. {then}.")


class NotFound(ConsoleError):
    """The named object does not exist."""


class Conflict(ConsoleError):
    """The object exists already, or was changed by somebody else meanwhile."""


class ConfigurationError(ConsoleError):
    """The settings are incomplete or wrong; the message names the setting."""


class ServiceUnavailable(ConsoleError):
    """A service did not answer; `service` is its name (database, replica, cache, index, embedder, language_model, spool), `reason` why.

    `retryable` says that the same call may succeed a moment later.
    """

    def __init__(self, service: str, message: str, *, retryable: bool = False) -> None:
        self.service = service
        self.reason = message
        self.retryable = retryable
        super().__init__(f"{service} is not available: {message}")


class DeadlineExceeded(ServiceUnavailable):
    """The ticket's time is used up before the service answered."""


class NotAccepted(ServiceUnavailable):
    """A ticket could be kept nowhere, so it was not accepted; the sender must send it again."""


class InvariantBroken(ConsoleError):
    """Something that cannot happen happened: a bug."""


class StatementRefused(InvariantBroken):
    """The database answered and refused a statement; `code` is its SQLSTATE, `constraint` the name of what was broken, if any.

    Holds nothing else of the answer: the database repeats the refused row in it, with the customer's words.
    """

    def __init__(self, code: str, *, constraint: str = "") -> None:
        self.code = code
        self.constraint = constraint
        broken = f", constraint {constraint}" if constraint else ""
        super().__init__(
            f"the database refused to do this (SQLSTATE {code or 'unknown'}{broken}). Nothing of it was stored. "
            "Tell whoever runs the console, with this code."
        )
