"""Predict what follows a transition, after a few transitions of a world whose physics are hidden: families.

What Nagabandi et al. 2019 (arXiv 1803.11347) adapt a model to. A task is a world of another family, an example is a
transition: what is observed and done → how the observation changes, divided by ``change``, the usual size of a change.
The prediction is a distribution, and is judged by the log-likelihood of what happened.
"""

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, final

import tensorflow as tf

from metazoo import random
from metazoo.tasks.dynamics import exploring
from metazoo.tasks.dynamics.exploring import Moment
from metazoo.tasks.families.cartpole import RANGES as CARTS
from metazoo.tasks.families.cartpole import CartPole, CartPoleTask
from metazoo.tasks.families.pendulum import RANGES as PENDULUMS
from metazoo.tasks.families.pendulum import Pendulum, PendulumTask
from metazoo.tasks.family import Range, TaskFamily, Transition, per_episode
from metazoo.types import Box, Episodes

LIMIT = 20.0
"""Of predictions, in usual changes."""


class Dynamics(TaskFamily, ABC):
    """What families of dynamics have in common."""

    reward_unit: ClassVar[str] = "−squared error of the predicted change, in usual changes"
    metric: ClassVar[str] = "log-likelihood in nats"
    example: ClassVar[str] = "transition"
    page: ClassVar[str] = "dynamics"
    supervised: ClassVar[bool] = True
    paired: ClassVar[bool] = True
    probabilistic: ClassVar[bool] = True
    seen: int
    """Transitions of a support set."""
    asked: int
    """Of a query set."""

    def set_sizes(self) -> tuple[int, int]:
        return self.seen, self.asked


def require_counts(seen: int, asked: int) -> None:
    """Raises ValueError unless both sets have transitions."""
    for name, number in (("seen", seen), ("asked", asked)):
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be at least 1.")


def shown_of(world: TaskFamily) -> Box:
    """The space of what a model of a world is shown: observation, then the action's code."""
    space = world.observation_space
    low, high = (tf.broadcast_to(tf.cast(bound, tf.float32), space.shape) for bound in (space.low, space.high))
    low_code, high_code = exploring.code_bounds(world.action_space)
    lowest, highest = (*low.numpy().tolist(), *low_code), (*high.numpy().tolist(), *high_code)
    return Box((len(lowest),), lowest, highest)


def episode_of(observations: tf.Tensor, changes: tf.Tensor) -> Episodes:
    """Transitions ``[T, M, 1, ...]`` as an episode whose actions are the right predictions."""
    nothing = tf.zeros(tf.shape(observations)[:3])
    never = tf.cast(nothing, tf.bool)
    return Episodes(observations, observations[-1], changes, nothing, never, never, tf.ones_like(nothing))


def reward_of(predictions: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """−‖error‖² of predictions ``[..., O]``, which are clipped to ±``LIMIT``."""
    return -tf.reduce_sum(tf.square(tf.clip_by_value(predictions, -LIMIT, LIMIT) - right), -1)


class WorldDynamics(Dynamics, ABC):
    """The dynamics of a family in the graph, explored by actions that are held for a while (``exploring``).

    The support set is the first ``seen`` transitions of an episode (and of further ones, where it ends early), the
    query set the first ``asked`` of another. Noise of the world's own is not foreseen.

    Raises:
        ValueError: no transitions to see or to ask.
    """

    inner: TaskFamily
    change: tuple[float, ...]
    """The root mean square of a change of each observation, over training tasks."""

    def __init__(self, world: TaskFamily, change: tuple[float, ...], seen: int, asked: int):
        require_counts(seen, asked)
        self.inner, self.change, self.seen, self.asked, self.horizon = world, change, seen, asked, seen
        self.observation_space = shown_of(world)
        self.action_space = Box(world.observation_space.shape, -LIMIT, LIMIT)

    def sample_task(self, key: tf.Tensor, split: str) -> Any:
        return self.inner.sample_task(key, split)

    def sets(self, task: Any, key: tf.Tensor) -> tuple[Episodes, Episodes]:
        return self._set(task, random.fold(key, 0), self.seen), self._set(task, random.fold(key, 1), self.asked)

    def reset(self, task: Any, key: tf.Tensor) -> Moment:
        return exploring.begin(self.inner, task, key)

    def step(self, task: Any, state: Moment, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        moved, _ = exploring.advance(self.inner, task, state, key)
        reward = reward_of(actions, self.targets(task, state))
        return Transition(moved, reward, tf.zeros_like(reward, tf.bool))

    def observe(self, task: Any, state: Moment) -> tf.Tensor:
        return exploring.shown(self.inner, self.inner.observe(task, state.state), state.action)

    def targets(self, task: Any, state: Moment) -> tf.Tensor:
        """The right predictions ``[M, E, O]``."""
        after = self.inner.step(task, state.state, state.action, None)
        return (self.inner.observe(task, after.state) - self.inner.observe(task, state.state)) / self.change

    def _set(self, task: Any, key: tf.Tensor, steps: int) -> Episodes:
        told = exploring.explore(self.inner, per_episode(task), key[:, None], steps)
        changes = (told.following - told.observations) / self.change
        return episode_of(exploring.shown(self.inner, told.observations, told.actions), changes)


@final
class PendulumDynamics(WorldDynamics):
    """Of ``pendulum``: cos θ, sin θ and θ̇ (rad/s) under a torque (N·m)."""

    name: ClassVar[str] = "pendulum_dynamics"
    hidden: ClassVar[str] = "gravity, mass, length"
    Task: ClassVar[type] = PendulumTask
    ranges: ClassVar[Mapping[str, Range]] = PENDULUMS
    units: ClassVar[Mapping[str, str]] = Pendulum.units
    nominal: ClassVar[Mapping[str, float]] = Pendulum.nominal

    def __init__(self, seen: int = 50, asked: int = 50):
        super().__init__(Pendulum(), (0.14, 0.14, 0.6), seen, asked)


@final
class CartPoleDynamics(WorldDynamics):
    """Of ``cartpole``: position (m), velocity (m/s), angle (rad) and angular velocity (rad/s) under a push left (−1)
    or right (1); half of the motors are reversed."""

    name: ClassVar[str] = "cartpole_dynamics"
    hidden: ClassVar[str] = "masses, length, gravity, motor strength and sign"
    Task: ClassVar[type] = CartPoleTask
    ranges: ClassVar[Mapping[str, Range]] = CARTS
    units: ClassVar[Mapping[str, str]] = CartPole.units
    nominal: ClassVar[Mapping[str, float]] = CartPole.nominal

    def __init__(self, seen: int = 50, asked: int = 50):
        super().__init__(CartPole(), (0.018, 0.2, 0.021, 0.26), seen, asked)
