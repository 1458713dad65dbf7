"""What the log says of an error that nobody caught: its type and where it was, never its message.

The message may repeat the words of a ticket, and so may those of the errors behind it: a driver's answer holds the refused row.
"""
from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any


def without_messages() -> None:
    """From now on no log line of this process holds an error's message; every logger's, those of libraries too."""
    if not isinstance(made := logging.getLogRecordFactory(), _Short):
        logging.setLogRecordFactory(_Short(made))


class _Short:
    def __init__(self, made: Callable[..., logging.LogRecord]) -> None:
        self._made = made

    def __call__(self, *arguments: Any, **more: Any) -> logging.LogRecord:
        record = self._made(*arguments, **more)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            # A message that was given the error itself would repeat it.
            text = record.msg if _holds_error(record) else record.getMessage()
            record.msg, record.args, record.exc_info = f"{text}: {described(error)}", (), None
        return record


def _holds_error(record: logging.LogRecord) -> bool:
    given = record.args.values() if isinstance(record.args, dict) else record.args or ()
    return any(isinstance(one, BaseException) for one in given)


def described(error: BaseException) -> str:
    """The error's type and the places that it came through, innermost last, then those of what caused it."""
    parts, seen = [], set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        places = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__, limit=-12))
        parts.append(f"{type(error).__module__}.{type(error).__qualname__} at {places or 'no place'}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "; caused by ".join(parts)
