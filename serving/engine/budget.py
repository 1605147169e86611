"""How much memory the tensors of requests may take: 61 bytes can ask for 7 GB (a huge shape and one value)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from serving.errors import Code, ServingError
from serving.overload import refusal

JSON_VALUE_BYTES: Final = 16
JSON_QUOTE_BYTES: Final = 16
"""Counted for a value of JSON, and besides for each quotation mark of a string: about half of what they take."""


class Allowance:
    """What one request has taken."""

    def __init__(self, budget: "Budget", sent: Callable[[], int]):
        self._budget, self._sent, self.taken = budget, sent, 0

    def take(self, size: int) -> None:
        """Room for ``size`` more bytes.

        Raises:
            ServingError: RESOURCE_EXHAUSTED if the request asks for too much, UNAVAILABLE if all requests together do.
        """
        limit = self._budget.request_bytes
        if self.taken + size > limit and self.taken + size > self._sent():
            text = f"The tensors of the request take {self.taken + size} bytes: it must be at most {limit}"
            raise ServingError(Code.RESOURCE_EXHAUSTED, text)
        self._budget.change(size)
        self.taken += size

    def take_json(self, body: bytes) -> None:
        """Room for the values of a JSON body, before it is parsed."""
        self.take(JSON_VALUE_BYTES * body.count(b",") + JSON_QUOTE_BYTES * body.count(b'"'))


class Budget:
    """Of one server. Thread-safe.

    Args:
        request_bytes: of one request's tensors; a request that is itself larger may take its own size.
        all_bytes: of all requests at a time.
    """

    def __init__(self, request_bytes: int, all_bytes: int):
        self.request_bytes, self._all_bytes = request_bytes, all_bytes
        self._under_way, self._lock = 0, threading.Lock()

    @contextmanager
    def request(self, sent: Callable[[], int] = lambda: 0) -> Iterator[Allowance]:
        """Around the work on a request. ``sent``: gives its size, should it matter."""
        allowance = Allowance(self, sent)
        try:
            yield allowance
        finally:
            self.change(-allowance.taken)

    def change(self, size: int) -> None:
        with self._lock:
            if size > 0 and self._under_way + size > self._all_bytes:
                raise refusal()
            self._under_way += size
