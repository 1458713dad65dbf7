"""The command line: `python -m engine COMMAND`. Errors go to standard error in one line.

Exit code 0 means done, 1 a failure, 2 wrong use.
"""
from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        with _stopped_in_order():
            return _run(arguments)
    except BrokenPipeError:
        return 1
    except ModuleNotFoundError as error:
        print(f"error: {missing(error)}", file=sys.stderr)
        return 2
    except MemoryError:
        print("error: there is not enough memory for this. What was stored stays; run it again where there is more.", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"stopped {error}".rstrip(), file=sys.stderr)
        return 1


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """A service manager's stop and a lost terminal end a command as Ctrl-C does: what was begun is cleared away."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(arguments: list[str] | None) -> int:
    # What takes seconds to import is interrupted as quietly as the command itself.
    from engine import access, settings
    from engine.commands import parser
    from engine.errors import ConfigurationError, ConsoleError, InputRejected, NotAllowed

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that is not UTF-8 gets an escape for what it cannot show, not half a report.
            stream.reconfigure(errors="backslashreplace")
    parsed = parser.build().parse_args(arguments)
    for name, value in vars(parsed).items():
        # A file's name may be anything; what is stored or looked for may not.
        if isinstance(value, str) and not value.isascii() and value != value.encode("utf-8", "ignore").decode():
            print(f"error: {name.replace('_', '-')}: not UTF-8. Nothing was done.", file=sys.stderr)
            return 2
    try:
        role = settings.load().command_role
        try:
            access.may_run(role, parsed.command)
        except NotAllowed as error:
            allowed = error.permission.replace("_", " ")
            print(f"error: COMMAND_ROLE is {role}, which does not include {allowed}. Nothing was done.", file=sys.stderr)
            # As any setting that must be changed first: a service manager must not start it again and again.
            return 2
        return parsed.run(parsed)
    except (InputRejected, ConfigurationError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    except ConsoleError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 1


def missing(error: ModuleNotFoundError) -> str:
    """What to do where a package is not there: as a rule it is another Python than the console's own."""
    return f"{sys.executable} has no package {error.name}. Use .venv/bin/python, which `make setup` makes, or `make run`. Nothing was done."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
