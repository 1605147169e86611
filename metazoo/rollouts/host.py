"""Whole episodes of families on the host: the policy in one compiled call a time step for all rows, then the rows.

The same contract as ``metazoo.rollouts.graph``, which comes here when the family is one on the host: the same keys, the
same boundaries, so that a policy meets no difference. Runs eagerly; ``step`` should be compiled by whoever made it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.host_family import HostFamily
from metazoo.types import Box, Episodes, StepInputs, StepOutputs


def rollout(
    family: HostFamily,
    tasks: Any,
    step: Callable[..., Any],
    memory: tf.Tensor,
    rows: tf.Tensor,
    deterministic: bool,
    told: list[np.ndarray] | None = None,
) -> Episodes:
    """An episode for each key ``rows [M, E]``, of tasks ``[M, ...]``, from the memory ``[M, 1, S]``.

    No more than ``family.rows`` are played side by side, the same number of a task's episodes at every turn: the
    policy's step is compiled for each shape it meets. ``told`` is given what the family tells of success, ``[M, E]``.
    """
    count, episodes = rows.shape
    most = min(episodes, max(1, family.rows // count))
    beside = next(size for size in range(most, 0, -1) if episodes % size == 0)

    def play(tasks: Any, memory: tf.Tensor, rows: tf.Tensor) -> tuple[Episodes, np.ndarray]:
        turns = [rows[:, i : i + beside] for i in range(0, episodes, beside)]
        played = [_play(family, tasks, step, memory, turn, deterministic) for turn in turns]
        return joined([one.episodes for one in played], 1), np.concatenate([one.successes for one in played], 1)

    parts = [play(*part) for part in _parts(family, tasks, memory, rows)]
    if told is not None:
        told.append(np.concatenate([successes for _, successes in parts], 0))
    return _tensors(joined([one for one, _ in parts], 0))


def trial(
    family: HostFamily,
    tasks: Any,
    step: Callable[..., Any],
    memory: tf.Tensor,
    rows: tf.Tensor,
    deterministic: bool,
    told: list[np.ndarray] | None = None,
) -> tuple[Episodes, tf.Tensor]:
    """The episodes with keys ``rows [M, K]`` one after another, the memory ``[M, 1, S]`` carried through them.

    ``told`` is given what the family tells of success, ``[M, K]``.
    """
    played, memories, successes = [], [], []
    for some_tasks, carried, some_rows in _parts(family, tasks, memory, rows):
        ones = []
        for i in range(rows.shape[1]):
            one = _play(family, some_tasks, step, carried, some_rows[:, i : i + 1], deterministic, online=True)
            ones.append(one)
            carried = one.memory
        played.append(joined([one.episodes for one in ones], 1))
        successes.append(np.concatenate([one.successes for one in ones], 1))
        memories.append(carried)
    if told is not None:
        told.append(np.concatenate(successes, 0))
    return _tensors(joined(played, 0)), tf.concat(memories, 0)


class Played(NamedTuple):
    """Episodes side by side, the memory after them, and which reached their goal, ``[m, e]``: NaN if nobody said."""

    episodes: Episodes
    memory: tf.Tensor
    successes: np.ndarray


def _play(
    family: HostFamily,
    tasks: Any,
    step: Callable[..., Any],
    memory: tf.Tensor,
    rows: tf.Tensor,
    deterministic: bool,
    online: bool = False,
) -> Played:
    """One episode for each key ``rows [m, e]``, side by side: numpy ``[T, m, e, ...]``."""
    lead, horizon = tuple(rows.shape), family.horizon
    seeds, keys = _keys(rows, horizon)
    seeds, keys = seeds.numpy().reshape(-1), tf.unstack(keys)
    playing = np.ones(lead[0] * lead[1], bool)
    record, successes = _empty(family, len(playing)), np.full(len(playing), np.nan, np.float32)
    seen = family.reset(tf.nest.map_structure(lambda field: np.repeat(field, lead[1], 0), tasks), seeds)
    previous = [np.zeros_like(record.actions[0]), np.zeros_like(record.rewards[0])]
    shapes = [(*lead, *field.shape[1:]) for field in (seen, *previous)]
    never = tf.zeros(lead, tf.bool)

    def act(t: int, done: tf.Tensor) -> StepOutputs:
        told = [tf.constant(field.reshape(shape)) for field, shape in zip((seen, *previous), shapes, strict=True)]
        return step(StepInputs(told[0], told[1], told[2], done), memory, keys[t], deterministic)

    for t in range(horizon):
        out = act(t, never)
        actions = out.actions.numpy().reshape(previous[0].shape)
        record.observations[t] = seen
        after = family.step(actions.copy(), playing.copy())  # whatever the family does to them
        seen, ended = after.observations, after.terminated | after.truncated
        record.rewards[t], record.mask[t] = after.rewards, playing
        if after.successes is not None:
            np.fmax(successes, after.successes, out=successes, where=playing)
        record.terminated[t], record.truncated[t] = after.terminated, after.truncated
        where = playing.reshape(-1, *[1] * (actions.ndim - 1))
        for kept, new in ((record.actions[t], actions), (previous[0], actions)):
            np.copyto(kept, new, where=where)
        np.copyto(previous[1], after.rewards, where=playing)
        if online:
            memory = out.memory if playing.all() else tf.where(playing.reshape(*lead, 1), out.memory, memory)
        if ended.any():
            playing = playing & ~ended
            if not playing.any():
                break
    record.truncated[-1] |= playing
    record.observations[t + 1 :] = seen
    record.final_observations[:] = seen
    if online:
        memory = act(horizon, ~never).memory
    fields = {name: _shaped(field, int(name != "final_observations"), lead) for name, field in record._asdict().items()}
    return Played(Episodes(**fields), memory, successes.reshape(lead))


@tf.function(jit_compile=True, autograph=False)
def _keys(rows: tf.Tensor, horizon: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Of each row its seed, and the keys of its actions ``[T + 1, m, e]``: those of episodes in the graph."""
    steps = random.fold(rows[None], tf.range(1, horizon + 2)[:, None, None])
    return random.fold(rows, 0), random.fold(steps, 0)


def _empty(family: HostFamily, rows: int) -> Episodes:
    """Arrays ``[T, rows, ...]`` in which nothing was played; padded steps have a valid action."""
    observation, action, lead = family.observation_space, family.action_space, (family.horizon, rows)
    seen = np.zeros((*lead, *observation.shape), observation.dtype)
    actions = np.zeros((*lead, *action.shape), np.float32 if isinstance(action, Box) else np.int32)
    actions += np.asarray(getattr(action, "start", 0), actions.dtype)
    ended, cut = np.zeros((2, *lead), bool)
    rewards, mask = np.zeros((2, *lead), np.float32)
    return Episodes(seen, seen[0].copy(), actions, rewards, ended, cut, mask)


def _shaped(field: np.ndarray, axis: int, lead: tuple[int, ...]) -> np.ndarray:
    """``[T, rows, ...] → [T, m, e, ...]``, or without T, where rows are on axis 0."""
    return field.reshape(*field.shape[:axis], *lead, *field.shape[axis + 1 :])


def _parts(family: HostFamily, tasks: Any, memory: tf.Tensor, rows: tf.Tensor) -> list[Any]:
    """Tasks, their memories and keys, in parts of at most as many tasks as can be played side by side."""
    starts = range(0, rows.shape[0], family.rows)
    whole = tf.nest.map_structure(np.asarray, tasks), memory, rows
    return [tf.nest.map_structure(lambda field, i=i: field[i : i + family.rows], whole) for i in starts]


def joined(parts: list[Episodes], axis: int) -> Episodes:
    """Episodes side by side along the task axis (0) or the episode axis (1)."""
    if len(parts) == 1:
        return parts[0]
    fields = {name: [part._asdict()[name] for part in parts] for name in Episodes._fields}
    return Episodes(**{n: np.concatenate(field, axis + (n != "final_observations")) for n, field in fields.items()})


def _tensors(episodes: Episodes) -> Episodes:
    return Episodes(*map(tf.constant, episodes))
