"""Does a database that answers also store what it is given?"""
from __future__ import annotations

from sqlalchemy import Engine, text

from db.session import doubt, translated
from engine.errors import StatementRefused

_NOT_ALLOWED = "42501"


def settle(engine: Engine) -> None:
    """Where it is in doubt, store a row in a table of this transaction alone: it needs room of its own on the disk, and nothing of
    it stays. Raises ServiceUnavailable when that fails; the doubt goes when it does not.

    A role that may make no such table cannot find out, and is believed until a ticket is refused again.
    """
    if not doubt(engine).is_set():
        return
    # Before it, so that what a ticket meets meanwhile is not forgotten.
    doubt(engine).clear()
    believed = False
    try:
        with translated(engine), engine.connect() as connection:
            # On the disk of the tickets, wherever else such tables are kept.
            connection.execute(text("set local temp_tablespaces = ''"))
            connection.execute(text("create temporary table trial (word text)"))
            connection.execute(text("insert into trial values ('stored')"))
        believed = True
    except StatementRefused as error:
        believed = error.code == _NOT_ALLOWED
        if not believed:
            raise
    finally:
        if not believed:
            doubt(engine).set()
