"""Which updates of clients are taken: a malformed one is refused by name, before anything is computed with it.

The server knows the shapes, asked for so many tasks, and sees all updates of a round. So it refuses what cannot be
read, has other arrays or shapes, is not finite, claims another weight, or is ``LIMIT`` times as long as updates are.
What is usual is the median of this round and of the last ones: as long as fewer than half of the clients are at fault,
no client moves it far. Updates that look like others and are wrong (poisoning) are not found.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from flwr.app import ArrayRecord, Message

from metazoo.federated import records

LIMIT: Final = 100.0
"""So many times as long as usual is too long; meta-gradients of honest clients differ by a factor of ten."""
MEMORY: Final = 50
"""Updates whose lengths are remembered for rounds with few clients."""


class Refusal(NamedTuple):
    """Whose update was not taken, and why; one clause."""

    client: int
    reason: str


class Screen:
    """Keeps the lengths of the updates that were taken. ``by_length`` is False where Flower clips every update."""

    def __init__(self, by_length: bool = True):
        self._by_length = by_length
        self._usual: list[float] = []

    def sort(
        self, replies: Mapping[int, Message], weights: Mapping[str, np.ndarray], tasks: int
    ) -> tuple[dict[int, Message], list[Refusal]]:
        """The replies that are taken, by client, and the refusals, both in the order of clients.

        ``weights`` are those that the clients got, by name; ``tasks`` is what they were asked to play.
        """
        taken, refused, lengths = {}, [], {}
        for client in sorted(replies):
            reason, length = _fault(replies[client], weights, tasks)
            if reason:
                refused.append(Refusal(client, reason))
            else:
                taken[client], lengths[client] = replies[client], length
        if self._by_length and lengths:
            usual = float(np.median([*self._usual, *lengths.values()]))
            for client, length in lengths.items():
                if usual and length > LIMIT * usual:
                    del taken[client]
                    far = f"its update is {length:.3g} long, {length / usual:.3g} times as long as usual"
                    refused.append(Refusal(client, far))
        self._usual = [*self._usual, *(lengths[client] for client in taken)][-MEMORY:]
        return taken, sorted(refused)


def _fault(reply: Message, weights: Mapping[str, np.ndarray], tasks: int) -> tuple[str, float]:
    """What is wrong with a reply, or nothing and the length of its update."""
    content = reply.content
    if list(content.array_records) != [records.ARRAYS] or list(content.metric_records) != [records.METRICS]:
        return "it does not hold one record of arrays and one of metrics", 0.0
    claimed = content.metric_records[records.METRICS]
    if claimed.get(records.WEIGHT) != tasks:
        return f"it claims {claimed.get(records.WEIGHT)} tasks, and was asked for {tasks}", 0.0
    if not all(np.all(np.isfinite(value)) for value in claimed.values()):
        return "its metrics are not finite", 0.0
    return _fault_of_arrays(content.array_records[records.ARRAYS], weights)


def _fault_of_arrays(arrays: ArrayRecord, weights: Mapping[str, np.ndarray]) -> tuple[str, float]:
    if set(arrays) != set(weights):
        odd = min(set(arrays) ^ set(weights))
        return f"it {'has' if odd in arrays else 'lacks'} an array {odd}", 0.0
    square = 0.0
    for name, mine in weights.items():
        try:
            theirs = arrays[name].numpy()
        except Exception as error:  # noqa: BLE001  bytes of a stranger: whatever reading them raises
            return f"{name} cannot be read ({type(error).__name__})", 0.0
        if theirs.shape != mine.shape or theirs.dtype != mine.dtype:
            said = f"{theirs.dtype} {list(theirs.shape)}, not {mine.dtype} {list(mine.shape)}"
            return f"{name} is {said}", 0.0
        if not np.all(np.isfinite(theirs)):
            return f"{name} is not finite", 0.0
        square += float(np.sum((theirs.astype(np.float64) - mine) ** 2))
    return "", float(np.sqrt(square))


def same_metrics(replies: Iterable[Message], names: Sequence[str]) -> list[Any]:
    """Of replies to an evaluation those that have these metrics, finite, and their weight."""

    def good(reply: Message) -> bool:
        if list(reply.content.metric_records) != [records.METRICS]:
            return False
        metrics = reply.content.metric_records[records.METRICS]
        numbers = all(isinstance(value, int | float) and np.isfinite(value) for value in metrics.values())
        return set(metrics) == {*names, records.WEIGHT} and numbers and metrics[records.WEIGHT] == 1

    return [reply for reply in replies if not reply.has_error() and good(reply)]
