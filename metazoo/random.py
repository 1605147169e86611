"""A counter-based random number generator: every draw is a pure, elementwise function of a uint32 key.

TensorFlow's stateless generators are slow under XLA on the CPU, differ between graph and XLA, and have no
``vectorized_map`` converter. Here a key is hashed into 32 bits with integer operations only, so eager, graph and XLA
draw the same bits, each row has its own stream, and generation fuses into whatever uses it. Normals come from a table
of quantiles (two look-ups and an addition), so they too are bit-equal; so are scaled uniforms (see ``uniform``).

Seeds and keys have 32 bits: two streams among n coincide with probability n²/2³³, so give streams to rows and derive
steps and purposes from them, and keep seeds below 2³².

Use: ``key(seed)`` makes a key, ``fold(key, data)`` derives one for a row, a step or a purpose, ``spread`` one per
component; ``uniform``, ``normal``, ``bernoulli``, ``categorical`` turn *each* key into *one* draw. Never draw twice
from a key: fold it first.
"""

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import tensorflow as tf

_GOLDEN = 0x9E3779B9
_SEED_OFFSET = 0x85EBCA6B
_TABLE_BITS = 12


def _mix(x: tf.Tensor) -> tf.Tensor:
    """A bijection of 32-bit words without visible bias: ``triple32`` from C. Wellons' hash prospector."""
    shift, xor = tf.bitwise.right_shift, tf.bitwise.bitwise_xor
    word = lambda value: tf.constant(value, tf.uint32)  # noqa: E731
    x = xor(x, shift(x, word(17))) * word(0xED5AD4BB)
    x = xor(x, shift(x, word(11))) * word(0xAC4C1B51)
    x = xor(x, shift(x, word(15))) * word(0x31848BAB)
    return xor(x, shift(x, word(14)))


def _word(data) -> tf.Tensor:
    """Any integer tensor as uint32, negative numbers wrapped."""
    if isinstance(data, int):
        return tf.constant(data & 0xFFFFFFFF, tf.uint32)
    data = tf.convert_to_tensor(data)
    return tf.bitcast(data, tf.uint32) if data.dtype == tf.int32 else tf.cast(data, tf.uint32)


def key(seed) -> tf.Tensor:
    """A uint32 key from an integer or an integer tensor of any shape; the low 32 bits count.

    Mixed twice, and not as ``fold`` mixes its data: otherwise ``fold(key(a), b)`` would equal ``fold(key(b), a)``.
    """
    return _mix(_mix(_word(seed) + tf.constant(_SEED_OFFSET, tf.uint32)))


def fold(key: tf.Tensor, data) -> tf.Tensor:
    """The key for ``data`` (an integer or an integer tensor, broadcast) under ``key``."""
    return _mix(tf.bitwise.bitwise_xor(key, _mix(_word(data) + tf.constant(_GOLDEN, tf.uint32))))


def spread(key: tf.Tensor, *shape: int) -> tf.Tensor:
    """Keys ``[..., *shape]``, one per component, from keys ``[...]``."""
    count = math.prod(shape)
    parts = fold(tf.expand_dims(key, -1), tf.range(count, dtype=tf.int32))
    return parts if len(shape) == 1 else tf.reshape(parts, tf.concat([tf.shape(key), shape], 0))


def uniform(key: tf.Tensor, low=0.0, high=1.0) -> tf.Tensor:
    """float32 in [low, high), one per key, from the key's upper 24 bits; rounding may reach ``high`` of a scaled draw.

    ``low <= high`` are numbers or float32 tensors that broadcast against the keys.
    """
    bits = tf.bitwise.right_shift(key, tf.constant(8, tf.uint32))
    if isinstance(low, float | int) and isinstance(high, float | int) and (low, high) == (0, 1):
        return tf.cast(bits, tf.float32) * 2.0**-24
    # in float64 the product is exact, so it rounds the same whether or not XLA fuses it with the sum
    low, high = (tf.cast(tf.cast(bound, tf.float32), tf.float64) for bound in (low, high))
    return tf.cast(low + (high - low) * (tf.cast(bits, tf.float64) * 2.0**-24), tf.float32)


def integers(key: tf.Tensor, high: int) -> tf.Tensor:
    """int32 in [0, high), one per key; exact to 2⁻²⁴ in probability, so for small ranges."""
    return tf.minimum(tf.cast(uniform(key) * float(high), tf.int32), high - 1)


def bernoulli(key: tf.Tensor, probability) -> tf.Tensor:
    """bool, True with the given probability, one per key."""
    return uniform(key) < probability


def normal(key: tf.Tensor) -> tf.Tensor:
    """Standard normal float32, one per key; the tails end at 5.2 standard deviations."""
    table = tf.constant(_normal_table())
    low = tf.cast(tf.bitwise.bitwise_and(key, tf.constant((1 << _TABLE_BITS) - 1, tf.uint32)), tf.int32)
    high = tf.cast(tf.bitwise.right_shift(key, tf.constant(32 - _TABLE_BITS, tf.uint32)), tf.int32)
    return tf.gather(table, low) + tf.gather(table, high)


def categorical(key: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """int32 index ``[...]`` distributed as softmax(``logits [..., n]``), one per key, by the inverse CDF."""
    cumulative = tf.cumsum(tf.nn.softmax(logits), axis=-1)
    below = tf.cast(cumulative[..., :-1] <= uniform(key)[..., None], tf.int32)
    return tf.reduce_sum(below, axis=-1)


@cache
def _normal_table() -> np.ndarray:
    """Means of the normal law over 2¹² bins of equal probability, scaled so that a sum of two has unit variance."""
    edges = [NormalDist().inv_cdf(i / 2**_TABLE_BITS) for i in range(1, 2**_TABLE_BITS)]
    density = np.array([0.0, *(NormalDist().pdf(edge) for edge in edges), 0.0])
    means = (density[:-1] - density[1:]) * 2**_TABLE_BITS
    return (means / np.sqrt(2 * np.mean(means**2))).astype(np.float32)
