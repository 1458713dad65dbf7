"""The error tree, split by what the caller should do.

ConsoleError
├── InputRejected          fix the input: nothing of it was stored
│   ├── TicketRejected     one field of one ticket
│   ├── ImportRejected     a file, or a row of it
│   ├── OutcomeRejected    a supervisor's label
│   ├── PolicyRejected     thresholds that contradict each other
│   └── TaxonomyRejected   departments, topics or exemplars
├── NotFound               the named object does not exist
├── Conflict               the object exists already, or changed meanwhile
├── ConfigurationError     fix the settings and start again
├── ServiceUnavailable     retry later: a service is away or too slow
│   └── DeadlineExceeded   the ticket's time is used up
└── InvariantBroken        a bug: report it with its message
"""
from __future__ import annotations


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
    """A file cannot be read as tickets; `row` is the line's number in the file (header = 1) where one is to blame."""

    def __init__(self, message: str, *, row: int | None = None) -> None:
        self.row = row
        super().__init__(f"row {row}: {message}" if row is not None else message)


class OutcomeRejected(InputRejected):
    """A supervisor's label is incomplete or out of range."""


class PolicyRejected(InputRejected):
    """A policy whose thresholds are out of range or contradict each other."""


class TaxonomyRejected(InputRejected):
    """Departments, topics or exemplars that contradict each other."""


class NotFound(ConsoleError):
    """The named object does not exist."""


class Conflict(ConsoleError):
    """The object exists already, or was changed by somebody else meanwhile."""


class ConfigurationError(ConsoleError):
    """The settings are incomplete or wrong; the message names the setting."""


class ServiceUnavailable(ConsoleError):
    """A service did not answer; `service` is its name (database, cache, index, embedder, language_model)."""

    def __init__(self, service: str, message: str) -> None:
        self.service = service
        super().__init__(f"{service} is not available: {message}")


class DeadlineExceeded(ServiceUnavailable):
    """The ticket's time is used up before the service answered."""


class InvariantBroken(ConsoleError):
    """Something that cannot happen happened: a bug."""
