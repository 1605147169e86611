"""Cells that are linear in their state, unrolled: minGRU (Feng et al. 2024, arXiv 2410.01201, section 3.1).

    h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ h̃_t,    z_t = σ(W_z x_t),  h̃_t = W_h x_t

Gates and new values of all steps are one matrix product, and so are the kernels' gradients. What is left for the loop
over time is a product and a sum for each number of the state: ``scan``, whose gradient is a scan backwards.
"""

from typing import Any

import tensorflow as tf


def unroll(kernels: Any, features: tf.Tensor, state: tf.Tensor, mask: tf.Tensor, truncation: int = 0) -> tf.Tensor:
    """As ``cells.unroll``: states ``[L, B, U]``. What is fed to all steps, ``[L, B, 2U]``, is kept in memory."""
    rows = tf.matmul(tf.reshape(features, [-1, features.shape[-1]]), kernels.inputs) + kernels.input_bias
    write, new = tf.split(tf.reshape(rows, tf.concat([tf.shape(features)[:2], [rows.shape[-1]]], 0)), 2, -1)
    write = tf.sigmoid(write) * tf.cast(mask, rows.dtype)[..., None]
    return scan(1.0 - write, write * new, state, truncation)


def scan(keep: tf.Tensor, terms: tf.Tensor, start: tf.Tensor, truncation: int = 0) -> tf.Tensor:
    """``h_t = keep_t ⊙ h_{t−1} + terms_t`` for t = 1 … L, ``[L, B, U]``, from ``start [B, U]``.

    With a ``truncation`` gradients do not go back beyond the beginning of each block of so many steps.
    """

    @tf.custom_gradient
    def run(keep, terms, start):
        states = _forwards(keep, terms, start)

        def gradients(upstream):
            decay = tf.concat([keep[1:], tf.zeros_like(keep[:1])], 0)
            if truncation:
                last = tf.range(1, tf.shape(keep)[0] + 1) % truncation == 0
                decay *= 1.0 - tf.cast(last, keep.dtype)[:, None, None]
            backwards = tf.reverse(decay, [0]), tf.reverse(upstream, [0])
            total = tf.reverse(_forwards(*backwards, tf.zeros_like(start)), [0])
            before = tf.concat([start[None], states[:-1]], 0)
            return total * before, total, tf.zeros_like(start) if truncation else keep[0] * total[0]

        return states, gradients

    return run(keep, terms, start)


def _forwards(keep: tf.Tensor, terms: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    steps = tf.shape(keep)[0]
    array = tf.TensorArray(keep.dtype, steps, element_shape=start.shape)

    def body(t, state, keep_now, term_now, states):
        state = keep_now * state + term_now
        following = tf.minimum(t + 1, steps - 1)  # carried over: see ``cells``
        return t + 1, state, keep[following], terms[following], states.write(t, state)

    begin = (tf.constant(0), start, keep[0], terms[0], array)
    *_, array = tf.while_loop(lambda t, *_: t < steps, body, begin, parallel_iterations=1)
    states = array.stack()
    states.set_shape([keep.shape[0], *start.shape])
    return states
