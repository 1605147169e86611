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

from metazoo.tasks.gym_board import Board
from metazoo.tasks.gym_rows import Recipe, describe_task, require_finite

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
        reward = float(paid) - CONTROL_COST * float(action @ action)
        return np.concatenate((position[1:], data.qvel)), reward, False, False, {}


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


@final
class CheetahRows:
    """Half-cheetahs of one process as the states of a single simulation, with the interface of ``gym_rows.Rows``.

    Simulations of many rows push one another out of the processor's cache, and Python would make observations and
    rewards row by row: this trains half as fast again. States hold what the solver starts from, so rows move as
    environments of their own do, to the last bit.
    """

    def __init__(self, recipe: Recipe):
        self._recipe = recipe
        self._env: Any = None
        self._steps = 0
        self._tasks: Sequence[Mapping[str, Any]] = ()
        self._states = self._parameters = np.zeros(0)

    def begin(self, board: Board, tasks: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
        """Begin an episode in every row of ``board``."""
        import mujoco

        kept = mujoco.mjtState
        spec = int(kept.mjSTATE_INTEGRATION)
        env = self._env = self._env or self._recipe.build(tasks[0])
        self._tasks, self._parameters = tasks, np.array([task[env.parameter] for task in tasks])
        self._states, self._steps = np.empty((len(tasks), mujoco.mj_stateSize(env.model, spec))), 0
        offset = {field: mujoco.mj_stateSize(env.model, spec & (int(field) - 1)) for field in kept.__members__.values()}
        first, control = offset[kept.mjSTATE_QPOS], offset[kept.mjSTATE_CTRL]
        self._position, self._seen = first, slice(first + 1, first + env.model.nq + env.model.nv)
        self._control = slice(control, control + env.model.nu)
        board.rewards.fill(0.0)
        for row, seed in enumerate(seeds):
            board.observations[row], _ = env.reset(seed=int(seed))
            mujoco.mj_getState(env.model, env.data, self._states[row], spec)

    def step(self, board: Board) -> None:
        """Move the playing rows by their actions.

        Raises:
            CollectionError: a reward or an observation is not finite; names the environment, its task and the step.
        """
        import mujoco

        env, states, playing = self._env, self._states, board.playing
        actions = np.clip(board.actions, env.action_space.low, env.action_space.high)
        states[:, self._control] = actions
        before = states[:, self._position].copy()
        model, data, spec = env.model, env.data, int(mujoco.mjtState.mjSTATE_INTEGRATION)
        for state in states if playing.all() else [states[row] for row in np.flatnonzero(playing)]:
            mujoco.mj_setState(model, data, state, spec)
            mujoco.mj_step(model, data, nstep=env.frame_skip)
            mujoco.mj_getState(model, data, state, spec)
        paid = env.pay(self._parameters, (states[:, self._position] - before) / CHEETAH_SECONDS)
        board.rewards[:] = np.where(playing, paid - CONTROL_COST * np.square(actions).sum(1), 0.0)
        board.observations[:] = states[:, self._seen]
        who = lambda row: f"{type(env).__name__} with {describe_task(self._tasks[row])}"  # noqa: E731
        require_finite(board, who, f"at step {self._steps}")
        self._steps += 1

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
