"""The one engine of a process: built when its services are there, replaced while it runs, closed at the end."""
from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from engine.errors import ConsoleError, ServiceUnavailable


class Closable(Protocol):
    """What is kept: anything that can be closed."""

    @property
    def close(self) -> Callable[[], None]: ...


E = TypeVar("E", bound=Closable)


class Running(Generic[E]):
    """Builds with `build`, which gets the function that asks for a replacement. Safe to use from several threads.

    `say` is told, once for each new reason, why there is no engine yet. `interval` is the time between two tries and
    `last_callers` the time for which a replaced engine stays open, both in seconds.
    """

    def __init__(
        self, build: Callable[[Callable[[], None]], E], *, say: Callable[[str], None], interval: float = 2.0, last_callers: float = 30.0
    ) -> None:
        self._build = build
        self._say = say
        self._interval = interval
        self._last_callers = last_callers
        self._lock = threading.Lock()
        self._engine: E | None = None
        self._missing: ServiceUnavailable | None = None
        self._stopped = threading.Event()
        self._trying: threading.Thread | None = None
        self._replaced: list[tuple[threading.Timer, E]] = []
        # By identity: whose long work is under way, and which engines are closed when the last of it ends.
        self._users: Counter[int] = Counter()
        self._due: set[int] = set()

    def engine(self) -> E:
        """The engine, built at first use. Raises what building raises; at once while a thread goes on trying."""
        engine, missing = self._engine, self._missing
        if engine is not None:
            return engine
        if missing is not None:
            raise ServiceUnavailable(missing.service, missing.reason)
        return self._built()

    def away(self) -> str | None:
        """The service without which no engine could be built so far, None when there is one or nobody has tried."""
        missing = self._missing
        return missing.service if self._engine is None and missing is not None else None

    def start(self, then: Callable[[E], None]) -> None:
        """Build and call `then`; where a service is away, return and go on trying on a thread of its own.

        Raises ConfigurationError and whatever else cannot pass by itself.
        """
        try:
            then(self._built())
        except ServiceUnavailable as error:
            self._missing = error
            self._say(str(error))
            self._trying = threading.Thread(target=self._try, args=(then,), name="start", daemon=True)
            self._trying.start()

    def renew(self) -> None:
        """Put a new engine in place of the running one, which is closed when its last callers are gone."""
        fresh = self._build(self.renew)
        with self._lock:
            old = self._engine
            if old is not None:
                self._engine = fresh
                closing = threading.Timer(self._last_callers, self._close, args=(old,))
                closing.daemon = True
                self._replaced.append((closing, old))
                closing.start()
        if old is None:
            # It was closed while the new one was built.
            fresh.close()

    @contextmanager
    def kept(self, engine: E) -> Iterator[None]:
        """Inside, a replaced engine stays open for as long as the work takes; only `stop` closes it all the same."""
        with self._lock:
            self._users[id(engine)] += 1
        try:
            yield
        finally:
            with self._lock:
                self._users[id(engine)] -= 1
                last = self._users[id(engine)] == 0
                if last:
                    del self._users[id(engine)]
                last = last and id(engine) in self._due
            if last:
                # Closing waits for threads; whoever has just finished must not.
                threading.Thread(target=self._close, args=(engine,), name="closing", daemon=True).start()

    def stop(self) -> None:
        """Close what is open; the next use builds anew."""
        self._stopped.set()
        if self._trying is not None:
            self._trying.join(self._last_callers)
        with self._lock:
            replaced, self._replaced = self._replaced, []
            self._due.clear()
            engine, self._engine, self._missing, self._trying = self._engine, None, None, None
        for closing, old in replaced:
            closing.cancel()
            old.close()
        if engine is not None:
            engine.close()
        self._stopped.clear()

    def _close(self, old: E) -> None:
        with self._lock:
            if self._users[id(old)]:
                self._due.add(id(old))
                return
            self._due.discard(id(old))
            self._replaced = [(timer, engine) for timer, engine in self._replaced if engine is not old]
        old.close()

    def _built(self) -> E:
        with self._lock:
            if self._engine is None:
                self._engine = self._build(self.renew)
            return self._engine

    def _try(self, then: Callable[[E], None]) -> None:
        while not self._stopped.wait(self._interval):
            try:
                then(self._built())
            except ServiceUnavailable as error:
                self._still_without(error)
            except ConsoleError as error:
                self._still_without(ServiceUnavailable("configuration", str(error)))
            except Exception as error:  # noqa: BLE001 - without this thread nobody would ever try again
                self._still_without(ServiceUnavailable("console", f"{type(error).__name__} while starting"))
            else:
                self._missing = None
                return

    def _still_without(self, error: ServiceUnavailable) -> None:
        before, self._missing = self._missing, error
        if before is None or str(before) != str(error):
            self._say(str(error))
