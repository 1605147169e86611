"""Trials as the sequences that a recurrent policy is told, step by step."""

from typing import NamedTuple

import tensorflow as tf

from metazoo import axes
from metazoo.types import Episodes, StepInputs


class Sequence(NamedTuple):
    """A trial's ``L = K·(T + 1)`` steps: of each episode its T steps, padding included, then the closing one."""

    inputs: StepInputs
    """``[L, M, ...]``"""
    told: tf.Tensor
    """``[L, M]``: 1.0 on steps that change the memory, played and closing ones."""
    played: tf.Tensor
    """``[L, M]``: 1.0 on steps whose action was taken."""
    actions: tf.Tensor
    rewards: tf.Tensor


def as_sequence(episodes: Episodes) -> Sequence:
    """Time-major episodes ``[T, M, K, ...]``, played one after another, as one sequence.

    An episode without any step (padding of the whole episode) gets no closing step either.
    """
    mask = episodes.mask
    last = mask - tf.concat([mask[1:], tf.zeros_like(mask[:1])], 0)

    def at_end(field: tf.Tensor) -> tf.Tensor:
        """The entry of each episode's last step, ``[M, K, ...]``."""
        weights = axes.like(tf.cast(last, field.dtype), field)
        return tf.reduce_sum(field * weights, 0)

    def shifted(field: tf.Tensor) -> tf.Tensor:
        """``previous_*``: nothing at an episode's start, what it ended with at the closing step."""
        return tf.concat([tf.zeros_like(field[:1]), field[:-1], at_end(field)[None]], 0)

    closing = tf.reduce_max(mask, 0, keepdims=True)
    nothing = tf.zeros_like(closing)
    inputs = StepInputs(
        tf.concat([episodes.observations, episodes.final_observations[None]], 0),
        shifted(episodes.actions),
        shifted(episodes.rewards),
        tf.concat([tf.zeros_like(mask, tf.bool), closing > 0], 0),
    )
    actions = tf.concat([episodes.actions, episodes.actions[:1]], 0)  # zeros are no action of every space
    rewards = tf.concat([episodes.rewards, nothing], 0)
    whole = Sequence(inputs, tf.concat([mask, closing], 0), tf.concat([mask, nothing], 0), actions, rewards)
    return tf.nest.map_structure(_in_order, whole)


def _in_order(field: tf.Tensor) -> tf.Tensor:
    """``[T + 1, M, K, ...] → [K·(T + 1), M, ...]``."""
    return axes.merge(axes.turn(field, 2, 0, 1), 0)
