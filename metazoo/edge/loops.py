"""Loops and tensor lists with fixed shapes: lists are plain tensors, and what a loop leaves alone is no part of it."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf


class ListOf(NamedTuple):
    """A tensor list of ``length`` entries; ``entries [length, ...]`` is None while nobody has written one."""

    length: int
    entries: Any = None

    def at(self, index: Any) -> Any:
        return take(self.entries, index)

    def with_entry(self, index: Any, item: Any) -> "ListOf":
        if self.length == 1:
            return ListOf(1, tf.expand_dims(item, 0))
        entries = self.entries
        if entries is None:
            entries = np.zeros([self.length, *item.shape], item.dtype.as_numpy_dtype)
        return ListOf(self.length, put(entries, index, item))


def take(values: Any, index: Any) -> Any:
    """``values[index]``."""
    if isinstance(values, np.ndarray) and isinstance(index, np.ndarray):
        return np.asarray(values[int(index)])
    return tf.reshape(values, values.shape[1:]) if values.shape[0] == 1 else tf.gather(values, index)


def put(values: Any, index: Any, item: Any) -> Any:
    """``values [n, ...]`` with ``item [...]`` at ``index``, by an operation of LiteRT that copies nothing else."""
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
