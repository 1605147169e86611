"""Many MuJoCo bodies of one process as the states of a single simulation: ``gym.rows.SteppedRows``.

Simulations of many rows push one another out of the processor's cache, and Python would make observations and rewards
row by row. Here a row is a state; the physics of one row after another, then observations, rewards and ends of all of
them at once. States hold what the solver starts from, so rows do what environments of their own do.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np

from metazoo.artefact.spaces import CollectionError, env_name
from metazoo.tasks.gym.board import Board
from metazoo.tasks.gym.rows import Recipe, describe_task, require_finite


class Seen(NamedTuple):
    """What bodies tell of a moment: positions ``[n, nq]``, velocities ``[n, nv]`` and, of some, ``more [n, k]``."""

    qpos: np.ndarray
    qvel: np.ndarray
    more: np.ndarray


def kept() -> int:
    """All parts of MuJoCo's state that the next step depends on, the solver's start included."""
    import mujoco

    return int(mujoco.mjtState.mjSTATE_INTEGRATION)


def place_of(model: Any, part: str) -> slice:
    """Where a part of MuJoCo's state stands: parts are in the order of their bits."""
    import mujoco

    bit = int(getattr(mujoco.mjtState, f"mjSTATE_{part}"))
    first = mujoco.mj_stateSize(model, kept() & (bit - 1))
    return slice(first, first + mujoco.mj_stateSize(model, bit))


@final
class BodyRows:
    """Rows of an environment with ``seen_more``, ``observed`` and ``outcomes``: see ``envs.SharedModel``."""

    def __init__(self, recipe: Recipe):
        self._recipe = recipe
        self._env: Any = None
        self._steps = 0
        self._tasks: Sequence[Mapping[str, Any]] = ()
        self._parameters: Any = None
        self._models: list[Any] = []
        self._states = self._more = np.zeros((0, 0))

    def begin(self, board: Board, tasks: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
        """Begin an episode in every row of ``board``."""
        import mujoco

        env: Any = self._env or self._recipe.build(tasks[0])
        self._env = env
        self._tasks, self._parameters, self._steps = tasks, env.parameters_of(tasks), 0
        self._states = np.empty((len(tasks), mujoco.mj_stateSize(env.model, kept())))
        self._more = np.empty((len(tasks), env.more))
        board.rewards.fill(0.0)
        board.successes.fill(np.nan)
        self._make_models(len(tasks))
        for row, (task, seed) in enumerate(zip(tasks, seeds, strict=True)):
            board.current[0], env.model = row, self._models[row]
            self._recipe.set_task(env, task)
            board.observations[row], _ = env.reset(seed=int(seed))
            self._more[row] = env.seen_more()
            mujoco.mj_getState(env.model, env.data, self._states[row], kept())

    def step(self, board: Board) -> None:
        """Move the playing rows by their actions.

        Raises:
            CollectionError: MuJoCo fails, or a reward or an observation is not finite; names the environment, its task
                and the step.
        """
        env, states, playing = self._env, self._states, board.playing
        actions = np.clip(board.actions, env.action_space.low, env.action_space.high)
        states[:, place_of(env.model, "CTRL")] = actions
        before = Seen(*(field.copy() for field in self._seen()))
        try:
            self._advance(board)
        except Exception as error:
            who, action = self._who(board.current[0]), actions[board.current[0]]
            raise CollectionError(
                f"{who} failed at step {self._steps} on action {action}: {type(error).__name__}: {error}"
            ) from error
        after = self._seen()
        rewards, ended = env.outcomes(self._parameters, before, after, actions)
        board.rewards[:] = np.where(playing, rewards, 0.0)
        board.terminated[:], board.truncated[:] = playing & ended, False
        board.observations[:] = env.observed(after)
        require_finite(board, self._who, f"at step {self._steps}")
        self._steps += 1

    def _advance(self, board: Board) -> None:
        """Puts the playing rows' states into the simulation in turn."""
        import mujoco

        env, data, spec, seen_more = self._env, self._env.data, kept(), self._env.seen_more
        for row in np.flatnonzero(board.playing).tolist():
            board.current[0], state, model = row, self._states[row], self._models[row]
            mujoco.mj_setState(model, data, state, spec)
            mujoco.mj_step(model, data, nstep=env.frame_skip)
            mujoco.mj_getState(model, data, state, spec)
            if env.more:
                mujoco.mj_rnePostConstraint(model, data)
                self._more[row] = seen_more()

    def _seen(self) -> Seen:
        model, states = self._env.model, self._states
        return Seen(states[:, place_of(model, "QPOS")], states[:, place_of(model, "QVEL")], self._more)

    def _make_models(self, count: int) -> None:
        """A model for each row, or the same for all where tasks do not change it."""
        env = self._env
        while len(self._models) < count:
            self._models.append(copy.copy(env.model) if env.own_model else env.model)

    def _who(self, row: int) -> str:
        return f"{env_name(self._env)} with {describe_task(self._tasks[row])}"

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
