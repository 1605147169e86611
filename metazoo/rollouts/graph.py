"""Whole episodes as one compiled loop: policy, dynamics and random draws in a single ``tf.while_loop``."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from metazoo import axes, random
from metazoo.rollouts import host as host_rollouts
from metazoo.tasks.family import TaskFamily, per_episode
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.types import Episodes, StepInputs, StepOutputs

Step = Callable[[StepInputs, tf.Tensor, tf.Tensor, bool], StepOutputs]
"""``(inputs, memory [M, E', S], keys [M, E], deterministic) → StepOutputs``: how a policy acts, whatever its kind."""


def rollout(
    family: AnyFamily,
    tasks: Any,
    step: Step,
    memory: tf.Tensor,
    key: tf.Tensor,
    episodes: int,
    deterministic: bool = False,
    told: list[Any] | None = None,
    first: Any = 0,
) -> Episodes:
    """Plays ``episodes`` parallel episodes of each task ``[M, ...]`` from one memory, which they do not change.

    ``memory [M, 1, S]`` is what each task's episodes share (fast weights or nothing). Every episode ``(m, e)`` has its
    own stream of keys, derived from ``key``: one key, or one ``[M]`` for each task, so that a task's episodes do not
    depend on its place among the others. With one key, ``first`` is the place of the first of these tasks. ``told`` is
    given what a family on the host tells of success, ``[M, E]``, NaN where it does not. Returns time-major ``Episodes``
    ``[T, M, E, ...]``; of a supervised family, their ``actions`` are the targets.
    """
    rows = _row_keys(tasks, key, episodes, first)
    if isinstance(family, HostFamily):
        return host_rollouts.rollout(family, tasks, step, memory, rows, deterministic, told)
    return _play(family, tasks, step, memory, rows, deterministic, online=False)[0]


def trial(
    family: AnyFamily,
    tasks: Any,
    step: Step,
    memory: tf.Tensor,
    key: tf.Tensor,
    episodes: int,
    deterministic: bool = False,
    told: list[Any] | None = None,
    first: Any = 0,
) -> tuple[Episodes, tf.Tensor]:
    """Plays ``episodes`` episodes of each task ``[M, ...]`` one after another, carrying the memory ``[M, 1, S]``.

    At the first step of an episode ``previous_*`` are zeros. After its last one a closing ``step`` shows the policy
    the final observation and reward with ``previous_done``, and its action is discarded. Steps after an episode's end
    leave the memory alone. Keys are ``rollout``'s: a policy that does not change its memory plays the same episodes.
    ``told`` as in ``rollout``.

    Returns:
        Time-major ``Episodes`` ``[T, M, K, ...]`` in the order played, and the memory after the last closing step.
    """
    rows = _row_keys(tasks, key, episodes, first)
    if isinstance(family, HostFamily):
        return host_rollouts.trial(family, tasks, step, memory, rows, deterministic, told)
    arrays = {}
    for name, (shape, dtype) in _elements(family)._asdict().items():
        time = [] if name == "final_observations" else [family.horizon]
        element = tf.TensorShape([*time, rows.shape[0], 1, *shape])
        arrays[name] = tf.TensorArray(dtype, episodes, element_shape=element)

    def body(number, memory, arrays):
        key = tf.gather(rows, [number], axis=1)
        played, memory = _play(family, tasks, step, memory, key, deterministic, online=True)
        return number + 1, memory, {name: arrays[name].write(number, one) for name, one in played._asdict().items()}

    start = (tf.constant(0), memory, arrays)
    _, memory, arrays = tf.while_loop(lambda number, *_: number < episodes, body, start, parallel_iterations=1)
    return Episodes(**{name: _episodes_last(name, array.stack()) for name, array in arrays.items()}), memory


def _row_keys(tasks: Any, key: tf.Tensor, episodes: int, first: Any) -> tf.Tensor:
    """A key for each episode, ``[M, E]``."""
    field = tf.nest.flatten(tasks)[0]
    keys = key if key.shape.rank == 1 else random.fold(key, first + tf.range(field.shape[0] or tf.shape(field)[0]))
    return random.fold(keys[:, None], tf.range(episodes)[None])


def _elements(family: TaskFamily) -> Episodes:
    """Shape and dtype of one entry of each field."""
    observation, action = ((space.shape, space.dtype) for space in (family.observation_space, family.action_space))
    number, flag = ((), tf.float32), ((), tf.bool)
    return Episodes(observation, observation, action, number, flag, flag, number)


def _play(
    family: TaskFamily, tasks: Any, step: Step, memory: tf.Tensor, rows: tf.Tensor, deterministic: bool, online: bool
) -> tuple[Episodes, tf.Tensor]:
    """One episode for each key ``rows [M, E]``, side by side, and the memory: carried if ``online``, else as given."""
    task, horizon = per_episode(tasks), family.horizon
    elements = _elements(family)._asdict()
    (action_shape, action_dtype), _ = elements["actions"], elements.pop("final_observations")
    arrays = {
        name: tf.TensorArray(dtype, horizon, element_shape=rows.shape.concatenate(shape))
        for name, (shape, dtype) in elements.items()
    }
    never = tf.zeros(tf.shape(rows), tf.bool)
    nothing = tf.zeros(tf.concat([tf.shape(rows), action_shape], 0), action_dtype), tf.zeros(tf.shape(rows))
    carried = [memory] if online else []

    def act(t, state, previous, done, carried):
        keys = random.fold(rows, t + 1)
        inputs = StepInputs(family.observe(task, state), previous[0], previous[1], done)
        return inputs, step(inputs, carried[0] if online else memory, random.fold(keys, 0), deterministic), keys

    def body(t, state, previous, alive, carried, arrays):
        inputs, out, keys = act(t, state, previous, never, carried)
        after = family.step(task, state, out.actions, random.fold(keys, 1))
        going = alive & ~after.terminated
        values = {
            "observations": inputs.observations,
            "actions": family.targets(task, state) if family.supervised else out.actions,
            "rewards": tf.where(alive, after.rewards, 0.0),
            "terminated": after.terminated & alive,
            "truncated": going & (t == horizon - 1),
            "mask": tf.cast(alive, tf.float32),
        }
        arrays = {name: array.write(t, values[name]) for name, array in arrays.items()}
        new = (after.state, (out.actions, after.rewards), [out.memory] if online else [])
        state, previous, carried = axes.where(alive, new, (state, previous, carried))
        return t + 1, state, previous, going, carried, arrays

    start = (tf.constant(0), family.reset(task, random.fold(rows, 0)), nothing, ~never, carried, arrays)
    t, state, previous, _, carried, arrays = tf.while_loop(
        lambda t, *_: t < horizon, body, start, parallel_iterations=1
    )
    if online:
        memory = act(t, state, previous, ~never, carried)[1].memory
    fields = {name: array.stack() for name, array in arrays.items()}
    return Episodes(final_observations=family.observe(task, state), **fields), memory


def _episodes_last(name: str, field: tf.Tensor) -> tf.Tensor:
    """``[K, T, M, 1, ...] → [T, M, K, ...]``; final observations have no T."""
    order = [1, 0] if name == "final_observations" else [1, 2, 0]
    return axes.turn(tf.squeeze(field, len(order)), *order)
