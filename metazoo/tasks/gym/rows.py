"""Rows of Gymnasium environments in one process, each playing an episode of its own task; knows no TensorFlow.

Everything goes in and out through the arrays of a ``Board``, so that the rows may as well be in another process. They
are stepped in a plain loop: Gymnasium's ``SyncVectorEnv`` does the same, but restarts what has ended, which rollouts
do not want, and does not say whose observation is wrong.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, final

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from metazoo.artefact.spaces import CollectionError, clip_to_box, env_name, flatten_observation, observation_spec
from metazoo.tasks.gym import attributes as gym_attributes
from metazoo.tasks.gym.board import Board


@final
class Imported:
    """Makes environments of a module's class, importing the module then; ``missing`` says what to do if it cannot.

    ``rows`` names a class of the module that steps such environments in place of ``Rows``.
    """

    def __init__(self, module: str, name: str, missing: str, rows: str = ""):
        self.module, self.__name__, self.missing, self.rows = module, name, missing, rows

    def __call__(self, **arguments: Any) -> gym.Env:
        return self.find(self.__name__)(**arguments)

    def find(self, name: str) -> Any:
        """What the module calls so."""
        try:
            return getattr(importlib.import_module(self.module), name)
        except (ImportError, gym.error.DependencyNotInstalled) as error:
            raise CollectionError(self.missing) from error


@final
@dataclass(frozen=True)
class Recipe:
    """How to make an environment for a task.

    ``make``: an id, or a callable that returns an environment; ``arguments``: what all tasks have in common. A task's
    parameters are given to the environment's ``set_task`` method if it has one; else to ``make``, where that takes
    them, and set as attributes of the bare environment where not.
    """

    make: str | Callable[..., gym.Env]
    arguments: Mapping[str, Any]

    def build(self, task: Mapping[str, Any]) -> gym.Env:
        """An environment for that task.

        Raises:
            CollectionError: it cannot be made, or has no place for a parameter.
        """
        if isinstance(self.make, str):
            env = gym_attributes.make(self.make, {**self.arguments, **self._arguments(task)}, disable_env_checker=True)
        else:
            try:
                env = self.make(**self.arguments, **self._arguments(task))
            except CollectionError:
                raise
            except Exception as error:  # the user's code
                raise CollectionError(f"{self.name} cannot be made: {type(error).__name__}: {error}") from error
            if not isinstance(env, gym.Env):
                raise CollectionError(f"{self.name} made a {type(env).__name__}; it must make a gymnasium.Env")
        self.set_task(env, task)
        return env

    def set_task(self, env: gym.Env, task: Mapping[str, Any]) -> None:
        """Give an environment that ``build`` made another task, which ``needs_new`` allowed."""
        if hasattr(env.unwrapped, "set_task"):
            env.unwrapped.set_task(dict(task))
            return
        arguments = self._arguments(task)
        gym_attributes.set_attributes(env, {name: value for name, value in task.items() if name not in arguments})

    def needs_new(self, env: gym.Env, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        """Whether the new task differs in what only a constructor can set."""
        if hasattr(env.unwrapped, "set_task"):
            return False
        return any(not np.array_equal(old[name], value) for name, value in self._arguments(new).items())

    @property
    def name(self) -> str:
        """How messages call it before there is an environment."""
        return self.make if isinstance(self.make, str) else getattr(self.make, "__name__", repr(self.make))

    def _arguments(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a task that ``make`` takes."""
        return {name: value for name, value in task.items() if name in self._accepted}

    @cached_property
    def _accepted(self) -> set[str]:
        if isinstance(self.make, str):
            return gym_attributes.accepted_by_id(self.make)
        return gym_attributes.accepted_by(self.make)


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
        for row, (task, seed) in enumerate(zip(tasks, seeds, strict=True)):
            board.current[0] = row
            env = self._env_for(row, task)
            try:
                observation, _ = env.reset(seed=int(seed))
            except Exception as error:  # the user's code: whatever it raises is reported as one sentence
                raise CollectionError(f"{self._who(row)} failed to reset: {_describe(error)}") from error
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
                observation, reward, terminated, truncated, _ = self._envs[row].step(actions[row])
            except Exception as error:
                raise CollectionError(
                    f"{self._who(row)} failed {where} on action {actions[row]}: {_describe(error)}"
                ) from error
            self._write(board, row, observation, where)
            try:
                board.rewards[row] = reward
                board.terminated[row], board.truncated[row] = terminated, truncated and not terminated
            except (TypeError, ValueError) as error:
                raise CollectionError(
                    f"{self._who(row)} gave the reward {reward!r} {where}: it must be a number"
                ) from error
        require_finite(board, self._who, where)
        self._steps += 1

    def close(self) -> None:
        for env in self._envs:
            env.close()
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
            old.close()
        else:
            self.recipe.set_task(self._envs[row], task)
        self._tasks[row] = task
        return self._envs[row]

    def _prepare(self, env: gym.Env) -> None:
        self._observation_space, self._action_space = env.observation_space, env.action_space
        self._shape, _ = observation_spec(env.observation_space)
        self._plain = isinstance(env.observation_space, spaces.Box)

    def _clipped(self, actions: np.ndarray) -> Sequence[Any]:
        """All rows' actions as environments take them."""
        if isinstance(self._action_space, spaces.Discrete):
            return actions.tolist()
        if isinstance(self._action_space, spaces.Box):
            return list(clip_to_box(self._action_space, actions))
        return list(actions.astype(self._action_space.dtype))

    def _write(self, board: Board, row: int, observation: Any, where: str) -> None:
        try:
            if not self._plain or np.shape(observation) != self._shape:
                observation = flatten_observation(self._observation_space, observation)
            board.observations[row] = observation
        except (CollectionError, TypeError, ValueError, KeyError, IndexError) as error:
            raise CollectionError(f"{self._who(row)} gave a wrong observation {where}: {_describe(error)}") from error

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


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, CollectionError) else str(error)
