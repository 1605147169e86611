"""What rollouts and evaluation need of a policy, whatever it is; and a policy that acts at random."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from metazoo import random
from metazoo.rollouts.graph import Step
from metazoo.tasks.host_family import AnyFamily
from metazoo.types import Discrete, Episodes, MultiDiscrete, StepOutputs


class Agent(NamedTuple):
    """What evaluation needs of a policy: three functions on tensors, in the shapes of training."""

    initial_memory: Callable[[], tf.Tensor]
    """→ ``[S]``."""
    step: Step
    adapt: Callable[[tf.Tensor, Episodes], tf.Tensor]
    """``(memory [M, E', S], time-major episodes) → memory``."""
    online: bool = False
    """Whether ``step`` changes the memory."""


def random_agent(family: AnyFamily) -> Agent:
    """Uniformly random actions, the floor of every comparison."""
    space = family.action_space

    def step(inputs, memory, key, deterministic):
        if isinstance(space, Discrete):
            actions = random.integers(key, space.n) + space.start
        elif isinstance(space, MultiDiscrete):
            parts = [random.integers(random.fold(key, i), size) for i, size in enumerate(space.nvec)]
            actions = tf.stack(parts, -1) + space.start
        else:
            actions = random.uniform(random.spread(key, *space.shape), space.low, space.high)
        return StepOutputs(actions, {}, tf.zeros(tf.shape(key)), memory)

    return Agent(lambda: tf.zeros([0]), step, lambda memory, episodes: memory)
