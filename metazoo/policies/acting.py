"""How a feed-forward policy acts, whatever trained it."""

from typing import Any

import tensorflow as tf

from metazoo.policies.policy import Policy
from metazoo.types import StepOutputs


def act(
    policy: Policy, weights: tf.Tensor, observations: tf.Tensor, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
) -> StepOutputs:
    """Acts on ``observations [M, E, ...]`` with weights ``[M, P]``, or ``[P]`` for all; memory passes through.

    ``deterministic`` (a bool, or a bool tensor like ``key [M, E]``) asks for the mode instead of a sample.
    """
    distribution = policy.distribution
    parameters = policy.apply(weights, observations)
    if deterministic is True:
        actions = distribution.mode(parameters)
    else:
        actions = distribution.sample(parameters, key)
        if deterministic is not False:
            greedy = deterministic
            for _ in policy.action_space.shape:
                greedy = greedy[..., None]
            actions = tf.where(greedy, distribution.mode(parameters), actions)
    return StepOutputs(actions, parameters, distribution.log_prob(parameters, actions), memory)
