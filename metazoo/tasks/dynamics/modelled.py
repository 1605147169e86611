"""What a planner learns of a world: the change of its observation, and the reward."""

from typing import Any, ClassVar, final

import numpy as np
import tensorflow as tf

from metazoo import axes, random
from metazoo.tasks.dynamics import exploring
from metazoo.tasks.dynamics.exploring import Moment, Transitions
from metazoo.tasks.dynamics.families import LIMIT, Dynamics, episode_of, require_counts, reward_of, shown_of
from metazoo.tasks.family import TaskFamily, Transition, per_episode
from metazoo.types import Box, Episodes

BIT = 10
"""Transitions of an episode in a query set: short ones, because episodes begin everywhere that a plan may come."""
MEASURED, STEPS = 200, 50
"""Training tasks and transitions of each that the sizes of changes and rewards are measured on."""


@final
class ModelledWorld(Dynamics):
    """Changes and the reward of a family in the graph, each divided by its usual size: ``[O + 1]`` numbers a
    transition.

    The support set is the first transitions of an episode: between none and ``seen`` of them, because a planner plans
    from its first step on. The query set are ``asked`` transitions of other episodes, ``BIT`` each.

    Raises:
        ValueError: no transitions to see, or a number to ask that ``BIT`` does not divide.
    """

    name: ClassVar[str] = "modelled_world"

    def __init__(self, world: TaskFamily, seen: int = 50, asked: int = 50):
        require_counts(seen, asked)
        if asked % BIT:
            raise ValueError(f"asked is {asked}; it must be divided by {BIT}.")
        self.inner, self.seen, self.asked, self.horizon = world, seen, asked, seen
        self.observation_space = shown_of(world)
        self.action_space = Box((world.observation_space.size + 1,), -LIMIT, LIMIT)
        self.change = usual_sizes(world)

    def sample_task(self, key: tf.Tensor, split: str) -> Any:
        return self.inner.sample_task(key, split)

    def sets(self, task: Any, key: tf.Tensor) -> tuple[Episodes, Episodes]:
        known = random.integers(random.fold(key, 2), self.seen + 1)
        support = self._set(task, random.fold(key, 0)[:, None], self.seen)
        support = support._replace(mask=tf.cast(tf.range(self.seen)[:, None] < known, tf.float32)[..., None])
        keys = random.fold(random.fold(key, 1)[:, None], tf.range(self.asked // BIT))
        return support, self._set(task, keys, BIT)

    def reset(self, task: Any, key: tf.Tensor) -> Moment:
        return exploring.begin(self.inner, task, key)

    def step(self, task: Any, state: Moment, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        moved, told = exploring.advance(self.inner, task, state, key)
        reward = reward_of(actions, outcome(told) / self.change)
        return Transition(moved, reward, tf.zeros_like(reward, tf.bool))

    def observe(self, task: Any, state: Moment) -> tf.Tensor:
        return exploring.shown(self.inner, self.inner.observe(task, state.state), state.action)

    def _set(self, task: Any, keys: tf.Tensor, steps: int) -> Episodes:
        """The transitions of episodes with keys ``[M, E]``, one after another: ``[T·E, M, 1, ...]``."""
        told = exploring.explore(self.inner, per_episode(task), keys, steps)
        observations = exploring.shown(self.inner, told.observations, told.actions)
        fields = (axes.merge(axes.turn(field, 0, 2, 1), 0)[:, :, None] for field in (observations, outcome(told)))
        shown, happened = fields
        return episode_of(shown, happened / self.change)


def outcome(told: Transitions) -> tf.Tensor:
    """What is to be predicted of transitions, ``[..., O + 1]``: the change of the observation, then the reward."""
    return tf.concat([told.following - told.observations, told.rewards[..., None]], -1)


def usual_sizes(world: TaskFamily) -> tuple[float, ...]:
    """The root mean square of each change, and of the reward, over transitions of training tasks."""
    with tf.init_scope():
        keys = random.spread(random.key(0), MEASURED)[:, None]
        told = outcome(exploring.explore(world, per_episode(world.sample(MEASURED)), keys, STEPS))
    sizes = np.sqrt(np.mean(np.square(told.numpy(), dtype=np.float64), (0, 1, 2)))
    return tuple(float(f"{size:.2g}") or 1.0 for size in sizes)
