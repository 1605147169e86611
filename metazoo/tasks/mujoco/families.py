"""The MuJoCo benchmarks of meta-reinforcement learning on Gymnasium's v5 environments (extra ``mujoco``).

Directions and velocities from MAML (Finn et al. 2017, section 5.3), goals and random bodies from ProMP (Rothfuss et al.
2018) and its predecessors. MuJoCo is imported when the first environment is made.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np

from metazoo.cores import cores
from metazoo.tasks.family import Range, Reference
from metazoo.tasks.gym.family import GymFamily, SampleTask
from metazoo.tasks.gym.rows import Imported

LOG_SCALE, LOG_SCALE_OOD = 3.0, (3.0, 4.0)
"""Largest exponent of a body's multipliers in training, and the exponents out of range."""
VELOCITY, VELOCITY_3 = Range((0.0, 2.0), ((2.0, 3.0),)), Range((0.0, 3.0), ((3.0, 4.0),))
BASES = {"mass": 1.5, "inertia": 1.5, "damping": 1.3, "friction": 1.5}


def direction(generator: np.random.Generator, split: str) -> dict[str, Any]:
    """``direction`` 1 or −1. There are two tasks only, so all splits hold both, and nothing is out of range."""
    return {"direction": generator.choice([-1.0, 1.0])}


def velocity(within: Range) -> SampleTask:
    """``velocity`` (m/s), uniform."""

    def sample(generator: np.random.Generator, split: str) -> dict[str, Any]:
        return {"velocity": generator.uniform(*(within.ood[0] if split == "ood" else within.train))}

    return sample


def goal(generator: np.random.Generator, split: str) -> dict[str, Any]:
    """``goal`` ``[2]``, uniform in the disk of radius 3 m around the start; out of range: in the ring from 3 to 4 m."""
    low, high = (3.0, 4.0) if split == "ood" else (0.0, 3.0)
    radius, angle = np.sqrt(generator.uniform(low**2, high**2)), generator.uniform(0.0, 2 * np.pi)
    return {"goal": radius * np.array([np.cos(angle), np.sin(angle)])}


def body(bodies: int, joints: int, geoms: int) -> SampleTask:
    """Multipliers base ** U[−3, 3] of every mass, inertia, damping and friction; out of range: |exponent| in [3, 4]."""
    shapes = {"mass": (bodies,), "inertia": (bodies, 3), "damping": (joints,), "friction": (geoms, 3)}

    def sample(generator: np.random.Generator, split: str) -> dict[str, Any]:
        task = {}
        for name, shape in shapes.items():
            exponents = generator.uniform(-LOG_SCALE, LOG_SCALE, shape)
            if split == "ood":
                exponents = np.sign(exponents) * generator.uniform(*LOG_SCALE_OOD, shape)
            task[name] = BASES[name] ** exponents
        return task

    return sample


class MujocoFamily(GymFamily):
    """Tasks ``draw`` for an environment of ``module``; this process is one of the ``workers`` that step it."""

    joins = True
    played_by: ClassVar[tuple[str, ...]] = ("gymnasium", "mujoco")
    name: str
    env: str
    draw: Any
    module: ClassVar[str] = "metazoo.tasks.mujoco.envs"

    def __init__(self, horizon: int = 200, workers: int | None = None, rows: int = 200):
        """``workers``: by default 2, or this process alone where it has but one core."""
        workers = min(2, cores()) if workers is None else workers
        missing = "MuJoCo is not installed: pip install 'metazoo[mujoco]'"
        make = Imported(self.module, self.env, missing, "metazoo.tasks.mujoco.rows:BodyRows")
        super().__init__(make, self.draw, horizon, name=self.name, workers=workers, rows=rows)


class HalfCheetahFamily(MujocoFamily):
    """Half-cheetahs."""

    original: str = "HalfCheetah-v5"
    page: ClassVar[str] = "half_cheetah"


@final
class HalfCheetahDir(HalfCheetahFamily):
    """Run forwards or backwards: reward direction · velocity − 0.05 ‖action‖²."""

    name, env, draw = "half_cheetah_dir", "HalfCheetahDir", staticmethod(direction)
    hidden: ClassVar[str] = "direction to run in"
    units: ClassVar[Mapping[str, str]] = {"direction": ""}
    reward_unit: ClassVar[str] = "m/s in the task's direction − 0.05 ‖action‖²"

    def references(self, tasks: Any) -> dict[str, Reference]:
        """Standing still: the best of what treats both directions alike."""
        return {"standing_still": Reference(np.zeros(len(tasks.direction)), "closed form: never leaving the start")}


class HalfCheetahVelocities(HalfCheetahFamily):
    """Half-cheetahs that are to run at a velocity."""

    env = "HalfCheetahVel"
    hidden: ClassVar[str] = "speed to run at"
    units: ClassVar[Mapping[str, str]] = {"velocity": "m/s"}
    reward_unit: ClassVar[str] = "−|velocity − the task's| in m/s − 0.05 ‖action‖²"

    def references(self, tasks: Any) -> dict[str, Reference]:
        """``best_fixed_velocity`` of these tasks."""
        speed, _ = best_fixed_velocity(tasks.velocity, self.horizon)
        returns = -self.horizon * np.abs(np.asarray(tasks.velocity, np.float64) - speed)
        what = "closed form: the best constant velocity, the bound for a policy that runs at one speed"
        return {"best_fixed_velocity": Reference(returns, what)}


@final
class HalfCheetahVel(HalfCheetahVelocities):
    """Run at an unknown velocity: reward −|velocity − the task's| − 0.05 ‖action‖².

    Velocities of MAML: U[0, 2] m/s; out of range U[2, 3], as far as ProMP goes.
    """

    name, draw = "half_cheetah_vel", staticmethod(velocity(VELOCITY))
    ranges: ClassVar[Mapping[str, Range]] = {"velocity": VELOCITY}


@final
class HalfCheetahVel3(HalfCheetahVelocities):
    """Run at an unknown velocity up to 3 m/s: reward −|velocity − the task's| − 0.05 ‖action‖².

    Velocities of PEARL, VariBAD and AMAGO: U[0, 3] m/s.
    """

    name, draw = "half_cheetah_vel3", staticmethod(velocity(VELOCITY_3))
    ranges: ClassVar[Mapping[str, Range]] = {"velocity": VELOCITY_3}


def best_fixed_velocity(velocities: Any, horizon: int = 200) -> tuple[float, float]:
    """The velocity (m/s) that earns most on average over tasks of ``half_cheetah_vel``, and that mean return.

    Reached at once and at no cost, so it bounds whatever runs at one speed without knowing the task. That is the
    median: the reward falls linearly on both sides of a task's velocity.
    """
    best = float(np.median(velocities))
    return best, -horizon * float(np.abs(np.asarray(velocities) - best).mean())


@final
class AntDir(MujocoFamily):
    """Walk forwards or backwards."""

    name, env, draw = "ant_dir", "AntDir", staticmethod(direction)
    hidden: ClassVar[str] = "direction to walk in"
    page: ClassVar[str] = "ant"
    original: str = "Ant-v5"
    units: ClassVar[Mapping[str, str]] = {"direction": ""}
    reward_unit: ClassVar[str] = "1 + m/s in the task's direction − 0.5 ‖action‖² − contacts"


@final
class AntGoal(MujocoFamily):
    """Walk to an unknown place."""

    name, env, draw = "ant_goal", "AntGoal", staticmethod(goal)
    hidden: ClassVar[str] = "place to walk to"
    page: ClassVar[str] = "ant"
    original: str = "Ant-v5"
    units: ClassVar[Mapping[str, str]] = {"goal": "m"}
    reward_unit: ClassVar[str] = "−distance to the goal in m, by axis − 0.1 ‖action‖² − contacts"


@final
class HopperParams(MujocoFamily):
    """Hop forwards with an unknown body."""

    name, env, draw = "hopper_params", "HopperBody", staticmethod(body(bodies=5, joints=6, geoms=5))
    hidden: ClassVar[str] = "masses, inertias, damping, friction"
    page: ClassVar[str] = "random_bodies"
    original: str = "Hopper-v5"
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(BASES, "times the original")
    reward_unit: ClassVar[str] = "1 + velocity in m/s − 0.001 ‖action‖²"


@final
class Walker2dParams(MujocoFamily):
    """Walk forwards with an unknown body."""

    name, env, draw = "walker2d_params", "Walker2dBody", staticmethod(body(bodies=8, joints=9, geoms=8))
    hidden: ClassVar[str] = "masses, inertias, damping, friction"
    page: ClassVar[str] = "random_bodies"
    original: str = "Walker2d-v5"
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(BASES, "times the original")
    reward_unit: ClassVar[str] = "1 + velocity in m/s − 0.001 ‖action‖²"
