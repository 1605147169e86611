"""Bandits with unknown arms, as in RL² (Duan et al. 2016, arXiv 1611.02779, section 3.1).

One episode is one trial: ``horizon`` pulls of the same arms. The observation is a constant; all there is to learn from
are the rewards of earlier pulls, so a policy without memory cannot do better than always pulling one arm.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import tensorflow as tf

from metazoo import random
from metazoo.tasks.family import TaskFamily, Transition
from metazoo.types import Box, Discrete


class BanditTask(NamedTuple):
    """Expected reward of each arm, ``means [M, arms]``."""

    means: Any


class BanditState(NamedTuple):
    """Pulls made so far, ``[M, E]`` int32; the dynamics do not depend on it."""

    pulls: Any


class _BanditBase(TaskFamily):
    """Arms, spaces and the constant observation that both kinds share."""

    Task: ClassVar[type] = BanditTask
    units: ClassVar[Mapping[str, str]] = {"means": "reward"}
    observation_space = Box((1,), 0.0, 1.0)

    def __init__(self, arms: int = 5, horizon: int = 100):
        self.arms = arms
        self.horizon = horizon
        self.action_space = Discrete(arms)

    def reset(self, task: BanditTask, key: tf.Tensor) -> BanditState:
        return BanditState(tf.zeros(tf.shape(key), tf.int32))

    def observe(self, task: BanditTask, state: BanditState) -> tf.Tensor:
        return tf.ones_like(state.pulls, tf.float32)[..., None]

    def mean_rewards(self, tasks: BanditTask, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.one_hot(actions, self.arms) * tasks.means[:, None], -1)

    def _pull(self, task: BanditTask, state: BanditState, actions: tf.Tensor) -> tuple[BanditState, tf.Tensor]:
        """The state after the pull and the mean of the pulled arm ``[M, E]``."""
        chosen = tf.one_hot(actions, self.arms) * task.means
        return BanditState(state.pulls + 1), tf.reduce_sum(chosen, -1)


@final
class Bandit(_BanditBase):
    """Bernoulli arms with means ~ U[0, 1]; out of range: means ~ U[0, 1]³, so good arms are rare."""

    name: ClassVar[str] = "bandit"
    hidden: ClassVar[str] = "probabilities of the arms"
    reward_unit: ClassVar[str] = "1 or 0 a pull"

    def sample_task(self, key: tf.Tensor, split: str) -> BanditTask:
        means = random.uniform(random.spread(key, self.arms))
        return BanditTask(means**3 if split == "ood" else means)

    def step(self, task: BanditTask, state: BanditState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        state, mean = self._pull(task, state, actions)
        return Transition(state, tf.cast(random.bernoulli(key, mean), tf.float32), tf.zeros_like(mean, tf.bool))


@final
class GaussianBandit(_BanditBase):
    """Arms with rewards ~ N(mean, 1) and means ~ N(0, 1); out of range: means ~ N(0, 2²)."""

    name: ClassVar[str] = "gaussian_bandit"
    hidden: ClassVar[str] = "means of the arms"
    page: ClassVar[str] = "bandit"
    reward_unit: ClassVar[str] = "the arm's mean plus noise of standard deviation 1"

    def sample_task(self, key: tf.Tensor, split: str) -> BanditTask:
        means = random.normal(random.spread(key, self.arms))
        return BanditTask(2.0 * means if split == "ood" else means)

    def step(self, task: BanditTask, state: BanditState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        state, mean = self._pull(task, state, actions)
        return Transition(state, mean + random.normal(key), tf.zeros_like(mean, tf.bool))
