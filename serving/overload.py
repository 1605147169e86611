"""Work that is refused because there is too much of it, at once, instead of piling up."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from serving.errors import QUEUE_FULL, Code, ServingError


def refusal() -> ServingError:
    """What TF Serving says when its queue is full."""
    return ServingError(Code.UNAVAILABLE, QUEUE_FULL)


class BoundedExecutor(ThreadPoolExecutor):
    """A thread pool that knows when too much waits for it.

    ``submit`` never refuses by itself: work that comes when more than ``waiting`` is queued is run all the same, by a
    thread of its own, but with ``is_overloaded`` True, so that it answers with the refusal and nothing else.
    """

    def __init__(self, workers: int, waiting: int, name: str):
        super().__init__(workers, thread_name_prefix=name)
        self._waiting = waiting
        self._refusing = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-refusing")
        self._local = threading.local()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        if self._work_queue.qsize() < self._waiting:
            return super().submit(work, *arguments, **named)
        return self._refusing.submit(self._refuse, work, *arguments, **named)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._refusing.shutdown(wait, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)

    @property
    def is_overloaded(self) -> bool:
        """Whether what runs in this thread is to be refused."""
        return getattr(self._local, "refusing", False)

    def check(self) -> None:
        """Raise the refusal, if what runs in this thread is to be refused."""
        if self.is_overloaded:
            raise refusal()

    def _refuse(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self._local.refusing = True
        return work(*arguments, **named)
