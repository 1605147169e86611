"""How often one visitor may ask for what computes: a bucket that fills at a steady rate."""

import time
from collections.abc import Callable
from typing import Final, final

AT_ONCE, A_SECOND = 60.0, 4.0
"""Requests of one address: so many in a row, and so many a second in the long run. Several visitors may share one."""
ADDRESSES: Final = 10_000
"""Remembered at a time."""


@final
class Allowance:
    """Buckets by visitor. Used by one event loop."""

    def __init__(
        self, at_once: float = AT_ONCE, a_second: float = A_SECOND, clock: Callable[[], float] = time.monotonic
    ):
        self._full, self._rate, self._clock = at_once, a_second, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, visitor: str) -> bool:
        """Whether one more request of the visitor's is allowed now; if so, it is counted."""
        now = self._clock()
        left, when = self._buckets.pop(visitor, (self._full, now))
        left = min(self._full, left + (now - when) * self._rate)
        self._buckets[visitor] = (left - 1.0 if left >= 1.0 else left, now)
        if len(self._buckets) > ADDRESSES:
            del self._buckets[next(iter(self._buckets))]  # who has not asked for longest
        return left >= 1.0
