"""Gamma, Beta and Dirichlet draws from the keys of ``metazoo.random``: NumPy arrays out, one draw per key.

Compiled, because a Thompson sampler draws every arm of every instance before every pull.
"""

import numpy as np
import tensorflow as tf

from metazoo import random


def gamma(key: tf.Tensor, shape: np.ndarray) -> np.ndarray:
    """Gamma(``shape``, 1) draws, float32, for keys and parameters (at least 1) of one shape.

    The rejection method of Marsaglia and Tsang (2000): at least 95 % are accepted at once, the few others go on alone.
    """
    keys, shapes = np.asarray(key).ravel(), np.asarray(shape, np.float32).ravel()
    value = _attempt(keys, shapes, 0).numpy()
    rejected = np.flatnonzero(value < 0.0)
    if rejected.size:
        # few sizes, so that little is compiled
        rejected = np.resize(rejected, 1 << (rejected.size - 1).bit_length())
        value[rejected] = _until_accepted(keys[rejected], shapes[rejected]).numpy()
    return value.reshape(np.shape(shape))


def beta(key: tf.Tensor, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Beta(a, b) draws, float32, for keys and parameters (at least 1) of one shape."""
    return dirichlet(key, np.stack([a, b], -1))[..., 0]


def dirichlet(key: tf.Tensor, a: np.ndarray) -> np.ndarray:
    """Dirichlet draws ``[..., n]``, float32, for keys ``[...]`` and parameters ``a [..., n]``, at least 1 each."""
    parts = gamma(random.spread(key, a.shape[-1]), a)
    return parts / parts.sum(-1, keepdims=True)


def _try(key: tf.Tensor, shape: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """Attempt number ``t``: the draw, or −1 where it is rejected."""
    d = shape - 1.0 / 3.0
    normal = random.normal(random.fold(key, 2 * t))
    v = (1.0 + normal / (3.0 * tf.sqrt(d))) ** 3
    bound = 0.5 * normal**2 + d * (1.0 - v + tf.math.log(tf.maximum(v, 1e-30)))
    accepted = (v > 0.0) & (tf.math.log(random.uniform(random.fold(key, 2 * t + 1))) < bound)
    return tf.where(accepted, d * v, -1.0)


_attempt = tf.function(_try, jit_compile=True, autograph=False)


@tf.function(jit_compile=True, autograph=False)
def _until_accepted(key: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Attempts from number 1 until every draw is accepted."""

    def again(t, value):
        return t + 1, tf.where(value < 0.0, _try(key, shape, t), value)

    start = tf.constant(1), tf.fill(tf.shape(shape), -1.0)
    return tf.while_loop(lambda t, value: tf.reduce_any(value < 0.0), again, start, parallel_iterations=1)[1]
