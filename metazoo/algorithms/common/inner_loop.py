"""The inner step, written once: training, evaluation and export all adapt through this function.

It is written for *one* task; callers loop over tasks (``tf.map_fn``). That is faster than all tasks side by side,
because one task's activations fit in the processor's cache.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from metazoo import axes, losses
from metazoo.policies.distributions import Parameters
from metazoo.policies.policy import Policy
from metazoo.rollouts import returns
from metazoo.types import Episodes

SURROGATES = ("policy_gradient", "likelihood_ratio")
"""The inner losses to choose from; a supervised family's is that of ``supervised_loss``."""


class Samples(NamedTuple):
    """The steps of a task's episodes side by side: ``[M, N, ...]`` with ``N = T·E``, or ``[N, ...]`` of one task.

    ``old`` are the distribution parameters of the policy that played them, where a loss refers to it.
    """

    observations: tf.Tensor
    actions: tf.Tensor
    advantages: tf.Tensor
    mask: tf.Tensor
    old: Parameters = {}


def samples(episodes: Episodes, gamma: float, lam: float, horizon: int, normalised: bool = True) -> Samples:
    """Flattens time-major episodes task by task, with advantages normalised over each task's valid steps or raw.

    ``horizon`` is the family's: recorded episodes may be padded to another length.
    """
    advantages = returns.advantages(episodes, gamma, lam, horizon)
    if normalised:
        advantages = returns.normalise(advantages, episodes.mask, [0, 2])
    fields = (episodes.observations, episodes.actions, advantages, episodes.mask)
    return Samples(*(_by_task(field) for field in fields))


def shots(episodes: Episodes) -> Samples:
    """Time-major episodes of a supervised family, task by task; there is nothing to be gained, so no advantages."""
    fields = (episodes.observations, episodes.actions, tf.zeros_like(episodes.mask), episodes.mask)
    return Samples(*(_by_task(field) for field in fields))


def supervised_loss(policy: Policy) -> str:
    """The kind of ``surrogate`` of supervised families: targets are numbers or labels."""
    return "mse" if policy.distribution.kind == "gaussian" else "cross_entropy"


def judging_loss(policy: Policy, probabilistic: bool) -> str:
    """The kind of ``surrogate`` that judges predictions after the inner steps: −log p where they are distributions.

    The inner steps themselves stay with ``supervised_loss``: the gradient of −log p grows as predictions become
    certain, by 1/scale², and a step size that fits the first examples of a task does not fit later ones.
    """
    return "log_loss" if probabilistic else supervised_loss(policy)


def rescale(rounds: list[Samples]) -> list[Samples]:
    """Raw advantages divided by their root mean square over all rounds and tasks.

    Unlike normalising each task's, this keeps what one round or task can still gain in proportion to the others.
    """
    square = sum(tf.reduce_sum(batch.advantages**2) for batch in rounds)
    count = sum(tf.reduce_sum(tf.cast(batch.mask, square.dtype)) for batch in rounds)
    scale = tf.sqrt(square / tf.maximum(count, 1.0)) + 1e-6
    return [batch._replace(advantages=batch.advantages / scale) for batch in rounds]


def surrogate(
    policy: Policy, weights: tf.Tensor, batch: Samples, kind: str, clip: float = 0.0
) -> tuple[tf.Tensor, Parameters]:
    """A loss (a scalar) of weights ``[P]``, and the distribution parameters it came from.

    ``kind`` is ``policy_gradient``, ``likelihood_ratio``, ``clipped_ratio`` (with ``clip``), or ``mse``,
    ``cross_entropy`` or ``log_loss`` (of distributions over numbers), whose targets are the actions. A ratio is taken
    to ``batch.old``, or where that is empty to the weights themselves.
    """
    parameters = policy.apply(weights, tf.cast(batch.observations, weights.dtype))
    if kind == "mse":
        return losses.squared_error(parameters["loc"], batch.actions, batch.mask), parameters
    log_probs = policy.distribution.log_prob(parameters, batch.actions)
    if kind in ("cross_entropy", "log_loss"):
        return losses.cross_entropy(log_probs, batch.mask), parameters
    advantages = tf.cast(batch.advantages, weights.dtype)
    if kind == "policy_gradient":
        return losses.policy_gradient(log_probs, advantages, batch.mask), parameters
    old = policy.distribution.log_prob(batch.old, batch.actions) if batch.old else log_probs
    if kind == "clipped_ratio":
        return losses.clipped_ratio(log_probs, old, advantages, batch.mask, clip), parameters
    return losses.likelihood_ratio(log_probs, old, advantages, batch.mask), parameters


def adapt(
    policy: Policy,
    weights: tf.Tensor,
    step_sizes: tf.Tensor,
    batch: Samples,
    kind: str,
    first_order: bool = False,
    frozen: int = 0,
) -> tuple[tf.Tensor, tf.Tensor, Parameters]:
    """One gradient step: θ' = θ − α ∘ ∇L(θ; D) (Finn et al. 2017, equation 1; Li et al. 2017 for a vector α).

    ``weights [P]``; ``step_sizes`` broadcasts against them. The first ``frozen`` weights stay as they are (Raghu et al.
    2020). Differentiable in both, through the gradient itself unless ``first_order``. Returns the new weights, the loss
    before the step, and the parameters before it.
    """
    slope, loss, parameters = gradient(policy, weights, batch, kind, frozen)
    if first_order:
        slope = tf.stop_gradient(slope)
    if not frozen:
        return weights - step_sizes * slope, loss, parameters
    return tf.concat([weights[:frozen], weights[frozen:] - step_sizes * slope], 0), loss, parameters


def gradient(
    policy: Policy, weights: tf.Tensor, batch: Samples, kind: str, frozen: int = 0
) -> tuple[tf.Tensor, tf.Tensor, Parameters]:
    """∇L of the weights ``[P]`` without the first ``frozen`` of them, the loss, and the distribution parameters."""
    body, moving = weights[:frozen], weights[frozen:] if frozen else weights
    with tf.GradientTape() as tape:
        tape.watch(moving)
        whole = tf.concat([body, moving], 0) if frozen else moving
        loss, parameters = surrogate(policy, whole, batch, kind)
    return tape.gradient(loss, moving), loss, parameters


def row_of(sizes: tf.Tensor, made: tf.Tensor) -> tf.Tensor:
    """The step sizes ``[C]`` of the inner step that follows ``made`` earlier ones: that row of ``[R, C]``, or the last.

    Not ``sizes[made]``: the gradient of a slice needs its position at compile time, so XLA would compile every update.
    """
    row = tf.minimum(tf.cast(made, tf.int32), sizes.shape[0] - 1)
    return tf.linalg.matvec(sizes, tf.one_hot(row, sizes.shape[0], dtype=sizes.dtype), transpose_a=True)


def divergence(policy: Policy, before: Parameters, after: tf.Tensor, batch: Samples) -> tf.Tensor:
    """KL(before ‖ after), averaged over the valid steps; ``after`` are weights ``[P]``."""
    return kl(policy, before, policy.apply(after, tf.cast(batch.observations, after.dtype)), batch.mask)


def kl(policy: Policy, before: Parameters, after: Parameters, mask: tf.Tensor) -> tf.Tensor:
    """KL(before ‖ after) of distribution parameters ``[N, ...]``, averaged over the valid steps."""
    return losses.masked_mean(policy.distribution.of(before).kl_divergence(policy.distribution.of(after)), mask)


def gradient_over_tasks(loss: Callable[[Any], tf.Tensor], weights: list[tf.Tensor], batches: Any) -> Any:
    """(mean over tasks of ``loss``, its gradient with respect to ``weights``), one task after another.

    ``batches`` is a nest of tensors ``[M, ...]``; ``loss`` gets one task's part of it and returns a scalar.
    """
    tasks = tf.nest.flatten(batches)[0].shape[0]

    def body(task, total, gradients):
        one = tf.nest.map_structure(lambda field: field[task], batches)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            part = loss(one) / tasks
        parts = tape.gradient(part, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return task + 1, total + part, [a + b for a, b in zip(gradients, parts, strict=True)]

    zero = (tf.constant(0), tf.zeros([], weights[0].dtype), [tf.zeros_like(tensor) for tensor in weights])
    _, total, gradients = tf.while_loop(lambda task, *_: task < tasks, body, zero, parallel_iterations=1)
    return total, gradients


def policy_gradient(policy: Policy, weights: tf.Tensor, batch: Samples, entropy: float) -> tf.Tensor:
    """The outer loss on one task's samples: −mean(log π · A) − ``entropy`` · H(π)."""
    return outer_loss(policy, weights, batch, "policy_gradient", entropy)


def outer_loss(
    policy: Policy, weights: tf.Tensor, batch: Samples, kind: str, entropy: float, clip: float = 0.0
) -> tf.Tensor:
    """``surrogate`` − ``entropy`` · H(π) on one task's samples."""
    loss, parameters = surrogate(policy, weights, batch, kind, clip)
    if entropy:
        loss -= entropy * losses.masked_mean(policy.distribution.of(parameters).entropy(), batch.mask)
    return loss


def _by_task(field: tf.Tensor) -> tf.Tensor:
    """``[T, M, E, ...] → [M, T·E, ...]``."""
    return axes.merge(axes.turn(field, 1, 0, 2), 1)
