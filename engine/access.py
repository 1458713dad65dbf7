"""Who may do what: the one table that pages, API and command line read."""
from __future__ import annotations

from enum import StrEnum

from engine.errors import NotAllowed


class Role(StrEnum):
    """What an operator is. Each role holds everything that the one before it holds."""

    AGENT = "agent"
    SUPERVISOR = "supervisor"
    MANAGER = "manager"
    ADMIN = "admin"


class Permission(StrEnum):
    """What can be allowed. Also the scopes of API tokens."""

    ACCOUNT = "account"
    SUBMIT = "submit"
    OWN_TICKETS = "own_tickets"
    OVERRULE = "overrule"
    ALL_TICKETS = "all_tickets"
    REVIEW = "review"
    ACCURACY = "accuracy"
    DASHBOARD = "dashboard"
    POLICY = "policy"
    ALERTS = "alerts"
    METRICS = "metrics"
    USERS = "users"
    DEPARTMENTS = "departments"
    SYSTEM = "system"
    AUDIT = "audit"


_P = Permission
_GAINS: dict[Role, tuple[Permission, ...]] = {
    Role.AGENT: (_P.ACCOUNT, _P.SUBMIT, _P.OWN_TICKETS, _P.OVERRULE),
    Role.SUPERVISOR: (_P.ALL_TICKETS, _P.REVIEW, _P.ACCURACY),
    Role.MANAGER: (_P.DASHBOARD, _P.POLICY, _P.ALERTS, _P.METRICS),
    Role.ADMIN: (_P.USERS, _P.DEPARTMENTS, _P.SYSTEM, _P.AUDIT),
}


def _table() -> dict[Role, frozenset[Permission]]:
    held: frozenset[Permission] = frozenset()
    table = {}
    for role in Role:
        held |= frozenset(_GAINS[role])
        table[role] = held
    return table


TABLE: dict[Role, frozenset[Permission]] = _table()

# A page is named by its file in `pages/`; a page that is missing here opens for nobody.
PAGES: dict[str, Permission] = {
    "submit": _P.SUBMIT,
    "review": _P.REVIEW,
    "accuracy": _P.ACCURACY,
    "dashboard": _P.DASHBOARD,
    "policy": _P.POLICY,
    "alerts": _P.ALERTS,
    "departments": _P.DEPARTMENTS,
    "system": _P.SYSTEM,
    "users": _P.USERS,
    "audit": _P.AUDIT,
    "account": _P.ACCOUNT,
}

# Routes for machines; all of them need a token. `/metrics` is here because the gate asks for the token.
API: dict[tuple[str, str], Permission] = {
    ("POST", "/api/v1/tickets"): _P.SUBMIT,
    ("GET", "/api/v1/tickets"): _P.OWN_TICKETS,
    ("GET", "/api/v1/tickets/{ticket_id:path}"): _P.OWN_TICKETS,
    ("POST", "/api/v1/overrules"): _P.OVERRULE,
    ("GET", "/api/v1/departments"): _P.SUBMIT,
    ("POST", "/api/v1/outcomes"): _P.REVIEW,
    ("GET", "/api/v1/accuracy"): _P.ACCURACY,
    ("GET", "/api/v1/figures"): _P.DASHBOARD,
    ("GET", "/api/v1/policy"): _P.POLICY,
    ("GET", "/api/v1/alerts"): _P.ALERTS,
    ("GET", "/api/v1/users"): _P.USERS,
    ("GET", "/api/v1/health"): _P.SYSTEM,
    ("GET", "/api/v1/audit"): _P.AUDIT,
    ("GET", "/metrics"): _P.METRICS,
}

# Files that a page offers, each for whoever may open that page.
FILES: dict[str, str] = {
    "/files/decisions.csv": "dashboard",
    "/files/audit.csv": "audit",
}

# Commands that are not named here need `system`.
COMMANDS: dict[str, Permission] = {
    "route": _P.SUBMIT,
    "import": _P.SUBMIT,
    "evaluate": _P.ACCURACY,
    "load": _P.DEPARTMENTS,
    "user": _P.USERS,
    "token": _P.USERS,
    "audit": _P.AUDIT,
}


def allowed(role: str, permission: Permission | str) -> bool:
    """True when the role holds the permission; False for a role or permission that does not exist."""
    try:
        return Permission(permission) in TABLE[Role(role)]
    except ValueError:
        return False


def demand(role: str, permission: Permission | str) -> None:
    """Raise NotAllowed unless the role holds the permission."""
    if not allowed(role, permission):
        raise NotAllowed(str(permission))


def opens(role: str, page: str) -> bool:
    """True when the role may open the page of this file name, without `.py`."""
    return page in PAGES and allowed(role, PAGES[page])


def may_run(role: str, command: str) -> None:
    """Raise NotAllowed unless the role may run the command."""
    demand(role, COMMANDS.get(command, Permission.SYSTEM))
