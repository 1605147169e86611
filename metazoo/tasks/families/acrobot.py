"""Swing up a two-link robot whose masses, lengths and motor are unknown.

Equations (those of Sutton and Barto's book), integrator (RK4), limits and reward are Gymnasium's ``Acrobot-v1``'s.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families.controllers import earned
from metazoo.tasks.family import Range, Reference, TaskFamily, Transition
from metazoo.types import Box, Discrete

TIME_STEP = 0.2
MAX_SPEED_1, MAX_SPEED_2 = 4 * math.pi, 9 * math.pi
GRAVITY = 9.8
INERTIA = 1.0
WAYS = ((1.0, 0.0), (2.0, -1.0), (1.0, -1.0), (0.5, -1.0), (0.0, -1.0), (-0.5, -1.0))
"""Tried by ``pumping``: weights of the velocities of link 1 and link 2, against whose sum the motor works."""


class AcrobotTask(NamedTuple):
    """Masses of the links (kg), their lengths (m; the centres of mass lie half-way), and the motor's torque (N·m,
    negative: reversed). Each ``[M]``."""

    mass_1: Any
    mass_2: Any
    length_1: Any
    length_2: Any
    torque: Any


class AcrobotState(NamedTuple):
    """Angle of link 1 from hanging down, of link 2 relative to link 1 (rad), their velocities (rad/s). ``[M, E]``."""

    angle_1: Any
    angle_2: Any
    velocity_1: Any
    velocity_2: Any


_LINK = Range((0.7, 1.3), ((1.3, 1.6),))
RANGES = {
    "mass_1": _LINK,
    "mass_2": _LINK,
    "length_1": _LINK,
    "length_2": _LINK,
    "torque": Range((0.8, 1.4), ((1.4, 2.0),)),
}


@final
class Acrobot(TaskFamily):
    """Reward −1 per step until the tip is high, 0 for that step; ends there, or after 200 steps (Gymnasium: 500)."""

    name: ClassVar[str] = "acrobot"
    hidden: ClassVar[str] = "masses, lengths, motor strength and sign"
    reward_unit: ClassVar[str] = "−1 a step, 0 where the tip is high"
    Task: ClassVar[type] = AcrobotTask
    _BOUNDS = (1.0, 1.0, 1.0, 1.0, MAX_SPEED_1, MAX_SPEED_2)
    observation_space = Box((6,), tuple(-bound for bound in _BOUNDS), _BOUNDS)
    action_space = Discrete(3)
    original: str = "Acrobot-v1"
    drawn: ClassVar[Mapping[str, str] | None] = {"LINK_LENGTH_1": "length_1", "LINK_LENGTH_2": "length_2"}
    ranges: ClassVar[Mapping[str, Range]] = RANGES
    units: ClassVar[Mapping[str, str]] = {
        "mass_1": "kg",
        "mass_2": "kg",
        "length_1": "m",
        "length_2": "m",
        "torque": "N·m",
    }
    nominal: ClassVar[Mapping[str, float]] = dict.fromkeys(RANGES, 1.0)

    def __init__(self, horizon: int = 200):
        self.horizon = horizon

    def sample_task(self, key: tf.Tensor, split: str) -> AcrobotTask:
        keys = tf.unstack(random.spread(key, len(RANGES) + 1), axis=-1)
        task = AcrobotTask(**{name: RANGES[name].sample(k, split) for name, k in zip(RANGES, keys, strict=False)})
        return task._replace(torque=tf.where(random.bernoulli(keys[-1], 0.5), -task.torque, task.torque))

    def reset(self, task: AcrobotTask, key: tf.Tensor) -> AcrobotState:
        """Each coordinate ~ U[−0.1, 0.1]."""
        return AcrobotState(*tf.unstack(random.uniform(random.spread(key, 4), -0.1, 0.1), axis=-1))

    def step(self, task: AcrobotTask, state: AcrobotState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        torque = tf.cast(actions - 1, task.torque.dtype) * task.torque
        moved = _runge_kutta(lambda s: _derivative(task, s, torque), state)
        state = AcrobotState(
            _wrap(moved.angle_1),
            _wrap(moved.angle_2),
            tf.clip_by_value(moved.velocity_1, -MAX_SPEED_1, MAX_SPEED_1),
            tf.clip_by_value(moved.velocity_2, -MAX_SPEED_2, MAX_SPEED_2),
        )
        high = -tf.cos(state.angle_1) - tf.cos(state.angle_2 + state.angle_1) > 1.0
        return Transition(state, tf.where(high, 0.0, -1.0), high)

    def observe(self, task: AcrobotTask, state: AcrobotState) -> tf.Tensor:
        """cos θ₁, sin θ₁, cos θ₂, sin θ₂, θ̇₁, θ̇₂."""
        angles = [f(angle) for angle in (state.angle_1, state.angle_2) for f in (tf.cos, tf.sin)]
        return tf.stack([*angles, state.velocity_1, state.velocity_2], -1)

    def references(self, tasks: AcrobotTask) -> dict[str, Reference]:
        """Never reaching the goal, and ``pumping``."""
        never = Reference(np.full(len(tasks.torque), -float(self.horizon)), "closed form: never reaching the goal")
        what = "a controller that knows the motor's sign, the best of six ways in the model: good, not the optimum"
        return {"never": never, "pumping": Reference(pumping(self, tasks).max(1), what)}


def pumping(family: Acrobot, tasks: Any) -> np.ndarray:
    """Returns ``[M, len(WAYS)]`` of full torque by the sign of a weighted sum of the links' velocities.

    Link 2 is swung against link 1, as a child on a swing does with its legs. The weights were found by trying, on
    training tasks.
    """
    first, second = tf.unstack(tf.constant(WAYS), axis=-1)

    def act(task: AcrobotTask, state: AcrobotState) -> tf.Tensor:
        against = first * state.velocity_1 + second * state.velocity_2
        return 1 - tf.cast(tf.sign(against) * tf.sign(task.torque), tf.int32)

    return earned(family, tasks, act, len(WAYS))


def _derivative(task: AcrobotTask, state: AcrobotState, torque: tf.Tensor) -> AcrobotState:
    """Time derivative of each coordinate."""
    angle_1, angle_2, velocity_1, velocity_2 = state
    m1, m2, l1 = task.mass_1, task.mass_2, task.length_1
    c1, c2 = 0.5 * task.length_1, 0.5 * task.length_2
    cosine, sine = tf.cos(angle_2), tf.sin(angle_2)
    d1 = m1 * tf.square(c1) + m2 * (tf.square(l1) + tf.square(c2) + 2.0 * l1 * c2 * cosine) + 2.0 * INERTIA
    d2 = m2 * (tf.square(c2) + l1 * c2 * cosine) + INERTIA
    # Gymnasium writes cos(θ − π/2) for sin θ
    phi2 = m2 * c2 * GRAVITY * tf.sin(angle_1 + angle_2)
    centrifugal = m2 * l1 * c2 * sine
    phi1 = (
        -centrifugal * tf.square(velocity_2)
        - 2.0 * centrifugal * velocity_2 * velocity_1
        + (m1 * c1 + m2 * l1) * GRAVITY * tf.sin(angle_1)
        + phi2
    )
    acceleration_2 = (torque + d2 / d1 * phi1 - centrifugal * tf.square(velocity_1) - phi2) / (
        m2 * tf.square(c2) + INERTIA - tf.square(d2) / d1
    )
    return AcrobotState(velocity_1, velocity_2, -(d2 * acceleration_2 + phi1) / d1, acceleration_2)


def _runge_kutta(derivative: Any, state: AcrobotState) -> AcrobotState:
    """One classical fourth-order step of ``TIME_STEP``."""

    def along(slope: AcrobotState, time: float) -> AcrobotState:
        return AcrobotState(*(x + time * dx for x, dx in zip(state, slope, strict=True)))

    k1 = derivative(state)
    k2 = derivative(along(k1, TIME_STEP / 2))
    k3 = derivative(along(k2, TIME_STEP / 2))
    k4 = derivative(along(k3, TIME_STEP))
    mean = AcrobotState(*((a + 2.0 * b + 2.0 * c + d) / 6.0 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)))
    return along(mean, TIME_STEP)


def _wrap(angle: tf.Tensor) -> tf.Tensor:
    """The angle in [−π, π)."""
    return angle - 2 * math.pi * tf.floor((angle + math.pi) / (2 * math.pi))
