"""A few threads of their own for work that costs much memory, with a short queue in front."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """The queue is full, or the work's turn did not come in time. It was not begun."""


class Desk:
    """Runs `at_once` pieces of work; at most `waiting` more wait for `patience` seconds each.

    Who waits holds no thread, so a queue here leaves the server's other threads, on which the gate runs, alone.
    """

    def __init__(self, *, at_once: int, waiting: int, patience: float) -> None:
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="desk")
        self._most = at_once + waiting
        self._patience = patience
        # Read and written by the event loop alone.
        self._here = 0

    async def run(self, work: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
        """The work's result, in the caller's context. Raises Busy, and what the work raises."""
        if self._here >= self._most:
            raise Busy
        context, wanted = copy_context(), True

        def turn() -> T:
            if not wanted:
                raise Busy
            return context.run(work, *arguments, **more)

        try:
            given = self._pool.submit(turn)
        except RuntimeError:
            # The machine gives no thread now. The pool keeps what it was given and begins it with the next one: nobody waits for it any more.
            wanted = False
            raise
        self._here += 1
        try:
            result = asyncio.wrap_future(given)
            await asyncio.wait({result}, timeout=self._patience)
            # What has begun is not broken off: its turn came.
            if given.cancel():
                raise Busy
            return await result
        finally:
            # Who has gone needs no answer; what has ended or begun is not touched.
            given.cancel()
            self._here -= 1
