"""Gymnasium's MuJoCo environments with a task: other rewards, goals and bodies.

Importing this module imports MuJoCo (the extra ``mujoco``). An environment's task is set by ``set_task``.
"""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any, final

import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

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
    """Gymnasium's half-cheetah with a leaner step: nothing is computed that neither observation nor reward contains."""

    def move(self, action: np.ndarray) -> tuple[np.ndarray, float]:
        """Makes a step: the observation, and the mean velocity along the track during it (m/s)."""
        import mujoco

        data = self.data
        before = data.qpos[0]
        data.ctrl[:] = action
        mujoco.mj_step(self.model, data, nstep=self.frame_skip)
        position = data.qpos
        return np.concatenate((position[1:], data.qvel)), (position[0] - before) / CHEETAH_SECONDS


@final
class HalfCheetahDir(Cheetah):
    """Rewards speed in ``direction`` (1 forwards, −1 backwards)."""

    direction = 1.0

    def set_task(self, task: Mapping[str, Any]) -> None:
        self.direction = task["direction"]

    def step(self, action: np.ndarray):
        observation, velocity = self.move(action)
        return observation, self.direction * velocity - CONTROL_COST * float(action @ action), False, False, {}


@final
class HalfCheetahVel(Cheetah):
    """Rewards being as fast as ``velocity`` (m/s), no faster."""

    velocity = 1.0

    def set_task(self, task: Mapping[str, Any]) -> None:
        self.velocity = task["velocity"]

    def step(self, action: np.ndarray):
        observation, velocity = self.move(action)
        cost = abs(velocity - self.velocity) + CONTROL_COST * float(action @ action)
        return observation, -cost, False, False, {}


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
