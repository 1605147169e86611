"""Several calls of a signature as one: inputs put together along axis 0, outputs cut apart again."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.engine.batch_parameters import Limits
from serving.engine.signature import Call, Feeds, Outputs
from serving.errors import TOO_LATE, Code, ServingError, invalid
from serving.wire.tensors import NUMPY_DIMS


class Pending:
    """One call, and later its results or its error. ``wake`` tells its caller, from any thread."""

    __slots__ = ("deadline", "error", "feeds", "leads", "outputs", "results", "rows", "wake")

    def __init__(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int):
        self.feeds, self.outputs, self.rows = feeds, outputs, row_count(feeds)
        self.deadline = time.monotonic() + timeout_ms / 1e3 if timeout_ms else None
        self.results: Outputs | None = None
        self.error: ServingError | None = None
        self.wake: Any = None
        self.leads = False  # it was woken to run the next batch, its own call among it

    def answer(self) -> Outputs:
        if self.error is not None:
            raise self.error
        assert self.results is not None
        return self.results


def row_count(feeds: Feeds) -> int:
    """Rows of a call; 0 if its inputs have no common axis 0, so that it cannot share a batch."""
    rows = -1
    for array in feeds.values():
        if not array.ndim or array.ndim > NUMPY_DIMS or rows not in (-1, array.shape[0]):
            return 0
        rows = array.shape[0]
    return max(rows, 0)


def kind(feeds: Feeds) -> Any:
    """Calls of equal kind can be put together."""
    return [(name, array.shape[1:], array.dtype) for name, array in sorted(feeds.items())]


def check(feeds: Feeds, limits: Limits) -> None:
    """Refuse what TF Serving's batching refuses."""
    if any(not array.ndim for array in feeds.values()):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    sizes = {array.shape[0] for array in feeds.values()}
    if len(sizes) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    if sizes and max(sizes) > limits.max_rows and not limits.large:
        raise invalid(f"Task size {max(sizes)} is larger than maximum input batch size {limits.max_rows}")


def run(call: Call, batch: Sequence[Pending], limits: Limits) -> None:
    """Fill in the results, or the error, of every call. One that fails does not harm the others."""
    now = time.monotonic()
    live = []
    for pending in batch:
        if pending.deadline is not None and pending.deadline <= now:
            pending.error = ServingError(Code.DEADLINE_EXCEEDED, TOO_LATE)
        else:
            live.append(pending)
    if not live:
        return
    try:
        if len(live) > 1 or limits.strict:
            _run_together(call, live, limits)
        else:
            live[0].results = call(live[0].feeds, live[0].outputs, _timeout_ms(live))
    except ServingError as error:
        if len(live) == 1:
            live[0].error = error
            return
        for pending in live:  # one of them is at fault; it shall fail alone
            run(call, [pending], limits)


def _run_together(call: Call, batch: Sequence[Pending], limits: Limits) -> None:
    rows = sum(pending.rows for pending in batch)
    padding = next((size for size in limits.allowed_rows if size >= rows), rows) - rows if rows else 0
    feeds = {}
    for name, last in batch[-1].feeds.items():
        parts = [pending.feeds[name] for pending in batch]
        if padding:  # as TF Serving does: a row that is known to be valid, over and over
            parts.append(np.broadcast_to(last[:1], (padding, *last.shape[1:])))
        feeds[name] = np.concatenate(parts) if len(parts) > 1 else last
    wanted = batch[0].outputs
    if any(pending.outputs != wanted for pending in batch):
        wanted = tuple(sorted({name for pending in batch for name in pending.outputs}))
    results = call(feeds, wanted, _timeout_ms(batch))
    for array in results.values():
        if not array.ndim:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if array.shape[0] != rows + padding:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                "input tensors",
            )
    start = 0
    for pending in batch:
        end = start + pending.rows
        pending.results = {name: results[name][start:end] for name in pending.outputs}
        start = end


def _timeout_ms(batch: Sequence[Pending]) -> int:
    """The latest deadline counts; 0 if a call has none."""
    latest = 0.0
    for pending in batch:
        if pending.deadline is None:
            return 0
        latest = max(latest, pending.deadline)
    return max(1, int((latest - time.monotonic()) * 1e3))
