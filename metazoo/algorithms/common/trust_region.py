"""The outer step of TRPO (Schulman et al. 2015, arXiv 1502.05477, appendix C): as far as a KL constraint lets it.

θ ← θ − 2⁻ʲ √(2δ / xᵀHx) x,   Hx = g,

with g the gradient of the loss, H the Hessian of the mean KL between the policies that played and those of θ, and the
smallest j for which the loss falls and the KL stays within δ. x comes from conjugate gradients, which need H only in
products: Hv = ∇(∇KL · v). Both functions may contain inner steps; then all derivatives go through them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from metazoo.algorithms.common.inner_loop import gradient_over_tasks
from metazoo.algorithms.common.outer_step import Direction, OfTask, OuterStep
from metazoo.policies.weights import flatten, unflatten


class TrustRegion(NamedTuple):
    """``radius``: δ. ``damping`` is added to H's diagonal; ``iterations`` of conjugate gradients; halvings at most."""

    radius: float
    damping: float
    iterations: int
    halvings: int = 15


def outer_step(region: TrustRegion) -> OuterStep:
    """TRPO's step as a learner takes it: finished, so that an optimizer has nothing to add but to count it."""
    return OuterStep(partial(step, region=region), subtract)


def subtract(optimizer: Any, change: list[tf.Tensor], variables: list[Any]) -> None:
    """Makes a finished step."""
    for variable, part in zip(variables, change, strict=True):
        variable.assign_sub(part)
    optimizer.iterations.assign_add(1)


def step(loss: OfTask, divergence: OfTask, weights: list[tf.Tensor], batch: Any, region: TrustRegion) -> Direction:
    """What to subtract from ``weights``, zeros where no step will do, and metrics.

    ``batch`` is a nest of tensors ``[M, ...]``; ``loss`` and ``divergence`` are averaged over its tasks.
    """
    shapes = tuple(tuple(tensor.shape) for tensor in weights)
    before, gradients = gradient_over_tasks(lambda one: loss(weights, one), weights, batch)
    slope = flatten(gradients)

    def curvature(vector: tf.Tensor) -> tf.Tensor:
        parts = unflatten(vector, shapes)

        def along(one: Any) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(weights)
                kl = divergence(weights, one)
            rises = tape.gradient(kl, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return tf.add_n([tf.reduce_sum(rise * part) for rise, part in zip(rises, parts, strict=True)])

        return flatten(gradient_over_tasks(along, weights, batch)[1]) + region.damping * vector

    direction = conjugate_gradients(curvature, slope, region.iterations)
    bend = tf.reduce_sum(direction * curvature(direction))
    longest = direction * tf.sqrt(2.0 * region.radius / tf.maximum(bend, 1e-12))

    def outcome(share: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        moved = [tensor - part for tensor, part in zip(weights, unflatten(share * longest, shapes), strict=True)]
        both = tf.map_fn(
            lambda one: (loss(moved, one), divergence(moved, one)), batch, fn_output_signature=(slope.dtype,) * 2
        )
        return tf.reduce_mean(both[0]), tf.reduce_mean(both[1])

    share, kl = _line_search(outcome, before, region)
    metrics = {"loss": before, "gradient_norm": tf.norm(slope), "outer_kl": kl, "step_share": share}
    return unflatten(share * longest, shapes), metrics


def conjugate_gradients(product: Callable[[tf.Tensor], tf.Tensor], target: tf.Tensor, iterations: int) -> tf.Tensor:
    """x with ``product(x) ≈ target [N]``, for a symmetric positive definite product, from x = 0."""

    def body(number, x, residual, direction, square):
        image = product(direction)
        size = square / tf.maximum(tf.reduce_sum(direction * image), 1e-30)
        x, residual = x + size * direction, residual - size * image
        after = tf.reduce_sum(residual**2)
        return number + 1, x, residual, residual + after / square * direction, after

    def unfinished(number, x, residual, direction, square):
        return (number < iterations) & (square > 1e-20)

    start = (tf.constant(0), tf.zeros_like(target), target, target, tf.reduce_sum(target**2))
    return tf.while_loop(unfinished, body, start, parallel_iterations=1)[1]


def _line_search(
    outcome: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], before: tf.Tensor, region: TrustRegion
) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest share 1, ½, ¼ … of the step whose outcome is good, or 0; and the KL there."""
    one, zero = tf.ones_like(before), tf.zeros_like(before)

    def body(number, share, _taken, _kl):
        loss, kl = outcome(share)
        good = (loss < before) & (kl <= region.radius)
        return number + 1, share / 2.0, tf.where(good, share, zero), tf.where(good, kl, zero)

    def searching(number, _share, taken, _kl):
        return (number <= region.halvings) & (taken <= 0.0)

    _, _, taken, kl = tf.while_loop(searching, body, (tf.constant(0), one, zero, zero), parallel_iterations=1)
    return taken, kl
