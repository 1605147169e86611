"""A family's reset and step compiled for ``N`` rows, one task each: what the Gymnasium views run.

Keys are derived as in ``metazoo.rollouts.graph``: a row's key gives its start state and every step's noise, so a view
plays the same episode as a rollout whose row has that key.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from metazoo import axes, random
from metazoo.tasks.family import SPLITS, TaskFamily, per_episode
from metazoo.tasks.host_family import HostFamily
from metazoo.tasks.registry import IN_GRAPH
from metazoo.words import meant


class Batch:
    """``N`` episodes, one of each task ``[N, ...]``, stepped by one compiled call; numpy in, numpy out."""

    def __init__(self, family: TaskFamily, task: Any):
        self.task = task
        self._flat_task = [tf.constant(field) for field in tf.nest.flatten(task)]
        self._reset, self._step = _compiled(family, len(tf.nest.flatten(task)[0]))
        self._rows: list[tf.Tensor] = []

    @property
    def started(self) -> bool:
        return bool(self._rows)

    @property
    def state(self) -> list[np.ndarray]:
        """The family's state, field by field, ``[N, ...]``."""
        return [field.numpy()[:, 0] for field in self._rows[:-2]]

    def reset(self, seeds: np.ndarray) -> np.ndarray:
        """Begin an episode in every row from ``seeds [N]`` (uint32); the observations ``[N, ...]``."""
        *self._rows, observations = self._reset(*self._flat_task, tf.constant(seeds, tf.uint32))
        return observations.numpy().copy()

    def step(self, actions: np.ndarray, restart: np.ndarray) -> tuple[np.ndarray, ...]:
        """Observations ``[N, ...]``, rewards, terminated and steps made so far ``[N]`` after ``actions [N, ...]``.

        Rows with ``restart [N]`` (bool) ignore their action and begin a new episode with reward 0.
        """
        *self._rows, observations, rewards, terminated = self._step(
            *self._flat_task, *self._rows, tf.constant(actions), tf.constant(restart)
        )
        # copies: the arrays would otherwise be read-only views of tensors
        return tuple(x.numpy().copy() for x in (observations, rewards, terminated, self._rows[-1]))


@lru_cache(maxsize=64)
def _compiled(family: TaskFamily, count: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``reset(*task, seeds) → [*rows, observations]`` and ``step(*task, *rows, actions, restart) → [*rows, …]``.

    ``rows`` are the state's fields ``[N, 1, ...]``, keys and steps ``[N]``. All arguments are flat because TensorFlow
    spends more time on the structure of arguments than on the step itself.
    """
    sample = family.sample(count)
    state_like = family.reset(per_episode(sample), random.key(tf.zeros((count, 1), tf.uint32)))
    width, depth = len(tf.nest.flatten(sample)), len(tf.nest.flatten(state_like))

    def begin(task: Any, keys: tf.Tensor) -> list[tf.Tensor]:
        return [*tf.nest.flatten(family.reset(task, random.fold(keys, 0)[:, None])), keys, tf.zeros(count, tf.int32)]

    def observe(task: Any, rows: list[tf.Tensor]) -> tf.Tensor:
        return family.observe(task, tf.nest.pack_sequence_as(state_like, rows[:depth]))[:, 0]

    def reset(*arguments: tf.Tensor) -> list[tf.Tensor]:
        task = per_episode(tf.nest.pack_sequence_as(sample, arguments[:width]))
        rows = begin(task, random.key(arguments[width]))
        return [*rows, observe(task, rows)]

    def step(*arguments: tf.Tensor) -> list[tf.Tensor]:
        task = per_episode(tf.nest.pack_sequence_as(sample, arguments[:width]))
        *state, keys, steps, actions, restart = arguments[width:]
        noise = random.fold(random.fold(keys, steps + 1), 1)[:, None]
        after = family.step(task, tf.nest.pack_sequence_as(state_like, state), actions[:, None], noise)
        moved = [*tf.nest.flatten(after.state), keys, steps + 1]
        fresh = begin(task, random.fold(keys, -1))
        rows = axes.where(restart, list(fresh), moved)
        rewards = tf.where(restart, 0.0, after.rewards[:, 0])
        return [*rows, observe(task, rows), rewards, after.terminated[:, 0] & ~restart]

    words = tf.TensorSpec((count,), tf.uint32)
    rows = [*tf.nest.flatten(state_like), words, tf.TensorSpec((count,), tf.int32)]
    actions = tf.TensorSpec((count, *family.action_space.shape), family.action_space.dtype)
    task, flags = tf.nest.flatten(sample), tf.TensorSpec((count,), tf.bool)
    return (
        _concrete(reset, [*task, words]),
        _concrete(step, [*task, *rows, actions, flags]),
    )


def _concrete(function: Callable[..., Any], like: list[Any]) -> Callable[..., Any]:
    """The function compiled for arguments shaped ``like`` these tensors or specs."""
    specs = [tf.TensorSpec(argument.shape, argument.dtype) for argument in like]
    return tf.function(function, jit_compile=True, autograph=False).get_concrete_function(*specs)


@lru_cache(maxsize=32)
def family_named(name: str) -> TaskFamily:
    """The shared instance of a registered family, so that all its environments share one compiled program.

    Raises:
        ValueError: no family has that name.
    """
    if name not in IN_GRAPH:
        raise ValueError(f"family is {name!r}; {meant(name, IN_GRAPH, 'choose ' + ', '.join(IN_GRAPH))}")
    return IN_GRAPH[name]()


def require_in_graph(family: Any) -> None:
    """Raises ValueError for what is not a family of the graph."""
    if isinstance(family, TaskFamily):
        return
    if isinstance(family, HostFamily):
        raise ValueError(f"{family.name} does not run in the graph; GymFamily.environment(task) is for such families.")
    what = f"the class {family.__name__}" if isinstance(family, type) else f"a {type(family).__name__}"
    raise ValueError(f"family is {what}; it must be a TaskFamily, or the name of one.")


def make_tasks(family: TaskFamily, given: Any, split: str | None, seed: int, count: int) -> Any:
    """``count`` tasks ``[count, ...]`` (NamedTuple of numpy arrays) with the ``given`` parameters.

    ``given``: None, a mapping from parameter to value (one for all tasks, or ``count`` of them), or the family's Task.
    Parameters left out come from ``family.sample(count, split, seed)``; without a split they have their nominal value,
    and those without one are sampled from ``train``.

    Raises:
        ValueError: an unknown parameter or split, a value that is not finite or has the wrong shape.
    """
    given = given._asdict() if isinstance(given, family.Task) else {} if given is None else given
    if not isinstance(given, Mapping):
        raise ValueError(f"task is {given!r}; it must be a mapping of parameters or a {family.Task.__name__}.")
    names = family.Task._fields
    for name in given:
        if name not in names:
            raise ValueError(
                f"{family.name} has no task parameter {name!r}; {meant(name, names, 'it has ' + ', '.join(names))}"
            )
    sampled = family.sample(count, SPLITS[0] if split is None else split, seed)
    chosen = {**(family.nominal if split is None else {}), **given}
    fields = {name: field.numpy() for name, field in sampled._asdict().items()}
    return family.Task(**{n: _field(n, chosen[n], f) if n in chosen else f for n, f in fields.items()})


def _field(name: str, value: Any, like: np.ndarray) -> np.ndarray:
    """A task parameter's value for every row, in the shape and dtype of ``like [count, ...]``."""
    try:
        array = np.asarray(value, like.dtype)
        if array.shape not in (like.shape, like.shape[1:]) or not np.all(np.isfinite(array)):
            raise ValueError
    except (TypeError, ValueError) as error:
        shape = f"an array of shape {list(like.shape[1:])}" if like.ndim > 1 else "a number"
        many = f", or {len(like)} of them" if len(like) > 1 else ""
        raise ValueError(f"task parameter {name} is {value!r}; it must be {shape}{many}, finite.") from error
    return np.broadcast_to(array, like.shape)
