"""Requests with an idempotency key are done once, however often they are sent (retries after a lost answer)."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from serving.errors import Code, ServingError

REMEMBERED: Final = 10_000

Answer = dict[str, Any]


class Idempotency:
    """Remembers the answers to the latest keyed requests. Thread-safe."""

    def __init__(self, remembered: int = REMEMBERED):
        self._remembered, self._lock = remembered, threading.Lock()
        self._answers: OrderedDict[str, tuple[str, Future[Answer]]] = OrderedDict()

    def once(self, key: str | None, digest: str, work: Callable[[], Answer]) -> Answer:
        """Do ``work``, or give what it gave before; whoever asks while it is being done waits. Errors are forgotten.

        Raises:
            ServingError: ALREADY_EXISTS if the key came with another request.
        """
        if key is None:
            return work()
        with self._lock:
            known, future = self._answers.get(key, (digest, None))
            if known != digest:
                raise used(key)
            mine = future is None
            if future is None:
                future = Future()
                self._answers[key] = digest, future
                while len(self._answers) > self._remembered:
                    self._answers.popitem(last=False)
        if not mine:
            return {**future.result(), "replayed": True}
        try:
            answer = work()
        except BaseException as error:
            with self._lock:
                self._answers.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(answer)
        return answer


def used(key: str) -> ServingError:
    return ServingError(Code.ALREADY_EXISTS, f"The Idempotency-Key {key!r} was used for another request")
