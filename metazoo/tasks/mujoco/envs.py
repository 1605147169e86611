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

from metazoo.tasks.mujoco.rows import Seen

CONTROL_COST = 0.05
"""Of the half-cheetahs, as in rllab; Gymnasium's own is 0.1."""
CHEETAH_SECONDS = 0.05
"""Of simulated time, a step of the half-cheetahs."""
MULTIPLIED = {"mass": "body_mass", "inertia": "body_inertia", "damping": "dof_damping", "friction": "geom_friction"}
"""Task parameters of the bodies, and the arrays of the MuJoCo model that they multiply."""


class SharedModel(MujocoEnv):
    """A body with a task, alone or as one of many rows (``rows.BodyRows``).

    Copies a model that this process has read before instead of reading it again, which takes ten times as long.
    """

    own_model = False
    """Whether tasks change the model, so that each row needs one of its own."""
    more = 0
    """How many numbers ``seen_more`` tells beside the state."""

    def _initialize_simulation(self) -> tuple[Any, Any]:
        import mujoco

        model = copy.copy(_read(self.fullpath))
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        return model, mujoco.MjData(model)

    def parameters_of(self, tasks: Sequence[Mapping[str, Any]]) -> Any:
        """What ``outcomes`` needs of the tasks of many rows; None if it is in the model."""
        return None

    def seen_more(self) -> Any:
        """``[more]`` of the simulation now."""
        return ()

    def observed(self, seen: Seen) -> np.ndarray:
        """Observations ``[n, ...]`` of many rows, as ``step`` gives them of one."""
        raise NotImplementedError

    def outcomes(
        self, parameters: Any, before: Seen, after: Seen, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | bool]:
        """Rewards ``[n]`` of many rows, and which have ended, as ``step`` gives them of one. Actions are clipped."""
        raise NotImplementedError


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

    def parameters_of(self, tasks: Sequence[Mapping[str, Any]]) -> Any:
        return np.array([task[self.parameter] for task in tasks])

    def observed(self, seen: Seen) -> np.ndarray:
        return np.concatenate((seen.qpos[:, 1:], seen.qvel), 1)

    def outcomes(self, parameters: Any, before: Seen, after: Seen, actions: np.ndarray) -> tuple[np.ndarray, bool]:
        paid = self.pay(parameters, (after.qpos[:, 0] - before.qpos[:, 0]) / CHEETAH_SECONDS)
        return paid - control_cost(actions), False


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


def control_cost(actions: np.ndarray, weight: float = CONTROL_COST) -> Any:
    """Of actions ``[..., n]``, in double precision, so that a row costs what it costs alone."""
    return weight * np.square(actions, dtype=np.float64).sum(-1)


class Ant(SharedModel, AntEnv):
    """An ant, which is paid for where its torso is: MuJoCo tells it as of the last moment before a step's end."""

    more = 3
    """The torso's place (m), and what contacts cost."""

    def seen_more(self) -> tuple[float, float, float]:
        x, y = self.data.body(self._main_body).xpos[:2]
        return x, y, self.contact_cost

    def observed(self, seen: Seen) -> np.ndarray:
        skipped = 2 if self._exclude_current_positions_from_observation else 0
        return np.concatenate((seen.qpos[:, skipped:], seen.qvel), 1)

    def healthy(self, seen: Seen) -> np.ndarray:
        low, high = self._healthy_z_range
        finite = np.isfinite(seen.qpos).all(1) & np.isfinite(seen.qvel).all(1)
        return finite & (low <= seen.qpos[:, 2]) & (seen.qpos[:, 2] <= high)


@final
class AntDir(Ant):
    """Gymnasium's Ant, whose forward direction may be backwards."""

    def __init__(self) -> None:
        super().__init__(include_cfrc_ext_in_observation=False)

    def set_task(self, task: Mapping[str, Any]) -> None:
        self._forward_reward_weight = task["direction"]

    def parameters_of(self, tasks: Sequence[Mapping[str, Any]]) -> Any:
        return np.array([task["direction"] for task in tasks])

    def outcomes(
        self, parameters: Any, before: Seen, after: Seen, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        forward = parameters * (after.more[:, 0] - before.more[:, 0]) / self.dt
        healthy = self.healthy(after)
        costs = control_cost(actions, self._ctrl_cost_weight) + after.more[:, 2]
        return forward + self._healthy_reward * healthy - costs, ~healthy


@final
class AntGoal(Ant):
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

    def parameters_of(self, tasks: Sequence[Mapping[str, Any]]) -> Any:
        return np.array([task["goal"] for task in tasks])

    def outcomes(self, parameters: Any, before: Seen, after: Seen, actions: np.ndarray) -> tuple[np.ndarray, bool]:
        distance = np.abs(after.more[:, :2] - parameters).sum(1)
        return -distance - control_cost(actions, self._ctrl_cost_weight) - after.more[:, 2], False


class Body(SharedModel):
    """Masses, inertias, damping and friction multiplied, element by element."""

    own_model = True
    original: Mapping[str, np.ndarray] | None = None
    _forward_reward_weight: float
    _healthy_reward: float
    _ctrl_cost_weight: float
    _healthy_z_range: tuple[float, float]
    _healthy_angle_range: tuple[float, float]

    def set_task(self, task: Mapping[str, Any]) -> None:
        import mujoco

        if self.original is None:
            self.original = {name: getattr(self.model, field).copy() for name, field in MULTIPLIED.items()}
        for name, field in MULTIPLIED.items():
            getattr(self.model, field)[:] = self.original[name] * task[name]
        mujoco.mj_setConst(self.model, self.data)  # what MuJoCo derives from them; the state is lost

    def observed(self, seen: Seen) -> np.ndarray:
        return np.concatenate((seen.qpos[:, 1:], np.clip(seen.qvel, -10, 10)), 1)

    def outcomes(
        self, parameters: Any, before: Seen, after: Seen, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        velocity = (after.qpos[:, 0] - before.qpos[:, 0]) / self.dt
        healthy = self.healthy(after)
        paid = self._forward_reward_weight * velocity + self._healthy_reward * healthy
        return paid - control_cost(actions, self._ctrl_cost_weight), ~healthy

    def healthy(self, seen: Seen) -> np.ndarray:
        """Within the heights (m) and angles (rad) of the torso that Gymnasium lets it have."""
        heights, angles = seen.qpos[:, 1], seen.qpos[:, 2]
        (low, high), (left, right) = self._healthy_z_range, self._healthy_angle_range
        return (low < heights) & (heights < high) & (left < angles) & (angles < right)


@final
class HopperBody(Body, HopperEnv):
    def healthy(self, seen: Seen) -> np.ndarray:
        low, high = self._healthy_state_range
        state = np.concatenate((seen.qpos[:, 2:], seen.qvel), 1)
        return super().healthy(seen) & ((low < state) & (state < high)).all(1)


@final
class Walker2dBody(Body, Walker2dEnv):
    pass
