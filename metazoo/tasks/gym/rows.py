"""Rows of Gymnasium environments in one process, each playing an episode of its own task; knows no TensorFlow.

Everything goes in and out through the arrays of a ``Board``, so that the rows may as well be in another process. They
are stepped in a plain loop: Gymnasium's ``SyncVectorEnv`` does the same, but restarts what has ended, which rollouts
do not want, and does not say whose observation is wrong.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, final

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from metazoo.artefact.answers import AnswerError, describe, flatten_observation, read_reset, read_step
from metazoo.artefact.spaces import CollectionError, clip_to_box, env_name, observation_spec, require_env
from metazoo.tasks.gym import attributes as gym_attributes
from metazoo.tasks.gym.board import Board


@final
class Imported:
    """Makes environments of a module's class, importing the module then; ``missing`` says what to do if it cannot.

    ``rows``, ``module:class``, names what steps such environments in place of ``Rows``.
    """

    def __init__(self, module: str, name: str, missing: str, rows: str = ""):
        self.module, self.__name__, self.missing, self.rows = module, name, missing, rows

    def __call__(self, **arguments: Any) -> gym.Env:
        return self.find(f"{self.module}:{self.__name__}")(**arguments)

    def find(self, place: str) -> Any:
        """What stands at ``module:name``."""
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, gym.error.DependencyNotInstalled) as error:
            raise CollectionError(self.missing) from error


@final
@dataclass(frozen=True)
class Recipe:
    """How to make an environment for a task.

    ``make``: an id, or a callable that returns an environment; ``arguments``: what all tasks have in common. A task's
    parameters are given to the environment's ``set_task`` method if it has one; else to ``make``, where that takes
    them, and set as attributes of the bare environment where not. Environments get copies.
    """

    make: str | Callable[..., gym.Env]
    arguments: Mapping[str, Any]

    def build(self, task: Mapping[str, Any]) -> gym.Env:
        """An environment for that task.

        Raises:
            CollectionError: it cannot be made, or has no place for a parameter.
        """
        with self._named():
            env = self._constructor.build({**self.arguments, **deepcopy(task)})
            if not isinstance(env, gym.Env):
                raise CollectionError(f"{self.name} made a {type(env).__name__}; it must make a gymnasium.Env")
            require_env(env)
            gym_attributes.set_attributes(env, self._attributes(self.arguments))
        self.set_task(env, task)
        return env

    def set_task(self, env: gym.Env, task: Mapping[str, Any]) -> None:
        """Give an environment that ``build`` made another task, which ``needs_new`` allowed.

        Raises:
            CollectionError: it has no place for a parameter, or refuses its value.
        """
        task = deepcopy(dict(task))  # environments may change what they are given
        if not hasattr(env.unwrapped, "set_task"):
            gym_attributes.set_attributes(env, self._attributes(task))
            return
        try:
            env.unwrapped.set_task(task)
        except Exception as error:  # the user's code
            told = describe_task(task)
            raise CollectionError(f"{env_name(env)} refused the task {told}: {describe(error)}") from error

    def needs_new(self, env: gym.Env, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        """Whether the new task differs in what only a constructor can set."""
        if hasattr(env.unwrapped, "set_task"):
            return False
        takes = self._constructor.takes
        return any(takes(name) and not np.array_equal(old[name], value) for name, value in new.items())

    @property
    def name(self) -> str:
        """How messages call it before there is an environment."""
        return self.make if isinstance(self.make, str) else getattr(self.make, "__name__", repr(self.make))

    def _attributes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The part that ``make`` does not take."""
        return {name: value for name, value in values.items() if not self._constructor.takes(name)}

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What goes wrong in the user's code, as one sentence."""
        try:
            with gym_attributes.named(self.make) if isinstance(self.make, str) else nullcontext():
                yield
        except CollectionError:
            raise
        except Exception as error:
            raise CollectionError(f"{self.name} cannot be made: {describe(error)}") from error

    @cached_property
    def _constructor(self) -> gym_attributes.Constructor:
        if isinstance(self.make, str):
            return gym_attributes.by_id(self.make, disable_env_checker=True)
        if isinstance(self.make, Imported):
            return gym_attributes.Constructor(self.make.find(f"{self.make.module}:{self.make.__name__}"))
        return gym_attributes.Constructor(self.make)


@final
class Rows:
    """The environments of one process."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self._envs: list[gym.Env] = []
        self._tasks: list[Mapping[str, Any]] = []
        self._steps = 0

    def begin(self, board: Board, tasks: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
        """Begin an episode in every row of ``board``; rows that are not needed keep their environments.

        Raises:
            CollectionError: names the environment, its task and what it did.
        """
        self._steps = 0
        board.rewards.fill(0.0)
        board.successes.fill(np.nan)
        for row, (task, seed) in enumerate(zip(tasks, seeds, strict=True)):
            board.current[0] = row
            env = self._env_for(row, task)
            try:
                answer = env.reset(seed=int(seed))
            except Exception as error:  # the user's code: whatever it raises is reported as one sentence
                raise CollectionError(f"{self._who(row)} failed to reset: {describe(error)}") from error
            try:
                observation = read_reset(answer)
            except AnswerError as error:
                raise error.by(self._who(row), "at the reset") from error
            self._write(board, row, observation, "at the reset")
        require_finite(board, self._who, "at the reset")

    def step(self, board: Board) -> None:
        """Move the playing rows by their actions.

        Raises:
            CollectionError: names the environment, its task, the step and what it did.
        """
        board.rewards.fill(0.0)
        board.terminated.fill(False)
        board.truncated.fill(False)
        actions = self._clipped(board.actions)
        where = f"at step {self._steps}"
        for row in np.flatnonzero(board.playing).tolist():
            board.current[0] = row
            try:
                answer = self._envs[row].step(actions[row])
            except Exception as error:
                raise CollectionError(
                    f"{self._who(row)} failed {where} on action {actions[row]}: {describe(error)}"
                ) from error
            try:
                outcome = read_step(answer)
            except AnswerError as error:
                raise error.by(self._who(row), where) from error
            observation, board.rewards[row], board.terminated[row], board.truncated[row] = outcome
            board.successes[row] = told_success(answer[4])
            self._write(board, row, observation, where)
        require_finite(board, self._who, where)
        self._steps += 1

    def close(self) -> None:
        for env in self._envs:
            gym_attributes.close(env)
        self._envs.clear()
        self._tasks.clear()

    def _env_for(self, row: int, task: Mapping[str, Any]) -> gym.Env:
        """The row's environment with its new task: made, made again, or the old one changed."""
        if row == len(self._envs):
            self._envs.append(self.recipe.build(task))
            self._tasks.append(task)
            self._prepare(self._envs[0])
        elif self.recipe.needs_new(self._envs[row], self._tasks[row], task):
            old, self._envs[row] = self._envs[row], self.recipe.build(task)
            gym_attributes.close(old)
        else:
            self.recipe.set_task(self._envs[row], task)
        self._tasks[row] = task
        return self._envs[row]

    def _prepare(self, env: gym.Env) -> None:
        self._observation_space, self._action_space = env.observation_space, env.action_space
        self._shape, dtype = observation_spec(env.observation_space)
        plain = isinstance(env.observation_space, spaces.Box)
        floats = np.dtype(np.float32), np.dtype(np.float64)
        self._kinds = () if not plain else (dtype,) if dtype == np.uint8 else floats

    def _clipped(self, actions: np.ndarray) -> Sequence[Any]:
        """All rows' actions as environments take them."""
        if isinstance(self._action_space, spaces.Discrete):
            return actions.tolist()
        if isinstance(self._action_space, spaces.Box):
            return list(clip_to_box(self._action_space, actions))
        return list(actions.astype(self._action_space.dtype))

    def _write(self, board: Board, row: int, observation: Any, where: str) -> None:
        """A copy. What has the space's shape and kind already is not looked at again: this is done at every step."""
        try:
            fits = type(observation) is np.ndarray and observation.dtype in self._kinds
            if not fits or observation.shape != self._shape:
                observation = flatten_observation(self._observation_space, observation)
            board.observations[row] = observation
        except Exception as error:
            raise CollectionError(f"{self._who(row)} gave a wrong observation {where}: {describe(error)}") from error

    def _who(self, row: int) -> str:
        return f"{env_name(self._envs[row])} with {describe_task(self._tasks[row])}"


class SteppedRows(Protocol):
    """What steps the environments of one process."""

    def begin(self, board: Board, tasks: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None: ...

    def step(self, board: Board) -> None:
        """Writes to ``board.current[0]`` which row it is stepping. Raises CollectionError."""

    def close(self) -> None: ...


def rows_for(recipe: Recipe) -> SteppedRows:
    """What steps environments of the recipe: ``Rows``, or what they have of their own with its interface."""
    if isinstance(recipe.make, Imported) and recipe.make.rows:
        return recipe.make.find(recipe.make.rows)(recipe)
    return Rows(recipe)


def told_success(info: Any) -> float:
    """What an environment's ``info`` says of success (``success`` or ``is_success``); NaN if nothing."""
    try:
        return float(info.get("success", info.get("is_success", np.nan)))
    except (AttributeError, TypeError, ValueError):
        return np.nan


def require_finite(board: Board, who: Callable[[int], str], where: str) -> None:
    """One look at all rows together; whose number it was is found only if there is something to say.

    Raises:
        CollectionError: a reward or an observation is not finite; ``who`` describes a row.
    """
    if not np.isfinite(board.rewards).all():
        row = int(np.flatnonzero(~np.isfinite(board.rewards))[0])
        raise CollectionError(f"{who(row)} gave the reward {board.rewards[row]} {where}: it must be finite")
    seen = board.observations
    if seen.dtype.kind == "f" and not np.isfinite(seen).all():
        row = int(np.flatnonzero(~np.isfinite(seen).reshape(len(seen), -1).all(1))[0])
        bad = seen[row][~np.isfinite(seen[row])][0]
        raise CollectionError(f"{who(row)} gave an observation with {bad} in it {where}: all must be finite")


def describe_task(task: Mapping[str, Any]) -> str:
    """A task in a message: ``length=0.8, goal=[1.0, 2.0], mass=(8 numbers)``."""
    sizes = {name: np.size(value) for name, value in task.items()}
    long = {name: f"({size} numbers)" for name, size in sizes.items() if size > 4}
    return ", ".join(f"{name}={long.get(name) or np.round(value, 4).tolist()}" for name, value in task.items())
