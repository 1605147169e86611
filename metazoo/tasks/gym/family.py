"""Any ``gymnasium.Env`` as a task family to train and evaluate on: what varies from task to task, and the environment.

    family = GymFamily("Pendulum-v1", {"g": (5.0, 15.0)}, horizon=200)

Learners take it like a family in the graph. The environments are stepped in Python, in this process or, when one step
is expensive, in worker processes.
"""

import dataclasses
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from metazoo.artefact.spaces import CollectionError, env_name, observation_spec, space_to_metadata
from metazoo.tasks.family import SPLITS, Range
from metazoo.tasks.gym import attributes as gym_attributes
from metazoo.tasks.gym.board import Board, Layout
from metazoo.tasks.gym.pool import Pool, Tasks
from metazoo.tasks.gym.rows import Recipe, rows_for
from metazoo.tasks.host_family import HostFamily, HostTransition
from metazoo.types import Box, Discrete, MultiDiscrete, Space, one_line, require_usable
from metazoo.words import meant

SampleTask = Callable[[np.random.Generator, str], Mapping[str, Any]]
"""``(generator, split) → parameters``: one task, drawn with that generator alone."""


class GymFamily(HostFamily):
    """A family over a Gymnasium environment.

    Args:
        make_env: an id, or a callable that returns an environment. A task's parameters are given to the bare
            environment's ``set_task(dict)`` method if it has one; else to the constructor (or the callable) where that
            takes them, and set as attributes where not. What CartPole derives from its attributes is derived again.
        sample_task: ``(numpy generator, split) → {name: number or array}``; or ``{name: (low, high)}``, uniform, from
            which there are no out-of-range tasks; ``{name: Range((low, high), ((low, high), …))}`` has some. Whole
            numbers, truth values, lists and arrays reach the environment as what the first task has them; tasks are
            kept in float32. Ranges give numbers that are not whole.
        horizon: steps after which an episode is truncated; by default the environment's own ``max_episode_steps``.
        name: of the family; by default the environment's.
        env_args: arguments and attributes that all tasks have in common.
        workers: processes that step the environments; 0 steps them in this one.
        time_limit: seconds that a worker may take to begin or to step its rows. Nothing can interrupt this process:
            with ``workers=0`` an environment that never returns is never noticed.
        rows: environments made at most, and so episodes played side by side; more are played in turns.

    Observations are ``Box`` (uint8 images as they are), or any space that Gymnasium flattens; actions are ``Discrete``,
    ``MultiDiscrete``, or ``Box`` of rank 1. ``close`` ends the workers; so does the end of Python, however it comes.

    Raises:
        CollectionError: an environment that cannot be made, or has other spaces, no horizon, or no place for a
            parameter.
        ValueError: an unusable horizon, number of workers or rows, or tasks that are no finite numbers of one shape.
    """

    reward_unit: ClassVar[str] = "the environment's own"
    joins: ClassVar[bool] = False
    """Whether this process is one of the ``workers`` and steps its share too, instead of waiting for the others.
    Faster, but nothing can interrupt it: for environments that are known to return."""

    def __init__(
        self,
        make_env: str | Callable[..., gym.Env],
        sample_task: SampleTask | Mapping[str, tuple[float, float]],
        horizon: int | None = None,
        *,
        name: str | None = None,
        env_args: Mapping[str, Any] | None = None,
        workers: int = 0,
        time_limit: float = 60.0,
        rows: int = 200,
    ):
        for what, value, least in (("workers", workers, 0), ("rows", rows, 1), ("horizon", horizon or 1, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{what} is {value!r}; it must be a whole number of at least {least}.")
        self.workers, self.rows, self.time_limit = workers, rows, time_limit
        self._ranges = ranges_of(sample_task) if isinstance(sample_task, Mapping) else None
        self.out_of_range = self._ranges is None or any(one.ood for one in self._ranges.values())
        self._sample_task = uniform_tasks(sample_task) if isinstance(sample_task, Mapping) else sample_task
        if not isinstance(make_env, str) and not callable(make_env):
            raise CollectionError(
                f"make_env is a {type(make_env).__name__}: an id or a callable that returns an environment is needed"
            )
        self._recipe = Recipe(make_env, env_args or {})
        self._kinds = self._sampled("train", 0, 0)
        first = self._draw("train", 0, 0)
        self.Task = namedtuple("Task", first)  # type: ignore[misc]
        env = self._recipe.build(self._as_sampled(first))
        try:
            self.name = name or env_name(env)
            self.original = make_env if isinstance(make_env, str) else self.original
            self.gym_observation_space, self.gym_action_space = env.observation_space, env.action_space
            self.observation_space = _as_observations(env.observation_space)
            self.action_space = _as_actions(env)
            _require_usable(self.name, self.observation_space, self.action_space)
            own = env.spec.max_episode_steps if env.spec is not None else None
            self._layout = Layout.of(env, rows)
        finally:
            gym_attributes.close(env)
        limit = horizon or own
        if limit is None:
            raise CollectionError(f"{self.name} has no time limit of its own: give a horizon")
        self.horizon = limit
        self._players: _Local | Pool | None = None

    def sample(self, count: int, split: str = "train", seed: Any = 0) -> Any:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; {meant(split, SPLITS)}")
        drawn = [self._draw(split, int(seed), i) for i in range(count)]
        return self.Task(*(tf.constant(np.stack([task[name] for task in drawn])) for name in self.Task._fields))

    def parameter_ranges(self) -> Mapping[str, Range]:
        return self.ranges if self._ranges is None else {**self._ranges, **self.ranges}

    def reset(self, tasks: Any, seeds: np.ndarray) -> np.ndarray:
        """Begins an episode of each task ``[N]``; the first observations ``[N, ...]``.

        Raises:
            ValueError: more episodes than ``rows``.
            CollectionError: an environment that raises, hangs, or answers with something unusable.
        """
        count = len(seeds)
        if count > self.rows:
            raise ValueError(f"there are {count} episodes; {self.name} plays {self.rows} side by side.")
        fields = {name: np.asarray(field) for name, field in tasks._asdict().items()}
        players = self._ready()
        players.board.playing[:] = False
        tasks = [self._as_sampled({name: field[i] for name, field in fields.items()}) for i in range(count)]
        players.begin(tasks, seeds)
        return players.board.observations[:count]

    def step(self, actions: np.ndarray, playing: np.ndarray) -> HostTransition:
        players, count = self._ready(), len(playing)
        board = players.board
        board.actions[:count], board.playing[:count] = actions, playing
        players.step()
        return HostTransition(*(field[:count] for field in (board.observations, *board[2:6])))

    def environment(
        self, task: Mapping[str, Any], horizon: int | None = None, render_mode: str | None = None
    ) -> gym.Env:
        """An environment of one task; parameters left out are those of the first training task.

        ``render_mode`` is given to its constructor, or set as an attribute where that does not take it.

        Raises:
            ValueError: an unknown parameter, or a value of the wrong shape.
        """
        drawn = self._draw("train", 0, 0)
        for name, value in task.items():
            if name not in drawn:
                known = meant(name, drawn, "it has " + ", ".join(drawn))
                raise ValueError(f"{self.name} has no task parameter {name!r}; {known}")
            try:
                drawn[name] = np.broadcast_to(np.asarray(value, np.float32), drawn[name].shape)
            except (TypeError, ValueError) as error:
                shape = list(drawn[name].shape)
                raise ValueError(f"task parameter {name} is {value!r}; its shape must be {shape}.") from error
            if not np.all(np.isfinite(drawn[name])):
                raise ValueError(f"task parameter {name} is {value!r}; it must be finite.")
        shown = {} if render_mode is None else {"render_mode": render_mode}
        recipe = dataclasses.replace(self._recipe, arguments={**self._recipe.arguments, **shown})
        env = recipe.build(self._as_sampled(drawn))
        return gym.wrappers.TimeLimit(env, horizon or self.horizon)

    def close(self) -> None:
        if self._players is not None:
            self._players.close()
            self._players = None

    @property
    def processes(self) -> list[int]:
        """Ids of the worker processes that are running."""
        return self._players.processes if isinstance(self._players, Pool) and self._players.close.alive else []

    def _ready(self) -> "_Local | Pool":
        """What steps the environments; made when first needed, and again after an error closed it."""
        if isinstance(self._players, Pool) and not self._players.close.alive:
            self._players = None
        if self._players is None:
            others = self.workers - self.joins
            self._players = (
                Pool(self._recipe, self._layout, others, self.time_limit, self.joins)
                if others > 0
                else _Local(self._recipe, self._layout)
            )
        return self._players

    def _sampled(self, split: str, seed: int, number: int) -> Mapping[str, Any]:
        """Task ``number`` of a split and seed; its own generator, so it does not depend on how many are drawn."""
        generator = np.random.default_rng((SPLITS.index(split), seed % 2**32, number))
        drawn = self._sample_task(generator, split)
        if not isinstance(drawn, Mapping) or not drawn:
            raise ValueError(
                f"a task has no parameters: sample_task gave {drawn!r}; it must give at least one, by name."
            )
        return drawn

    def _draw(self, split: str, seed: int, number: int) -> dict[str, np.ndarray]:
        """The same in float32."""
        drawn = self._sampled(split, seed, number)
        if drawn.keys() != self._kinds.keys():
            raise ValueError(f"a task has {', '.join(drawn)}; the first one has {', '.join(self._kinds)}.")
        return {name: _float32(name, drawn[name], np.shape(kind)) for name, kind in self._kinds.items()}

    def _as_sampled(self, task: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """A task's parameters of the kinds that ``sample_task`` gives, as a constructor may need them."""
        return {name: _of_kind(value, self._kinds[name]) for name, value in task.items()}


def uniform_tasks(ranges: Mapping[str, Any]) -> SampleTask:
    """Each parameter uniform in its ``(low, high)``, or its ``Range``, which says where tasks out of range are; there,
    those without such a range keep their usual one.

    Raises:
        ValueError: a range that is not two finite numbers in order.
    """
    of = ranges_of(ranges)

    def sample(generator: np.random.Generator, split: str) -> dict[str, float]:
        if split != "ood":
            return {name: generator.uniform(*one.train) for name, one in of.items()}
        if not any(one.ood for one in of.values()):
            raise ValueError(
                f"there are no tasks out of range: {', '.join(of)} are uniform in one range each. For ood, give"
                " Range((low, high), ((low, high),)) or a function as sample_task."
            )
        return {
            name: _outside(generator, one) if one.ood else generator.uniform(*one.train) for name, one in of.items()
        }

    return sample


def ranges_of(ranges: Mapping[str, Any]) -> dict[str, Range]:
    """Where each parameter comes from. Raises ValueError as ``uniform_tasks``."""
    of = {name: one if isinstance(one, Range) else Range(one, ()) for name, one in ranges.items()}
    for name, one in of.items():
        for ends in (one.train, *one.ood):
            _require_interval(name, ends)
    return of


def _require_interval(name: str, ends: Any) -> None:
    numbers = np.asarray(ends, object).ravel()
    if len(numbers) != 2 or not all(isinstance(end, int | float | np.number) for end in numbers):
        raise ValueError(f"the range of {name} is {ends!r}; it must be (low, high).")
    if not (np.isfinite(list(numbers)).all() and numbers[0] <= numbers[1]):
        raise ValueError(f"the range of {name} is {ends!r}; low and high must be finite, and low not above high.")


def _outside(generator: np.random.Generator, one: Range) -> float:
    """Uniform over the intervals outside, in proportion to their lengths."""
    lengths = np.array([high - low for low, high in one.ood])
    share = lengths / lengths.sum() if lengths.sum() else None
    return generator.uniform(*one.ood[generator.choice(len(one.ood), p=share)])


class _Local:
    """Rows in this process, with the interface of a ``Pool``."""

    def __init__(self, recipe: Recipe, layout: Layout):
        self.board = Board.on(bytearray(layout.size), layout)
        self._rows, self._part = rows_for(recipe), self.board

    def begin(self, tasks: Tasks, seeds: np.ndarray) -> None:
        self._part = self.board.part(0, len(tasks))
        self._rows.begin(self._part, tasks, seeds.tolist())

    def step(self) -> None:
        self._rows.step(self._part)

    def close(self) -> None:
        self._rows.close()


def _as_observations(space: spaces.Space) -> Box:
    """The observation space as policies see it. Raises CollectionError for one that has no tensor form."""
    space_to_metadata(space)
    shape, dtype = observation_spec(space)
    if isinstance(space, spaces.Box):
        return _box(space, dtype)
    return Box(shape, 0.0, 1.0) if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) else Box(shape)


def _box(space: spaces.Box, dtype: np.dtype) -> Box:
    with np.errstate(over="ignore"):  # a bound that float32 does not hold is none
        return Box(space.shape, space.low.astype(dtype), space.high.astype(dtype), dtype.name)


def _as_actions(env: gym.Env) -> Space:
    """The action space as policies see it."""
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n), int(space.start))
    if isinstance(space, spaces.MultiDiscrete) and len(space.shape) == 1:
        return MultiDiscrete(tuple(space.nvec.tolist()), tuple(space.start.tolist()))
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return _box(space, np.dtype(np.float32))
    raise CollectionError(
        f"the action space of {env_name(env)} is {one_line(space)}: it must be Discrete, or Box or MultiDiscrete of "
        "one axis"
    )


def _float32(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A task's parameter as tasks hold it. Raises ValueError for what float32 cannot hold."""
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a task's {name} is {value!r}; it must be a number, or an array of numbers.") from error
    if not np.all(np.isfinite(array)):
        raise ValueError(f"a task's {name} is {array.tolist()}; it must be finite.")
    if array.shape != shape:
        raise ValueError(f"a task's {name} has shape {list(array.shape)}; that of the first task has {list(shape)}.")
    given = np.asarray(value)
    if given.dtype.kind in "iu" and not np.array_equal(array.astype(np.float64), given):
        raise ValueError(f"a task's {name} is {value!r}; float32, which holds tasks, cannot tell it from others.")
    return array


def _of_kind(value: Any, kind: Any) -> Any:
    """A task's parameter as Python number, list, tuple or array, whole or not as ``kind`` is. Always a copy."""
    given, dtype = np.asarray(value), np.asarray(kind).dtype
    whole = np.array_equal(given, given.astype(dtype))
    array = np.array(given, dtype if whole or dtype.kind == "f" else given.dtype)
    if isinstance(kind, np.ndarray) and kind.ndim:
        return array
    plain = array.tolist()
    return tuple(plain) if isinstance(kind, tuple) else plain


def _require_usable(name: str, observation_space: Box, action_space: Space) -> None:
    try:
        require_usable(observation_space, action_space)
    except ValueError as error:
        raise CollectionError(f"{name}: {error}") from error
