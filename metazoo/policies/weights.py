"""Between a list of weight tensors and one flat vector, the form in which a policy's memory carries them."""

import math
from collections.abc import Sequence

import tensorflow as tf

Tensors = Sequence[tf.Tensor]
Shapes = tuple[tuple[int, ...], ...]


def flatten(weights: list[tf.Tensor]) -> tf.Tensor:
    """Tensors of any shapes → ``[P]``."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in weights], 0)


def unflatten(flat: tf.Tensor, shapes: Shapes) -> list[tf.Tensor]:
    """``[..., P]`` → tensors ``[..., *shape]``."""
    sizes = [math.prod(shape) for shape in shapes]
    lead = tf.shape(flat)[:-1]
    static = flat.shape[:-1]
    parts = []
    for part, shape in zip(tf.split(flat, sizes, axis=-1), shapes, strict=True):
        tensor = tf.reshape(part, tf.concat([lead, shape], 0))
        tensor.set_shape(static.concatenate(shape))
        parts.append(tensor)
    return parts
