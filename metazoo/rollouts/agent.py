"""What rollouts and evaluation need of a policy, whatever it is; and a policy that acts at random."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from metazoo.rollouts.graph import Step
from metazoo.tasks.family import random_actions
from metazoo.tasks.host_family import AnyFamily
from metazoo.types import Episodes, StepOutputs


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
    """Random actions (``tasks.family.random_actions``), the floor of every comparison; of a ``probabilistic`` family a
    standard normal in its units, whatever is asked."""

    def step(inputs, memory, key, deterministic):
        actions = random_actions(family.action_space, key)
        known = {"loc": tf.zeros_like(actions), "scale": tf.ones_like(actions)} if family.probabilistic else {}
        return StepOutputs(actions, known, tf.zeros(tf.shape(key)), memory)

    return Agent(lambda: tf.zeros([0]), step, lambda memory, episodes: memory)
