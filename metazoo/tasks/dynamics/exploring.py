"""Transitions of a family under actions that explore: what a model of its dynamics is learned from."""

from typing import Any, NamedTuple

import tensorflow as tf

from metazoo import axes, random
from metazoo.tasks.family import TaskFamily, random_actions
from metazoo.types import Box, Discrete, Space

HOLD = 0.7
"""Chance that an action is the last one again: actions drawn anew at every step cancel each other, and a world is seen
where it starts alone."""


class Moment(NamedTuple):
    """A world's ``state`` and the ``action`` that will be taken in it, ``[M, E, ...]``."""

    state: Any
    action: Any


class Transitions(NamedTuple):
    """``[T, M, E, ...]``: observations, actions, the rewards that they earned and what was observed next; the last
    also where the episode ended there."""

    observations: Any
    actions: Any
    rewards: Any
    following: Any


def begin(world: TaskFamily, task: Any, key: tf.Tensor) -> Moment:
    """The first moment of episodes with keys ``[M, E]``."""
    action = random_actions(world.action_space, random.fold(key, 1))
    return Moment(world.reset(task, random.fold(key, 0)), action)


def advance(world: TaskFamily, task: Any, moment: Moment, key: tf.Tensor) -> tuple[Moment, Transitions]:
    """The next moment, and the transition to it, ``[M, E, ...]``. An episode that ends is followed by another."""
    after = world.step(task, moment.state, moment.action, random.fold(key, 0))
    told = Transitions(
        world.observe(task, moment.state), moment.action, after.rewards, world.observe(task, after.state)
    )
    again = begin(world, task, random.fold(key, 1))
    held = axes.where(random.bernoulli(random.fold(key, 2), HOLD), moment.action, again.action)
    return axes.where(after.terminated, again, Moment(after.state, held)), told


def explore(world: TaskFamily, task: Any, keys: tf.Tensor, steps: int) -> Transitions:
    """So many transitions of each of the episodes with ``keys [M, E]``; ``task`` has fields ``[M, 1, ...]``."""
    seen, done = (space.shape for space in (world.observation_space, world.action_space))
    dtype = tf.float32 if isinstance(world.action_space, Box) else tf.int32
    kinds = Transitions((seen, tf.float32), (done, dtype), ((), tf.float32), (seen, tf.float32))
    arrays = [tf.TensorArray(kind, steps, element_shape=keys.shape.concatenate(shape)) for shape, kind in kinds]

    def body(t: tf.Tensor, moment: Moment, arrays: list[tf.TensorArray]) -> tuple:
        moment, told = advance(world, task, moment, random.fold(keys, t + 1))
        return t + 1, moment, [array.write(t, value) for array, value in zip(arrays, told, strict=True)]

    start = (tf.constant(0), begin(world, task, random.fold(keys, 0)), arrays)
    _, _, arrays = tf.while_loop(lambda t, *_: t < steps, body, start, parallel_iterations=1)
    return Transitions(*(array.stack() for array in arrays))


def shown(world: TaskFamily, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """What a model is shown of a transition, ``[..., O + A]``."""
    return tf.concat([observations, encoded(world.action_space, actions)], -1)


def encoded(space: Space, actions: tf.Tensor) -> tf.Tensor:
    """Actions ``[..., A]`` as a model is told them: numbers as they are, within the bounds; one of two as −1 or 1, one
    of several one-hot.

    Raises:
        ValueError: actions of several components.
    """
    if isinstance(space, Box):
        return tf.clip_by_value(actions, space.low, space.high)
    count = _count(space)
    if count == 2:
        return 2.0 * tf.cast(actions - space.start, tf.float32)[..., None] - 1.0
    return tf.one_hot(actions - space.start, count)


def code_bounds(space: Space) -> tuple[list[float], list[float]]:
    """The lowest and the highest that ``encoded`` gives."""
    if isinstance(space, Box):
        low, high = (tf.broadcast_to(tf.cast(bound, tf.float32), space.shape) for bound in (space.low, space.high))
        return low.numpy().tolist(), high.numpy().tolist()
    count = _count(space)
    return ([-1.0], [1.0]) if count == 2 else ([0.0] * count, [1.0] * count)


def _count(space: Space) -> int:
    if isinstance(space, Discrete):
        return space.n
    raise ValueError(f"action_space is {space}; a model of dynamics takes a Box or a Discrete.")
