"""How a policy chooses actions, whatever trained it."""

from typing import Any

import tensorflow as tf

from metazoo.policies.distributions import Parameters
from metazoo.policies.policy import Policy
from metazoo.types import StepOutputs


def choose(distribution: Any, parameters: Parameters, key: tf.Tensor, deterministic: Any, rank: int) -> tf.Tensor:
    """Actions ``[M, E, ...]`` with ``rank`` axes of their own, one per key: samples, or modes if ``deterministic``.

    ``deterministic`` is a bool, or a bool tensor like ``key [M, E]``.
    """
    if deterministic is True:
        return distribution.mode(parameters)
    actions = distribution.sample(parameters, key)
    if deterministic is False:
        return actions
    for _ in range(rank):
        deterministic = deterministic[..., None]
    return tf.where(deterministic, distribution.mode(parameters), actions)


def act(
    policy: Policy, weights: tf.Tensor, observations: tf.Tensor, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
) -> StepOutputs:
    """Acts on ``observations [M, E, ...]`` with weights ``[M, P]``, or ``[P]`` for all; memory passes through."""
    distribution = policy.distribution
    parameters = policy.apply(weights, observations)
    actions = choose(distribution, parameters, key, deterministic, len(policy.action_space.shape))
    return StepOutputs(actions, parameters, distribution.log_prob(parameters, actions), memory)
