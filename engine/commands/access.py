"""Commands about users, tokens, the audit log and retention."""
from __future__ import annotations

import argparse
import getpass
import json
import re
import sys
from argparse import Namespace
from datetime import UTC, datetime, timedelta

from engine.access import Permission, Role
from engine.commands.opened import opened
from engine.commands.show import show
from engine.errors import AccountRejected
from engine.tokens import held, standing

BY = "command line"
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_AGE = re.compile(r"([1-9][0-9]{0,19})(d|w|m|y)")
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}
# Before the first ticket of anybody, and still within the calendar.
_OLDEST = timedelta(days=1000 * _DAYS["y"])


def add(commands) -> None:  # noqa: ANN001 - argparse has no public type for it
    """Add the commands and their options."""
    user = commands.add_parser("user", help="add, list, disable and enable users, or give one a new password")
    user = user.add_subparsers(dest="what", required=True, metavar="WHAT")
    command = user.add_parser("add", help="add a user; prints a one-time password unless one is given")
    command.add_argument("name", help="the user's name")
    command.add_argument("--role", default=Role.AGENT.value, choices=[role.value for role in Role], help="what the user may do (agent)")
    command.add_argument("--password-stdin", action="store_true", help="read the password from standard input; it then stays valid")
    command.set_defaults(run=add_user)
    command = user.add_parser("disable", help="shut a user out; the sessions end at once")
    command.add_argument("name", help="the user's name")
    command.set_defaults(run=disable_user)
    command = user.add_parser("enable", help="let a disabled user sign in again")
    command.add_argument("name", help="the user's name")
    command.set_defaults(run=enable_user)
    command = user.add_parser("reset", help="give a user a new one-time password, print it and unlock the account")
    command.add_argument("name", help="the user's name")
    command.set_defaults(run=reset_user)
    command = user.add_parser("list", help="list the users")
    command.set_defaults(run=list_users)

    token = commands.add_parser("token", help="make, list or revoke API tokens").add_subparsers(dest="what", required=True, metavar="WHAT")
    command = token.add_parser("add", help="make a token and print it this one time")
    command.add_argument("user", help="whose rights the token has")
    command.add_argument("--name", required=True, help="what it is for")
    command.add_argument("--scope", action="append", required=True, choices=[p.value for p in Permission], help="what it may do; as often as wanted")
    command.add_argument("--days", type=int, default=90, help="how long it lives, 366 at most (90)")
    command.set_defaults(run=add_token)
    command = token.add_parser("revoke", help="revoke a token by its id")
    command.add_argument("id", help="as `token list` names it")
    command.set_defaults(run=revoke_token)
    command = token.add_parser("list", help="list the tokens without their secrets, one JSON object a line, newest first")
    command.set_defaults(run=list_tokens)

    audit = commands.add_parser("audit", help="check the audit log").add_subparsers(dest="what", required=True, metavar="WHAT")
    command = audit.add_parser("verify", help="check that no row was removed or altered; exit code 1 when one was")
    command.add_argument("--head", type=witness, metavar="HASH", help="also demand that the row with this hash, noted elsewhere, is still there")
    command.set_defaults(run=verify)

    command = commands.add_parser("purge", help="remove the texts of old tickets; decisions, outcomes and counts stay")
    command.add_argument("--older-than", required=True, type=_age, metavar="AGE", help="for example 90d, 12w, 6m or 2y")
    command.set_defaults(run=purge)


def add_user(arguments: Namespace) -> int:
    """Add a user."""
    password = None
    if arguments.password_stdin:
        # A closed standard input is none at all.
        password = "" if sys.stdin is None else getpass.getpass() if sys.stdin.isatty() else _line(sys.stdin.buffer.readline())
    with opened() as engine:
        user, used = engine.accounts.add(arguments.name, role=arguments.role, by=BY, password=password, must_change=password is None)
    show(
        json.dumps({"user": user.name, "role": user.role} | ({} if password is not None else {"one_time_password": used})),
        done=f"{user.name} is added" + (f"; `user reset {user.name}` prints another one-time password." if password is None else "."),
    )
    return 0


def _line(content: bytes) -> str:
    try:
        # Whatever the terminal's own encoding is: the page that asks for the password sends UTF-8.
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise AccountRejected("password: not UTF-8. Nothing was changed.") from None


def disable_user(arguments: Namespace) -> int:
    """Disable a user."""
    with opened() as engine:
        engine.accounts.disable(arguments.name, by=BY)
    show(json.dumps({"user": arguments.name, "disabled": True}))
    return 0


def enable_user(arguments: Namespace) -> int:
    """Enable a user."""
    with opened() as engine:
        engine.accounts.enable(arguments.name, by=BY)
    show(json.dumps({"user": arguments.name, "disabled": False}))
    return 0


def reset_user(arguments: Namespace) -> int:
    """A new one-time password."""
    with opened() as engine:
        password = engine.accounts.reset_password(arguments.name, by=BY)
    show(
        json.dumps({"user": arguments.name, "one_time_password": password}),
        done="The earlier password is valid no longer; run this again for another one.",
    )
    return 0


def list_users(_: Namespace) -> int:
    """One line for each user."""
    with opened() as engine:
        for user in engine.accounts.all():
            show(f"{user.name:<32} {user.role:<12} {'disabled' if user.disabled_at else 'active'}")
    return 0


def add_token(arguments: Namespace) -> int:
    """Make a token."""
    with opened() as engine:
        owner = engine.accounts.named(arguments.user)
        made = engine.tokens.make(owner, name=arguments.name, scopes=arguments.scope, days=arguments.days, by=BY)
    show(made, done="The token is made, and nobody will see it again: revoke it (`token list` has its id) and make another one.")
    if owner.must_change:
        print(f"{owner.name} has a one-time password: the token works once they have signed in and chosen one", file=sys.stderr)
    return 0


def revoke_token(arguments: Namespace) -> int:
    """Revoke a token."""
    with opened() as engine:
        engine.tokens.revoke(arguments.id, by=BY)
    show(json.dumps({"token": arguments.id, "revoked": True}))
    return 0


def list_tokens(_: Namespace) -> int:
    """One line for each token."""
    now = datetime.now(UTC)
    with opened() as engine:
        for row in engine.tokens.all():
            show(json.dumps({
                "id": row.id, "user": row.user_name, "name": row.name, "scopes": sorted(held(row)), "state": standing(row, now=now),
                "expires_at": row.expires_at.isoformat() if row.expires_at else None,
                "used_at": row.used_at.isoformat() if row.used_at else None,
            }))
    return 0


def verify(arguments: Namespace) -> int:
    """Walk the chain."""
    with opened() as engine:
        found = engine.audit.verify(witness=arguments.head or "")
    if found.broken_at is not None:
        print(f"audit log: {found.problem}", file=sys.stderr)
        return 1
    show(json.dumps({"rows": found.rows, "head": found.head}))
    return 0


def purge(arguments: Namespace) -> int:
    """Remove old texts."""
    with opened() as engine:
        now = datetime.now(UTC)
        removed = engine.retention.purge(before=now - arguments.older_than, now=now)
        aside = engine.spool.set_aside.forget(before=now - arguments.older_than)
        engine.audit.record(
            BY, "texts_removed", "ticket", f"older than {arguments.older_than.days} days", after={"tickets": removed, "set_aside": aside}
        )
    show(json.dumps({"texts_removed": removed, "set_aside_removed": aside}))
    return 0


def witness(text: str) -> str:
    """A row's hash. Raises ArgumentTypeError: an empty one, of a variable that is not set, must not pass for one that was found."""
    if _HASH.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"64 hexadecimal digits, as `audit verify` and `backup` print them; found {text[:80]!r}")
    return text.lower()


def _age(text: str) -> timedelta:
    match = _AGE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"a number with d, w, m or y, such as 90d; found {text!r}")
    days = int(match[1]) * _DAYS[match[2]]
    if days > _OLDEST.days:
        raise argparse.ArgumentTypeError(f"at most {_OLDEST.days // _DAYS['y']}y; found {text!r}")
    return timedelta(days=days)
