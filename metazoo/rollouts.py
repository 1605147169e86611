"""Whole episodes as one compiled loop: policy, dynamics and random draws in a single ``tf.while_loop``."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from metazoo import random
from metazoo.tasks.family import TaskFamily, per_episode
from metazoo.types import Discrete, Episodes, StepInputs, StepOutputs

Step = Callable[[StepInputs, tf.Tensor, tf.Tensor, bool], StepOutputs]
"""``(inputs, memory [M, E', S], keys [M, E], deterministic) → StepOutputs``: how a policy acts, whatever its kind."""


def rollout(
    family: TaskFamily,
    tasks: Any,
    step: Step,
    memory: tf.Tensor,
    key: tf.Tensor,
    episodes: int,
    deterministic: bool = False,
) -> Episodes:
    """Plays ``episodes`` parallel episodes of each task ``[M, ...]`` from one memory, which they do not change.

    ``memory [M, 1, S]`` is what each task's episodes share (fast weights or nothing). Every episode ``(m, e)`` has its
    own stream of keys, derived from ``key``: one key, or one ``[M]`` for each task, so that a task's episodes do not
    depend on its place among the others. Returns time-major ``Episodes`` ``[T, M, E, ...]``.
    """
    count = tf.nest.flatten(tasks)[0].shape[0] or tf.shape(tf.nest.flatten(tasks)[0])[0]
    task = per_episode(tasks)
    keys = key if key.shape.rank == 1 else random.fold(key, tf.range(count))
    rows = random.fold(keys[:, None], tf.range(episodes)[None])
    state = family.reset(task, random.fold(rows, 0))
    shape = rows.shape if rows.shape.is_fully_defined() else tf.TensorShape([None, episodes])
    action_dtype = tf.int32 if isinstance(family.action_space, Discrete) else tf.float32
    elements = Episodes(
        (family.observation_space.shape, tf.float32),
        None,
        (family.action_space.shape, action_dtype),
        ((), tf.float32),
        ((), tf.bool),
        ((), tf.bool),
        ((), tf.float32),
    )
    arrays = [
        tf.TensorArray(dtype, family.horizon, element_shape=shape.concatenate(extra))
        for extra, dtype in (element for element in elements if element)
    ]
    previous_action = tf.zeros(tf.concat([tf.shape(rows), family.action_space.shape], 0), action_dtype)
    previous = (previous_action, tf.zeros(tf.shape(rows)))
    never = tf.zeros(tf.shape(rows), tf.bool)

    def body(t, state, previous, alive, arrays):
        observations = family.observe(task, state)
        keys = random.fold(rows, t + 1)
        out = step(
            StepInputs(observations, previous[0], previous[1], never), memory, random.fold(keys, 0), deterministic
        )
        after = family.step(task, state, out.actions, random.fold(keys, 1))
        rewards = tf.where(alive, after.rewards, 0.0)
        terminated = after.terminated & alive
        going = alive & ~after.terminated
        truncated = going & (t == family.horizon - 1)
        state = tf.nest.map_structure(lambda new, old: tf.where(_like(alive, new), new, old), after.state, state)
        values = (observations, out.actions, rewards, terminated, truncated, tf.cast(alive, tf.float32))
        arrays = [array.write(t, value) for array, value in zip(arrays, values, strict=True)]
        return t + 1, state, (out.actions, rewards), going, arrays

    start = (tf.constant(0), state, previous, ~never, arrays)
    _, state, _, _, arrays = tf.while_loop(lambda t, *_: t < family.horizon, body, start, parallel_iterations=1)
    observations, actions, rewards, terminated, truncated, mask = (array.stack() for array in arrays)
    return Episodes(observations, family.observe(task, state), actions, rewards, terminated, truncated, mask)


def _like(mask: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """``mask [M, E]`` with axes appended to broadcast against ``value [M, E, ...]``."""
    for _ in range(value.shape.rank - mask.shape.rank):
        mask = mask[..., None]
    return mask
