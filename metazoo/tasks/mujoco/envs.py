"""Gymnasium's MuJoCo environments with a task: other rewards, goals and bodies.

Importing this module imports MuJoCo (the extra ``mujoco``). An environment's task is set by ``set_task``.
"""

import copy
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, final

import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from metazoo.artefact.spaces import CollectionError, env_name
from metazoo.tasks.gym.board import Board
from metazoo.tasks.gym.rows import Recipe, describe_task, require_finite

CONTROL_COST = 0.05
"""Of the half-cheetahs, as in rllab; Gymnasium's own is 0.1."""
CHEETAH_SECONDS = 0.05
"""Of simulated time, a step of the half-cheetahs."""
MULTIPLIED = {"mass": "body_mass", "inertia": "body_inertia", "damping": "dof_damping", "friction": "geom_friction"}
"""Task parameters of the bodies, and the arrays of the MuJoCo model that they multiply."""


class SharedModel(MujocoEnv):
    """Copies a model that this process has read before instead of reading it again, which takes ten times as long."""

    def _initialize_simulation(self) -> tuple[Any, Any]:
        import mujoco

        model = copy.copy(_read(self.fullpath))
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        return model, mujoco.MjData(model)


@cache
def _read(path: str) -> Any:
    import mujoco

    return mujoco.MjModel.from_xml_path(path)


class Cheetah(SharedModel, HalfCheetahEnv):
    """Gymnasium's half-cheetah with a leaner step: nothing is computed that neither observation nor reward contains.

    Rewards ``pay`` for the mean velocity along the track during a step (m/s), less what the controls cost.
    """

    parameter: str
    """The task's only parameter."""

    @staticmethod
    def pay(parameter: Any, velocity: Any) -> Any:
        """The reward of a velocity before costs: numbers, or arrays of many rows."""
        raise NotImplementedError

    def set_task(self, task: Mapping[str, Any]) -> None:
        setattr(self, self.parameter, task[self.parameter])

    def step(self, action: np.ndarray):
        import mujoco

        data = self.data
        before = data.qpos[0]
        data.ctrl[:] = action
        mujoco.mj_step(self.model, data, nstep=self.frame_skip)
        position = data.qpos
        paid = self.pay(getattr(self, self.parameter), (position[0] - before) / CHEETAH_SECONDS)
        return np.concatenate((position[1:], data.qvel)), float(paid - control_cost(action)), False, False, {}


@final
class HalfCheetahDir(Cheetah):
    """Rewards speed in ``direction`` (1 forwards, −1 backwards)."""

    parameter, direction = "direction", 1.0

    @staticmethod
    def pay(parameter: Any, velocity: Any) -> Any:
        return parameter * velocity


@final
class HalfCheetahVel(Cheetah):
    """Rewards being as fast as ``velocity`` (m/s), no faster."""

    parameter, velocity = "velocity", 1.0

    @staticmethod
    def pay(parameter: Any, velocity: Any) -> Any:
        return -abs(velocity - parameter)


def control_cost(actions: np.ndarray) -> Any:
    """Of actions ``[..., 6]``, in double precision, so that a row costs what it costs alone."""
    return CONTROL_COST * np.square(actions, dtype=np.float64).sum(-1)


@final
class CheetahRows:
    """Half-cheetahs of one process as the states of a single simulation: ``gym_rows.SteppedRows``.

    Simulations of many rows push one another out of the processor's cache, and Python would make observations and
    rewards row by row. States hold what the solver starts from, so rows do what environments of their own do, to the
    last bit. They never end by themselves.
    """

    def __init__(self, recipe: Recipe):
        self._recipe = recipe
        self._env: Any = None
        self._steps = 0
        self._tasks: Sequence[Mapping[str, Any]] = ()
        self._states: np.ndarray = np.zeros(0)
        self._parameters: np.ndarray = np.zeros(0)

    def begin(self, board: Board, tasks: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
        """Begin an episode in every row of ``board``."""
        import mujoco

        env: Any = self._env or self._recipe.build(tasks[0])
        self._env = env
        self._tasks, self._parameters = tasks, np.array([task[env.parameter] for task in tasks])
        spec = int(mujoco.mjtState.mjSTATE_INTEGRATION)
        self._states, self._steps = np.empty((len(tasks), mujoco.mj_stateSize(env.model, spec))), 0
        board.rewards.fill(0.0)
        for row, seed in enumerate(seeds):
            board.observations[row], _ = env.reset(seed=int(seed))
            mujoco.mj_getState(env.model, env.data, self._states[row], spec)

    def step(self, board: Board) -> None:
        """Move the playing rows by their actions.

        Raises:
            CollectionError: MuJoCo fails, or a reward or an observation is not finite; names the environment, its task
                and the step.
        """
        env, states, playing = self._env, self._states, board.playing
        position, control = self._place("QPOS"), self._place("CTRL")
        actions = np.clip(board.actions, env.action_space.low, env.action_space.high)
        states[:, control : control + env.model.nu] = actions
        before = states[:, position].copy()
        try:
            self._advance(board)
        except Exception as error:
            who, action = self._who(board.current[0]), actions[board.current[0]]
            raise CollectionError(
                f"{who} failed at step {self._steps} on action {action}: {type(error).__name__}: {error}"
            ) from error
        paid = env.pay(self._parameters, (states[:, position] - before) / CHEETAH_SECONDS)
        board.rewards[:] = np.where(playing, paid - control_cost(actions), 0.0)
        board.observations[:] = states[:, position + 1 : position + env.model.nq + env.model.nv]
        require_finite(board, self._who, f"at step {self._steps}")
        self._steps += 1

    def _advance(self, board: Board) -> None:
        """Puts the playing rows' states into the simulation in turn."""
        import mujoco

        model, data, spec = self._env.model, self._env.data, int(mujoco.mjtState.mjSTATE_INTEGRATION)
        for row in np.flatnonzero(board.playing).tolist():
            board.current[0], state = row, self._states[row]
            mujoco.mj_setState(model, data, state, spec)
            mujoco.mj_step(model, data, nstep=self._env.frame_skip)
            mujoco.mj_getState(model, data, state, spec)

    def _place(self, part: str) -> int:
        """Where a part of MuJoCo's state begins: parts stand in the order of their bits."""
        import mujoco

        kept = mujoco.mjtState
        before = int(getattr(kept, f"mjSTATE_{part}")) - 1
        return mujoco.mj_stateSize(self._env.model, int(kept.mjSTATE_INTEGRATION) & before)

    def _who(self, row: int) -> str:
        return f"{env_name(self._env)} with {describe_task(self._tasks[row])}"

    def close(self) -> None:
        if self._env is not None:
            self._env.close()


@final
class AntDir(SharedModel, AntEnv):
    """Gymnasium's Ant, whose forward direction may be backwards."""

    def __init__(self) -> None:
        super().__init__(include_cfrc_ext_in_observation=False)

    def set_task(self, task: Mapping[str, Any]) -> None:
        self._forward_reward_weight = task["direction"]


@final
class AntGoal(SharedModel, AntEnv):
    """Rewards being near ``goal`` (m), which no observation shows; the position is in it. Episodes never end early."""

    goal = np.zeros(2)

    def __init__(self) -> None:
        super().__init__(
            include_cfrc_ext_in_observation=False,
            exclude_current_positions_from_observation=False,
            terminate_when_unhealthy=False,
            ctrl_cost_weight=0.1,
        )

    def set_task(self, task: Mapping[str, Any]) -> None:
        self.goal = task["goal"]

    def _get_rew(self, x_velocity: float, action: np.ndarray) -> tuple[float, dict[str, float]]:
        distance = float(np.abs(self.data.body(self._main_body).xpos[:2] - self.goal).sum())
        return -distance - self.control_cost(action) - self.contact_cost, {"distance": distance}


class Body(SharedModel):
    """Masses, inertias, damping and friction multiplied, element by element."""

    original: Mapping[str, np.ndarray] | None = None

    def set_task(self, task: Mapping[str, Any]) -> None:
        import mujoco

        if self.original is None:
            self.original = {name: getattr(self.model, field).copy() for name, field in MULTIPLIED.items()}
        for name, field in MULTIPLIED.items():
            getattr(self.model, field)[:] = self.original[name] * task[name]
        mujoco.mj_setConst(self.model, self.data)  # what MuJoCo derives from them; the state is lost


@final
class HopperBody(Body, HopperEnv):
    pass


@final
class Walker2dBody(Body, Walker2dEnv):
    pass
