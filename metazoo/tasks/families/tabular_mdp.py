"""Random tabular MDPs, as in RL² (Duan et al. 2016, arXiv 1611.02779, section 3.2; after Osband et al. 2013).

10 states, 5 actions, episodes of 10 steps from state 0. Each row of transition probabilities ~ flat Dirichlet; mean
rewards ~ N(1, 1) per state and action, and every reward has noise N(0, 1). A trial is several episodes of one MDP.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.family import Reference, TaskFamily, Transition
from metazoo.types import Box, Discrete


class TabularMDPTask(NamedTuple):
    """``transitions [M, states, actions, states]``: probabilities of the next state; ``rewards [M, states, actions]``:
    means."""

    transitions: Any
    rewards: Any


class TabularMDPState(NamedTuple):
    """The current state's number ``[M, E]``, int32."""

    number: Any


@final
class TabularMDP(TaskFamily):
    """Out of range: transition rows ∝ e³ for exponential e, not ∝ e (more predictable); rewards ~ N(1, 2²)."""

    name: ClassVar[str] = "tabular_mdp"
    hidden: ClassVar[str] = "transitions and rewards"
    Task: ClassVar[type] = TabularMDPTask
    units: ClassVar[Mapping[str, str]] = {"transitions": "probability", "rewards": "reward"}
    reward_unit: ClassVar[str] = "the mean of state and action plus noise of standard deviation 1"

    def __init__(self, states: int = 10, actions: int = 5, horizon: int = 10):
        self.states, self.actions = states, actions
        self.horizon = horizon
        self.observation_space = Box((states,), 0.0, 1.0)
        self.action_space = Discrete(actions)

    def sample_task(self, key: tf.Tensor, split: str) -> TabularMDPTask:
        shape = self.states, self.actions
        # a flat Dirichlet row: normalised exponentials; 1 − u is never 0
        weights = -tf.math.log(1.0 - random.uniform(random.spread(random.fold(key, 0), *shape, self.states)))
        noise = random.normal(random.spread(random.fold(key, 1), *shape))
        if split == "ood":
            weights, noise = weights**3, 2.0 * noise
        return TabularMDPTask(weights / tf.reduce_sum(weights, -1, keepdims=True), 1.0 + noise)

    def reset(self, task: TabularMDPTask, key: tf.Tensor) -> TabularMDPState:
        return TabularMDPState(tf.zeros(tf.shape(key), tf.int32))

    def step(self, task: TabularMDPTask, state: TabularMDPState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        cell = state.number * self.actions + actions
        count = self.states * self.actions
        lead = tf.shape(task.rewards)[0]
        rows = tf.gather(tf.reshape(task.transitions, [lead, count, self.states]), cell, batch_dims=1)
        means = tf.gather(tf.reshape(task.rewards, [lead, count]), cell, batch_dims=1)
        draw = random.uniform(random.fold(key, 0))[..., None]
        number = tf.reduce_sum(tf.cast(tf.cumsum(rows, -1)[..., :-1] <= draw, tf.int32), -1)
        rewards = means + random.normal(random.fold(key, 1))
        return Transition(TabularMDPState(number), rewards, tf.zeros_like(rewards, tf.bool))

    def mean_rewards(self, tasks: TabularMDPTask, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        by_action = tf.einsum("tmes,msa->tmea", observations, tasks.rewards)
        return tf.reduce_sum(by_action * tf.one_hot(actions, self.actions), -1)

    def observe(self, task: TabularMDPTask, state: TabularMDPState) -> tf.Tensor:
        """The state, one-hot."""
        return tf.one_hot(state.number, self.states)

    def references(self, tasks: TabularMDPTask) -> dict[str, Reference]:
        """``optimal_returns``: what knowing the MDP is worth."""
        what = "closed form: the best policy for the known MDP, by backward induction"
        return {"optimum": Reference(optimal_returns(tasks, self.horizon), what)}


def optimal_returns(task: TabularMDPTask, horizon: int = 10) -> np.ndarray:
    """The oracle: expected return ``[M]`` of an episode under the best policy for each MDP, by backward induction."""
    transitions, rewards = np.asarray(task.transitions, np.float64), np.asarray(task.rewards, np.float64)
    values = np.zeros(rewards.shape[:2])
    for _ in range(horizon):
        values = (rewards + np.einsum("msan,mn->msa", transitions, values)).max(-1)
    return values[:, 0]
