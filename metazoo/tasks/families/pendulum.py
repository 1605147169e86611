"""Swing a pendulum up whose physics are unknown.

Equations, integrator and reward are those of Gymnasium's ``Pendulum-v1``; gravity, mass and length are the task.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

import tensorflow as tf

from metazoo import random
from metazoo.tasks.canvas import ACCENT, HEIGHT, INK, WIDTH, dot
from metazoo.tasks.family import Range, TaskFamily, Transition
from metazoo.types import Box

TIME_STEP = 0.05
MAX_SPEED = 8.0
MAX_TORQUE = 2.0


class PendulumTask(NamedTuple):
    """Physics of one pendulum: gravity (m/s²), mass (kg), length (m). Each ``[M]``."""

    gravity: Any
    mass: Any
    length: Any


class PendulumState(NamedTuple):
    """Angle from upright (rad, not wrapped) and angular velocity (rad/s). Each ``[M, E]``."""

    angle: Any
    angular_velocity: Any


RANGES = {
    "gravity": Range((8.0, 12.0), ((6.0, 8.0), (12.0, 14.0))),
    "mass": Range((0.6, 1.4), ((1.4, 1.8),)),
    "length": Range((0.6, 1.4), ((1.4, 1.8),)),
}


def draw(canvas: Any, task: Mapping[str, Any], trail: Sequence[Any]) -> None:
    """The pendulum; upwards is where it should be."""
    angle, length = trail[-1][0], task["length"] * HEIGHT * 0.28
    pivot = WIDTH / 2, HEIGHT / 2 + 8
    tip = pivot[0] - length * math.sin(angle), pivot[1] - length * math.cos(angle)
    canvas.line([pivot, tip], fill=ACCENT, width=10)
    dot(canvas, pivot, 4, INK)


@final
class Pendulum(TaskFamily):
    """Reward −(θ² + 0.1 θ̇² + 0.001 u²) with θ in (−π, π], before the step; no episode terminates early."""

    name: ClassVar[str] = "pendulum"
    hidden: ClassVar[str] = "gravity, mass, length"
    reward_unit: ClassVar[str] = "−(θ² + 0.1 θ̇² + 0.001 u²), in rad, rad/s and N·m"
    Task: ClassVar[type] = PendulumTask
    observation_space = Box((3,), (-1.0, -1.0, -MAX_SPEED), (1.0, 1.0, MAX_SPEED))
    action_space = Box((1,), -MAX_TORQUE, MAX_TORQUE)
    original: str = "Pendulum-v1"
    drawn: ClassVar[Mapping[str, str] | None] = {}
    drawing = staticmethod(draw)
    ranges: ClassVar[Mapping[str, Range]] = RANGES
    units: ClassVar[Mapping[str, str]] = {"gravity": "m/s²", "mass": "kg", "length": "m"}
    nominal: ClassVar[Mapping[str, float]] = {"gravity": 10.0, "mass": 1.0, "length": 1.0}

    def __init__(self, horizon: int = 200):
        self.horizon = horizon

    def sample_task(self, key: tf.Tensor, split: str) -> PendulumTask:
        keys = tf.unstack(random.spread(key, len(RANGES)), axis=-1)
        return PendulumTask(**{name: r.sample(k, split) for (name, r), k in zip(RANGES.items(), keys, strict=True)})

    def reset(self, task: PendulumTask, key: tf.Tensor) -> PendulumState:
        """Angle ~ U[−π, π], angular velocity ~ U[−1, 1]."""
        angle, velocity = tf.unstack(random.uniform(random.spread(key, 2), -1.0, 1.0), axis=-1)
        return PendulumState(math.pi * angle, velocity)

    def step(self, task: PendulumTask, state: PendulumState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        torque = tf.clip_by_value(actions[..., 0], -MAX_TORQUE, MAX_TORQUE)
        wrapped = tf.math.floormod(state.angle + math.pi, 2 * math.pi) - math.pi
        cost = tf.square(wrapped) + 0.1 * tf.square(state.angular_velocity) + 0.001 * tf.square(torque)
        pull = 3.0 * task.gravity / (2.0 * task.length) * tf.sin(state.angle)
        push = 3.0 / (task.mass * tf.square(task.length)) * torque
        velocity = tf.clip_by_value(state.angular_velocity + (pull + push) * TIME_STEP, -MAX_SPEED, MAX_SPEED)
        moved = PendulumState(state.angle + velocity * TIME_STEP, velocity)
        return Transition(moved, -cost, tf.zeros_like(cost, tf.bool))

    def observe(self, task: PendulumTask, state: PendulumState) -> tf.Tensor:
        """cos θ, sin θ, θ̇."""
        return tf.stack([tf.cos(state.angle), tf.sin(state.angle), state.angular_velocity], -1)
