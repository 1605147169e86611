"""Axes turned, merged and appended, in one place: between time-major tensors, as training has them, and batch-first
ones, as the export's boundary has them."""

from typing import Any

import tensorflow as tf

from metazoo.types import Episodes


def turn(field: tf.Tensor, *order: int) -> tf.Tensor:
    """The first axes in another ``order``; those behind stay where they are."""
    return tf.transpose(field, [*order, *range(len(order), field.shape.rank)])


def merge(field: tf.Tensor, axis: int) -> tf.Tensor:
    """``axis`` and the next one as one: with ``axis=0``, ``[A, B, ...] → [A·B, ...]``. Known sizes stay known."""
    sizes, known = tf.shape(field), field.shape
    flat = tf.reshape(field, tf.concat([sizes[:axis], [sizes[axis] * sizes[axis + 1]], sizes[axis + 2 :]], 0))
    both = None if None in known[axis : axis + 2] else known[axis] * known[axis + 1]
    flat.set_shape([*known[:axis], both, *known[axis + 2 :]])
    return flat


def like(flags: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """``flags`` with axes appended to broadcast against ``value``, whose first axes they share."""
    for _ in range(value.shape.rank - flags.shape.rank):
        flags = flags[..., None]
    return flags


def where(flags: tf.Tensor, new: Any, old: Any) -> Any:
    """Entries of ``new`` where ``flags``, else of ``old``: nests of tensors whose first axes are those of ``flags``."""
    return tf.nest.map_structure(lambda one, other: tf.where(like(flags, one), one, other), new, old)


def time_major(episodes: Episodes) -> Episodes:
    """``[B, K, T, ...] → [T, B, K, ...]``; final observations have no T."""
    return _turned(episodes, 2, 0, 1)


def batch_major(episodes: Episodes) -> Episodes:
    """``[T, B, K, ...] → [B, K, T, ...]``; final observations have no T."""
    return _turned(episodes, 1, 2, 0)


def _turned(episodes: Episodes, *order: int) -> Episodes:
    fields = episodes._asdict().items()
    return Episodes(**{name: field if name == "final_observations" else turn(field, *order) for name, field in fields})
