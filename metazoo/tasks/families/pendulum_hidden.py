"""Hold a pendulum at an angle that no observation shows.

Equations and integrator are those of Gymnasium's ``Pendulum-v1`` with its own gravity, mass and length; its motor is
three times as strong, so that it holds the pendulum at every angle. The target is uniform over the circle, so what does
not find it out loses much wherever it goes (``not_reacting``). An unknown sign of the motor would hide less: the next
observation tells it. The target is told by rewards alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.canvas import GOAL, HEIGHT, WIDTH, dot
from metazoo.tasks.families.controllers import earned
from metazoo.tasks.families.pendulum import MAX_SPEED, TIME_STEP, PendulumState
from metazoo.tasks.families.pendulum import draw as draw_pendulum
from metazoo.tasks.family import Range, Reference, TaskFamily, Transition
from metazoo.types import Box

GRAVITY, MASS, LENGTH = 10.0, 1.0, 1.0
"""Gymnasium's (m/s², kg, m)."""
MAX_TORQUE = 6.0
"""N·m; Gymnasium's is 2. Held level, the pendulum pulls with m g l / 2 = 5."""
PULL, PUSH = 3.0 * GRAVITY / (2.0 * LENGTH), 3.0 / (MASS * LENGTH**2)
"""Angular acceleration (rad/s²) by sin θ, and by torque."""
STIFFNESS, DAMPING = 30.0, 13.0
"""Of ``hold`` (1/s², 1/s): nothing within a third of either earns more on training tasks, by more than 1 % (tested)."""
ANGLE_COST = math.pi**2 / 3.0
"""Mean of a squared angle that is uniform over the circle (rad²)."""


class PendulumHiddenTask(NamedTuple):
    """``target``: the angle to hold, from upright (rad); ``gain``: factor of the motor's torque. Each ``[M]``."""

    target: Any
    gain: Any


def draw(canvas: Any, task: Mapping[str, Any], trail: Sequence[Any]) -> None:
    """The pendulum, and where it should be."""
    draw_pendulum(canvas, {"length": LENGTH}, trail)
    reach = LENGTH * HEIGHT * 0.28
    aim = WIDTH / 2 - reach * math.sin(task["target"]), HEIGHT / 2 + 8 - reach * math.cos(task["target"])
    dot(canvas, aim, 7, GOAL)


@final
class PendulumHidden(TaskFamily):
    """Reward −(e² + 0.1 θ̇² + 0.001 u²), e the angle from the target in [−π, π), before the step; never terminated."""

    name: ClassVar[str] = "pendulum_hidden"
    hidden: ClassVar[str] = "target angle, motor strength"
    reward_unit: ClassVar[str] = "−(e² + 0.1 θ̇² + 0.001 u²), e the angle from the target; in rad, rad/s and N·m"
    Task: ClassVar[type] = PendulumHiddenTask
    action_space = Box((1,), -MAX_TORQUE, MAX_TORQUE)
    original: str = "Pendulum-v1"
    drawing = staticmethod(draw)
    reveals: ClassVar[tuple[str, str] | None] = ("reveal_target", "target")
    units: ClassVar[Mapping[str, str]] = {"target": "rad", "gain": "factor"}
    nominal: ClassVar[Mapping[str, float]] = {"gain": 1.0}
    ranges: ClassVar[Mapping[str, Range]] = {
        "target": Range((-math.pi, math.pi), ((-math.pi, math.pi),)),
        "gain": Range((0.9, 1.2), ((1.2, 1.5),)),
    }

    def __init__(self, horizon: int = 200, reveal_target: bool = False):
        """``reveal_target`` appends the target (rad) to the observation."""
        self.horizon = horizon
        self.reveal_target = reveal_target
        high = (1.0, 1.0, MAX_SPEED, *((math.pi,) if reveal_target else ()))
        self.observation_space = Box((len(high),), tuple(-bound for bound in high), high)

    def sample_task(self, key: tf.Tensor, split: str) -> PendulumHiddenTask:
        keys = tf.unstack(random.spread(key, 2), axis=-1)
        drawn = zip(self.ranges.items(), keys, strict=True)
        return PendulumHiddenTask(**{name: r.sample(k, split) for (name, r), k in drawn})

    def reset(self, task: PendulumHiddenTask, key: tf.Tensor) -> PendulumState:
        """Gymnasium's: angle ~ U[−π, π], angular velocity ~ U[−1, 1]."""
        angle, velocity = tf.unstack(random.uniform(random.spread(key, 2), -1.0, 1.0), axis=-1)
        return PendulumState(math.pi * angle, velocity)

    def step(self, task: PendulumHiddenTask, state: PendulumState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        torque = tf.clip_by_value(actions[..., 0], -MAX_TORQUE, MAX_TORQUE)
        error, speed = wrapped(state.angle - task.target), state.angular_velocity
        cost = tf.square(error) + 0.1 * tf.square(speed) + 0.001 * tf.square(torque)
        acceleration = PULL * tf.sin(state.angle) + PUSH * task.gain * torque
        velocity = tf.clip_by_value(speed + acceleration * TIME_STEP, -MAX_SPEED, MAX_SPEED)
        moved = PendulumState(state.angle + velocity * TIME_STEP, velocity)
        return Transition(moved, -cost, tf.zeros_like(cost, tf.bool))

    def observe(self, task: PendulumHiddenTask, state: PendulumState) -> tf.Tensor:
        """cos θ, sin θ, θ̇; and the target where it is revealed."""
        seen = [tf.cos(state.angle), tf.sin(state.angle), state.angular_velocity]
        if self.reveal_target:
            seen.append(tf.broadcast_to(task.target, tf.shape(state.angle)))
        return tf.stack(seen, -1)

    def references(self, tasks: PendulumHiddenTask) -> dict[str, Reference]:
        """What does not react to rewards, and a controller that knows the task.

        The states of what does not react do not depend on the target, which is uniform over the circle whatever they
        are: a step's e² is π²/3 on average, and the other costs are no gain.
        """
        blind = np.full(len(tasks.target), -self.horizon * ANGLE_COST)
        bound = "closed form: −π²/3 a step, the most, on average, without reacting to rewards"
        model = "a controller that knows the target and the motor, two constants and no search: good, not the optimum"
        return {"not_reacting": Reference(blind, bound), "known_target": Reference(known_target(self, tasks), model)}


def wrapped(angle: tf.Tensor) -> tf.Tensor:
    """The angle in [−π, π)."""
    return tf.math.floormod(angle + math.pi, 2 * math.pi) - math.pi


def hold(task: PendulumHiddenTask, state: PendulumState, stiffness: Any = STIFFNESS, damping: Any = DAMPING) -> Any:
    """Torques ``[M, E]`` of a controller that knows the task.

    Computed torque (Siciliano et al. 2009, section 8.5.2): gravity is taken off, and what is left is a damped spring to
    the target.
    """
    error = wrapped(state.angle - task.target)
    wanted = -stiffness * error - damping * state.angular_velocity
    torque = (wanted - PULL * tf.sin(state.angle)) / (PUSH * task.gain)
    return tf.clip_by_value(torque, -MAX_TORQUE, MAX_TORQUE)


def known_target(
    family: PendulumHidden, tasks: Any, stiffness: float = STIFFNESS, damping: float = DAMPING
) -> np.ndarray:
    """The return ``[M]`` of one episode of each task, held by ``hold``."""
    return earned(family, tasks, lambda task, state: hold(task, state, stiffness, damping)[..., None])[:, 0]
