"""Concurrent calls of one signature, run together.

Adaptive: a call that finds a free slot runs at once, in the thread that made it. While all slots are busy, calls queue,
and whatever has queued when a slot becomes free is run as one batch, led by the caller who waited longest. So a lone
request never waits and never changes threads, and the busier the server, the larger the batches. The queue is bounded:
a call that finds it full is refused at once, as TF Serving does, and one whose deadline passed is not computed.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from serving.engine import merging
from serving.engine.batch_parameters import Limits
from serving.engine.merging import Pending
from serving.engine.signature import Call, Feeds, Outputs, Runner
from serving.errors import QUEUE_FULL, TOO_LATE, Code, ServingError

QUICK_SECONDS: Final = 0.002
"""Batches that take less run in the event loop if that leads them: a thread would cost more than the work."""


class Batcher(Runner):
    """Puts concurrent calls together.

    Args:
        call: runs the signature on a batch.
        limits: sizes of batches and queue.
        merges: whether calls may share a batch: row b of every output must depend on row b of the inputs only.
    """

    def __init__(self, call: Call, limits: Limits, merges: bool):
        self._call, self._limits, self._merges = call, limits, merges
        self._lock = threading.Lock()
        self._queue: deque[Pending] = deque()
        self._queued_rows = self._running = 0
        self._flushing = False
        self._seconds = 0.0  # of a batch, lately

    def __call__(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        """Run, together with what other threads ask meanwhile.

        Raises:
            ServingError: UNAVAILABLE if the queue is full, DEADLINE_EXCEEDED, or the signature's own refusal.
        """
        pending = self._pending(feeds, outputs, timeout_ms)
        waiting = None
        with self._lock:
            if self._running < self._limits.threads:
                self._running += 1
            else:
                waiting = threading.Lock()
                waiting.acquire()
                pending.wake = waiting.release
                self._enqueue(pending)
        if waiting is None or self._wait(pending, waiting):
            self._lead(pending)
        return pending.answer()

    async def start(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        """The same from an event loop: the calls of one turn of the loop go into one batch."""
        loop = asyncio.get_running_loop()
        pending, future = self._pending(feeds, outputs, timeout_ms), loop.create_future()
        pending.wake = partial(self._wake, loop, threading.get_ident(), pending, future)
        with self._lock:
            self._enqueue(pending)
            scheduled, self._flushing = self._flushing, True
        if not scheduled:
            loop.call_soon(self._flush, loop)
        await future
        return pending.answer()

    def _pending(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Pending:
        if self._limits.strict and self._merges:
            merging.check(feeds, self._limits)
        return Pending(feeds, outputs, timeout_ms)

    def _enqueue(self, pending: Pending) -> None:
        """With the lock held."""
        if self._queue and self._queued_rows + pending.rows > self._limits.max_queued_rows:
            raise ServingError(Code.UNAVAILABLE, QUEUE_FULL)
        self._queue.append(pending)
        self._queued_rows += max(pending.rows, 1)

    def _take(self, pending: Pending) -> Pending:
        """Out of the queue, with the lock held."""
        self._queue.remove(pending)
        self._queued_rows -= max(pending.rows, 1)
        return pending

    def _wait(self, pending: Pending, waiting: Any) -> bool:
        """Wait for the results; True if instead the call is to lead a batch."""
        remaining = -1.0 if pending.deadline is None else max(0.0, pending.deadline - time.monotonic())
        if waiting.acquire(timeout=remaining):
            return pending.leads
        with self._lock:
            if pending in self._queue:
                self._take(pending)
            leads = pending.leads
        if leads:
            self._release()
        raise ServingError(Code.DEADLINE_EXCEEDED, TOO_LATE)

    def _wake(
        self, loop: asyncio.AbstractEventLoop, thread: int, pending: Pending, future: asyncio.Future[None]
    ) -> None:
        """Tell an event loop that a call is done, or that it is to lead."""

        def woken(leads: bool) -> None:
            if leads:
                self._lead_from(loop, pending)
            elif not future.done():
                future.set_result(None)

        leads, pending.leads = pending.leads, False
        if threading.get_ident() != thread:
            try:
                loop.call_soon_threadsafe(woken, leads)
            except RuntimeError:  # the loop was closed: nobody waits for this any more
                if leads:
                    self._release()
        elif leads:
            loop.call_soon(woken, leads)
        else:
            woken(leads)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lead what this turn of the loop has queued, if there is a slot; else a running batch will wake its leader."""
        with self._lock:
            self._flushing = False
            if not self._queue or self._running >= self._limits.threads:
                return
            self._running += 1
            leader = self._take(self._queue[0])
        self._lead_from(loop, leader)

    def _lead_from(self, loop: asyncio.AbstractEventLoop, leader: Pending) -> None:
        if self._seconds < QUICK_SECONDS and not self._limits.wait_seconds:
            self._lead(leader, tell_leader=True)
        else:
            loop.run_in_executor(None, self._lead, leader, True)

    def _lead(self, leader: Pending, tell_leader: bool = False) -> None:
        """Run the leader's batch in the slot it holds, pass the slot on, and wake the others."""
        batch = [leader]
        try:
            if self._limits.wait_seconds:
                self._let_it_fill(leader)
            if self._queue and self._merges:
                batch += self._companions(leader)
            started = time.perf_counter()
            merging.run(self._call, batch, self._limits)
            self._seconds += 0.2 * (time.perf_counter() - started - self._seconds)
        finally:
            self._release()
            for pending in batch:
                if pending.results is None and pending.error is None:
                    pending.error = ServingError(Code.INTERNAL, "The batch was abandoned")
                if tell_leader or pending is not leader:
                    pending.wake()

    def _let_it_fill(self, leader: Pending) -> None:
        """TF Serving's ``batch_timeout_micros``: wait for companions, but not once the batch is full."""
        until = time.monotonic() + self._limits.wait_seconds
        while self._queued_rows + leader.rows < self._limits.max_rows and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.001))

    def _companions(self, leader: Pending) -> list[Pending]:
        """What can run with the leader, in order of arrival, up to a full batch."""
        if not leader.rows:
            return []
        kind, rows, chosen = merging.kind(leader.feeds), leader.rows, []
        with self._lock:
            for pending in list(self._queue):
                if 0 < pending.rows <= self._limits.max_rows - rows and merging.kind(pending.feeds) == kind:
                    chosen.append(self._take(pending))
                    rows += pending.rows
        return chosen

    def _release(self) -> None:
        """Give the slot to whoever waited longest, or back."""
        with self._lock:
            if not self._queue:
                self._running -= 1
                return
            leader = self._take(self._queue[0])
            leader.leads = True
        leader.wake()
