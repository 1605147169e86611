"""How a batch of samples becomes new meta-variables: what direction to take, and how it is applied.

A value that a learner holds, so that MAML on the policy gradient, on PPO's ratio and on TRPO's constraint are one
learner with another outer step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from metazoo.algorithms.common.inner_loop import gradient_over_tasks

OfTask = Callable[[list[tf.Tensor], Any], tf.Tensor]
"""``(weights, one task's part of the batch) → scalar``."""
Direction = tuple[list[tf.Tensor], dict[str, tf.Tensor]]
"""What to descend along, a tensor for each weight, and scalar metrics."""


class OuterStep(NamedTuple):
    """``direction(loss, divergence, weights, batch)``, averaged over the tasks ``[M, ...]`` of the batch, and
    ``apply(optimizer, direction, variables)``."""

    direction: Callable[[OfTask, OfTask, list[tf.Tensor], Any], Direction]
    apply: Callable[[Any, list[tf.Tensor], list[Any]], None]


def descent(clip_norm: float = 0.0) -> OuterStep:
    """The loss's gradient, of a norm of at most ``clip_norm`` (0: as it is), applied by the optimizer."""

    def direction(loss: OfTask, _divergence: OfTask, weights: list[tf.Tensor], batch: Any) -> Direction:
        value, gradients = gradient_over_tasks(lambda one: loss(weights, one), weights, batch)
        gradients, norm = clip(gradients, clip_norm)
        return gradients, {"loss": value, "gradient_norm": norm}

    return OuterStep(direction, optimize)


def optimize(optimizer: Any, gradients: list[tf.Tensor], variables: list[Any]) -> None:
    """Applies gradients by the Keras ``optimizer``."""
    optimizer.apply(gradients, variables)


def clip(gradients: list[tf.Tensor], norm: float) -> tuple[list[tf.Tensor], tf.Tensor]:
    """The gradients scaled down to a global norm of at most ``norm`` (0: as they are), and their norm before."""
    before = tf.linalg.global_norm(gradients)
    return (tf.clip_by_global_norm(gradients, norm, before)[0] if norm else gradients), before
