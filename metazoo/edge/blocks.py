"""Loops that write a long list, in blocks: LiteRT copies all that a loop carries at every turn.

A turn of the inner loop carries a block of about √n entries, and one of the outer loop the whole list. For 1,000 states
of a recurrent cell that takes a fraction of the time.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

LONG: Final = 2**15
"""Bytes of a list from which on it is written in blocks; a processor's first cache holds less."""


class Writes(NamedTuple):
    """What a loop does to a list: where each entry stands that two turns have written, and whether it reads any."""

    indices: list[Any]
    reads: list[Any]

    def in_order(self) -> bool:
        """Whether every turn appends one entry, as far as two turns can tell; the comparison of answers tells all."""
        known = all(isinstance(one, np.ndarray) for one in self.indices)
        return known and len(self.indices) == 2 and self.indices[1] - self.indices[0] == 1 and not self.reads


class Loop(NamedTuple):
    """A while loop: its functions, its values, and the places of those that change: ``lists`` of them are long ones."""

    cond: Callable[..., list[Any]]
    body: Callable[..., list[Any]]
    values: list[Any]
    others: list[int]
    lists: list[int]


def run(loop: Loop, empty: Callable[[int, int, Any], Any], shapes: Sequence[Any], first: int) -> list[Any]:
    """The values after the loop; those at ``lists`` are tensors ``[n, ...]``.

    ``empty(length, first, entries)`` makes a list of which ``entries`` holds the entries from ``first`` on. ``shapes``
    are those of the whole lists. ``first`` is where the loop begins to write.
    """
    length = shapes[0][0]
    block = math.isqrt(length - 1) + 1
    parts = [np.zeros([block, *shape[1:]], np.float32) for shape in shapes]
    whole = [np.zeros([block * math.ceil(length / block) + first, *shape[1:]], np.float32) for shape in shapes]

    def merged(others: Sequence[Any], entries: Sequence[Any], start: Any) -> list[Any]:
        made = list(loop.values)
        for place, value in zip(loop.others, others, strict=True):
            made[place] = value
        for place, value in zip(loop.lists, entries, strict=True):
            made[place] = empty(block, start, value)
        return made

    def split(carried: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        return carried[: len(loop.others)], carried[len(loop.others) :]

    def fill(start: Any, *carried: Any) -> list[Any]:
        others, lists = split(carried)

        def going(turn: Any, *inner: Any) -> Any:
            return tf.logical_and(turn < block, loop.cond(*merged(*split(inner), start))[0])

        def turn_once(turn: Any, *inner: Any) -> list[Any]:
            made = loop.body(*merged(*split(inner), start))
            return [turn + 1, *(made[place] for place in loop.others), *(made[place].entries for place in loop.lists)]

        _, *ended = tf.while_loop(going, turn_once, [0, *others, *map(tf.constant, parts)], parallel_iterations=1)
        others, filled = split(ended)
        lists = [_put(values, start, part) for values, part in zip(lists, filled, strict=True)]
        return [start + block, *others, *lists]

    begin = [first, *(tf.convert_to_tensor(loop.values[place]) for place in loop.others), *map(tf.constant, whole)]
    going = lambda start, *carried: loop.cond(*merged(*split(carried), start))[0]  # noqa: E731
    _, *ended = tf.while_loop(going, fill, begin, parallel_iterations=1)
    others, lists = split(ended)
    return merged(others, [values[:length] for values in lists], 0)


def _put(values: Any, start: Any, part: Any) -> Any:
    from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_dynamic_update_slice

    starts = tf.concat([tf.reshape(start, [1]), tf.zeros([len(part.shape) - 1], tf.int32)], 0)
    return xla_dynamic_update_slice(input=values, update=part, indices=starts)
