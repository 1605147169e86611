"""Running means and variances of what a policy is told, learned in training and fixed afterwards.

They are weights like any other (``[3, D]``: means, variances, how many steps), so they are kept with the best weights,
checkpointed and exported; but no gradient moves them.
"""

from typing import Final

import numpy as np
import tensorflow as tf

BOUND: Final = 10.0
"""Standard deviations after which a value is cut: what was never seen in training must not saturate everything."""
SMALLEST: Final = 1e-4
"""Least standard deviation that values are divided by, so that what never changes is not blown up."""


def first(size: int) -> np.ndarray:
    """Statistics ``[3, size]`` that change nothing: mean 0, variance 1, no step seen."""
    return np.stack([np.zeros(size), np.ones(size), np.zeros(size)]).astype(np.float32)


def normalised(statistics: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """``values [..., D]`` less their means, in standard deviations, at most ``BOUND`` of them."""
    mean, variance, _ = tf.unstack(tf.stop_gradient(statistics))
    return tf.clip_by_value((values - mean) / tf.maximum(tf.sqrt(variance), SMALLEST), -BOUND, BOUND)


def updated(statistics: tf.Tensor, values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The statistics after ``values [..., D]`` too, where ``mask [...]`` is 1.

    Means and variances of two samples put together (Chan, Golub & LeVeque 1979, equations 1.4 and 1.5).
    """
    mean, variance, count = tf.unstack(statistics)
    weights = tf.cast(mask, values.dtype)[..., None]
    axes = list(range(values.shape.rank - 1))
    new = tf.reduce_sum(weights, axes)
    new_mean = tf.reduce_sum(weights * values, axes) / tf.maximum(new, 1.0)
    new_variance = tf.reduce_sum(weights * (values - new_mean) ** 2, axes) / tf.maximum(new, 1.0)
    total = tf.maximum(count + new, 1.0)
    share, gap = new / total, new_mean - mean
    merged = variance * (1.0 - share) + new_variance * share + gap**2 * share * (1.0 - share)
    return tf.stack([mean + gap * share, tf.where(count + new > 0.0, merged, variance), count + new])
