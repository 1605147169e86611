"""Loops and tensor lists with fixed shapes: lists are plain tensors, and what a loop leaves alone is no part of it."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo.edge import blocks


class ListOf(NamedTuple):
    """A tensor list of ``length`` entries; ``entries [length, ...]`` is None while nobody has written one.

    ``first``: of a block of a list, where in the list it begins. ``seen`` notes what is done to the list.
    """

    length: int
    entries: Any = None
    first: Any = 0
    seen: blocks.Writes | None = None

    def at(self, index: Any) -> Any:
        if self.seen is not None:
            self.seen.reads.append(index)
        return take(self.entries, self._place(index))

    def with_entry(self, index: Any, item: Any) -> "ListOf":
        if self.seen is not None:
            self.seen.indices.append(index)
        if self.length == 1:
            return ListOf(1, tf.expand_dims(item, 0))
        entries = self.entries
        if entries is None:
            entries = np.zeros([self.length, *item.shape], item.dtype.as_numpy_dtype)
        return self._replace(entries=put(entries, self._place(index), item))

    def _place(self, index: Any) -> Any:
        return index if isinstance(self.first, int) and self.first == 0 else index - self.first


def take(values: Any, index: Any) -> Any:
    """``values[index]``."""
    if isinstance(values, np.ndarray) and isinstance(index, np.ndarray):
        return np.asarray(values[int(index)])
    return tf.reshape(values, values.shape[1:]) if values.shape[0] == 1 else tf.gather(values, index)


def put(values: Any, index: Any, item: Any) -> Any:
    """``values [n, ...]`` with ``item [...]`` at ``index``, by an operation that LiteRT has."""
    from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_dynamic_update_slice

    starts = tf.concat([tf.reshape(index, [1]), tf.zeros([len(item.shape)], tf.int32)], 0)
    return xla_dynamic_update_slice(input=values, update=tf.expand_dims(item, 0), indices=starts)


def loop(cond: Callable[..., list[Any]], body: Callable[..., list[Any]], values: Sequence[Any]) -> list[Any]:
    """What a while loop makes of its ``values``. A loop whose end is known after one turn is unrolled.

    Only what the body changes is carried, so that constants stay constants inside it.
    """
    if not _known(cond(*values), True):
        return _carried(cond, body, list(values))
    after = body(*values)
    return after if _known(cond(*after), False) else _carried(cond, body, list(values), after)


def _known(answer: list[Any], expected: bool) -> bool:
    return isinstance(answer[0], np.ndarray) and bool(answer[0]) is expected


def _carried(cond: Any, body: Any, values: list[Any], after: list[Any] | None = None) -> list[Any]:
    after = body(*values) if after is None else after  # traced once to see what changes, and what lists hold
    changed = [place for place, (old, new) in enumerate(zip(values, after, strict=True)) if new is not old]
    if long := _long_lists(body, values, after):
        others = [place for place in changed if place not in long]
        shapes = [after[place].entries.shape for place in long]
        begun = blocks.Loop(cond, body, values, others, list(long))
        made = blocks.run(begun, lambda length, first, entries: ListOf(length, entries, first), shapes, 0)
        return [value._replace(length=value.entries.shape[0]) if isinstance(value, ListOf) else value for value in made]
    start = [_tensor(_filled(values[place], after[place])) for place in changed]
    types = [values[place].length if isinstance(values[place], ListOf) else None for place in changed]

    def merged(carried: Sequence[Any]) -> list[Any]:
        whole = list(values)
        for place, length, value in zip(changed, types, carried, strict=True):
            whole[place] = value if length is None else ListOf(length, value)
        return whole

    def turn(*carried: Any) -> list[Any]:
        made = body(*merged(carried))
        return [_tensor(made[place]) for place in changed]

    ended = tf.while_loop(lambda *carried: cond(*merged(carried))[0], turn, start, parallel_iterations=1)
    return merged(ended)


def _long_lists(body: Any, values: list[Any], after: list[Any]) -> list[int]:
    """The places of long lists that the loop fills from the first entry on and does not read."""
    long = [place for place, (old, new) in enumerate(zip(values, after, strict=True)) if _is_long(old, new)]
    if not long or any(isinstance(value, ListOf) and value.entries is None and place not in long
                       for place, value in enumerate(values)):  # fmt: skip
        return []
    seen = {place: blocks.Writes([], []) for place in long}
    watched = [old._replace(seen=seen[place]) if place in seen else old for place, old in enumerate(values)]
    second = body(*body(*watched))
    same = len({after[place].length for place in long}) == 1
    starts = all(one.in_order() and int(one.indices[0]) == 0 for one in seen.values())
    return long if same and starts and len(second) == len(values) else []


def _is_long(old: Any, new: Any) -> bool:
    if not isinstance(old, ListOf) or old.entries is not None or new.entries is None or new.entries.dtype != tf.float32:
        return False
    return 4 * math.prod(new.entries.shape) >= blocks.LONG


def _filled(value: Any, after: Any) -> Any:
    if isinstance(value, ListOf) and value.entries is None:
        return ListOf(value.length, np.zeros(after.entries.shape, after.entries.dtype.as_numpy_dtype))
    return value


def _tensor(value: Any) -> tf.Tensor:
    return tf.convert_to_tensor(value.entries if isinstance(value, ListOf) else value)


def _reserve(node: Any, shape: Any, length: Any) -> ListOf:
    return ListOf(int(length))


def _stack(node: Any, values: ListOf, shape: Any) -> Any:
    return values.entries


LISTS: Final[dict[str, Callable[..., Any]]] = {
    "TensorListReserve": _reserve,
    "TensorListFromTensor": lambda node, values, shape: ListOf(values.shape[0], values),
    "TensorListGetItem": lambda node, values, index, shape: values.at(index),
    "TensorListSetItem": lambda node, values, index, item: values.with_entry(index, tf.convert_to_tensor(item)),
    "TensorListStack": _stack,
}
