"""What the log says of an error: its type and where it was, never its message.

The message may repeat the words of a ticket, and so may those of the errors behind it: a driver's answer holds the refused row.
"""
from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any


def without_messages() -> None:
    """From now on no logger of this process, those of libraries too, writes the message of an error that it is given.

    What a line itself was made of (an f-string with the error in it) cannot be told from any other words.
    """
    if not isinstance(made := logging.getLogRecordFactory(), _Short):
        logging.setLogRecordFactory(_Short(made))


class _Short:
    def __init__(self, made: Callable[..., logging.LogRecord]) -> None:
        self._made = made

    def __call__(self, *arguments: Any, **more: Any) -> logging.LogRecord:
        record = self._made(*arguments, **more)
        record.msg = _named(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.msg, record.args, record.exc_info = f"{_text(record)}: {described(error)}", (), None
        elif isinstance(record.args, dict):
            record.args = {name: _named(one) for name, one in record.args.items()}
        elif record.args:
            record.args = tuple(_named(one) for one in record.args)
        return record


def _named(given: Any) -> Any:
    """An error's type in its place, anything else as it is."""
    return f"{type(given).__module__}.{type(given).__qualname__}" if isinstance(given, BaseException) else given


def _text(record: logging.LogRecord) -> str:
    given = record.args.values() if isinstance(record.args, dict) else record.args or ()
    if any(isinstance(one, BaseException) for one in given):
        return str(record.msg)
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a line whose arguments do not fit must not fail where it is written
        return str(record.msg)


def described(error: BaseException) -> str:
    """The error's type and the places that it came through, innermost last, then those of what caused it."""
    parts, seen = [], set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        places = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__, limit=-12))
        parts.append(f"{type(error).__module__}.{type(error).__qualname__} at {places or 'no place'}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "; caused by ".join(parts)
