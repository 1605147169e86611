"""A family as it meets a policy on a real machine: observations with noise, actions that come one step late.

For measuring how a trained policy bears them. What a policy records of its own episodes, and adapts to, is what it saw
and what it asked for, noise and delay included.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.family import TaskFamily, Transition
from metazoo.tasks.host_family import AnyFamily, HostFamily, HostTransition


def disturbed(family: AnyFamily, noise: Any = 0.0, late: bool = False) -> AnyFamily:
    """``family`` with Gaussian ``noise`` on observations and, if ``late``, actions that act one step late.

    Args:
        family: in the graph or on the host.
        noise: standard deviation, a number or one for each entry of an observation, in its unit; a new draw at every
            step, which the closing step sees as well.
        late: an action is carried out one step after it was chosen; until then, at the first step, the first one acts.

    Returns:
        A family with the same tasks, spaces and horizon.
    """
    noise = np.broadcast_to(np.float32(noise), family.observation_space.shape)
    return _OnHost(family, noise, late) if isinstance(family, HostFamily) else _InGraph(family, noise, late)


class _State(NamedTuple):
    inner: Any
    begun: tf.Tensor
    """Whether ``waiting`` holds an action already, ``[M, E]``."""
    waiting: tf.Tensor
    """The action that was chosen last, ``[M, E, ...]``."""
    error: tf.Tensor
    """What is added to the observation, ``[M, E, ...]``."""


class _InGraph(TaskFamily):
    def __init__(self, family: TaskFamily, noise: np.ndarray, late: bool) -> None:
        self._family, self._noise, self._late = family, noise, late
        self.name, self.Task = family.name, family.Task  # type: ignore[misc]
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.horizon = family.horizon

    def sample_task(self, key: tf.Tensor, split: str) -> Any:
        return self._family.sample_task(key, split)

    def sample(self, count: int, split: str = "train", seed: Any = 0) -> Any:
        return self._family.sample(count, split, seed)

    def reset(self, task: Any, key: tf.Tensor) -> _State:
        rows = tf.shape(key)
        nothing = tf.zeros(tf.concat([rows, self.action_space.shape], 0), self.action_space.dtype)
        return _State(self._family.reset(task, key), tf.zeros(rows, tf.bool), nothing, self._error(key))

    def step(self, task: Any, state: _State, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        begun = tf.reshape(state.begun, tf.concat([tf.shape(key), [1] * len(self.action_space.shape)], 0))
        acting = tf.where(begun, state.waiting, actions) if self._late else actions
        after = self._family.step(task, state.inner, acting, key)
        new = _State(after.state, tf.ones_like(state.begun), actions, self._error(key))
        return Transition(new, after.rewards, after.terminated)

    def observe(self, task: Any, state: _State) -> tf.Tensor:
        seen = self._family.observe(task, state.inner)
        return seen + tf.cast(state.error, seen.dtype)

    def _error(self, key: tf.Tensor) -> tf.Tensor:
        return self._noise * random.normal(random.spread(random.fold(key, _NOISE), *self._noise.shape))


_NOISE = 0x6E6F6973
"""Sets the draws of the noise apart from those of the family, whose key is the same."""


class _OnHost(HostFamily):
    def __init__(self, family: HostFamily, noise: np.ndarray, late: bool) -> None:
        self._family, self._noise, self._late = family, noise, late
        self.name, self.Task, self.rows = family.name, family.Task, family.rows
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.horizon = family.horizon

    def sample(self, count: int, split: str = "train", seed: Any = 0) -> Any:
        return self._family.sample(count, split, seed)

    def reset(self, tasks: Any, seeds: np.ndarray) -> np.ndarray:
        self._draws = [np.random.default_rng([_NOISE, int(seed)]) for seed in seeds]
        self._waiting: np.ndarray | None = None
        self._seen = self._with_noise(self._family.reset(tasks, seeds), np.ones(len(seeds), bool))
        return self._seen

    def step(self, actions: np.ndarray, playing: np.ndarray) -> HostTransition:
        acting = actions if self._waiting is None or not self._late else self._waiting
        self._waiting = actions.copy()
        after = self._family.step(acting, playing)
        self._seen = np.where(
            _along(playing, after.observations), self._with_noise(after.observations, playing), self._seen
        )
        return after._replace(observations=self._seen)

    def close(self) -> None:
        self._family.close()

    def _with_noise(self, seen: np.ndarray, playing: np.ndarray) -> np.ndarray:
        """Every row has draws of its own, so that what it meets does not depend on who plays beside it."""
        error = np.zeros(seen.shape, np.float32)
        for row in np.flatnonzero(playing):
            error[row] = self._draws[row].standard_normal(seen.shape[1:], np.float32)
        return (seen + self._noise * error).astype(seen.dtype)


def _along(flags: np.ndarray, like: np.ndarray) -> np.ndarray:
    return flags.reshape(-1, *[1] * (like.ndim - 1))
