"""What nobody waits for after a ticket is stored: one thread does it, in the order in which it was handed over."""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Afterwards(ThreadPoolExecutor):
    """An executor of one thread. After `shutdown` whoever hands something over does it, behind what was handed over before: a ticket that was
    stored in that moment has its line in the log, and its sender no error.
    """

    def __init__(self) -> None:
        super().__init__(1, thread_name_prefix="afterwards")
        # The thread is there from now on, so that being shut down is the one reason for which nothing is taken.
        super().submit(bool)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As the executor's; what the work raises is the future's in both cases."""
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            self.shutdown()
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whoever wants to know asks the future
            done.set_exception(error)
        return done
