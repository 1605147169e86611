"""Drive a weak car out of a valley, with unknown motor and flag.

Equations, limits and reward are those of Gymnasium's ``MountainCarContinuous-v0`` (after Moore 1990).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families.controllers import earned
from metazoo.tasks.family import Range, Reference, TaskFamily, Transition
from metazoo.types import Box

MIN_POSITION, MAX_POSITION = -1.2, 0.6
MAX_SPEED = 0.07
SLOPE = 0.0025
THROTTLES = tuple(tenth / 10 for tenth in range(1, 11))
"""Tried by ``with_the_swing``: less is cheaper, and may not arrive."""


class MountainCarTask(NamedTuple):
    """``power``: speed gained per step at full throttle (negative: the motor is reversed); ``goal``: the flag's
    position. In Gymnasium's units. Each ``[M]``."""

    power: Any
    goal: Any


class MountainCarState(NamedTuple):
    """Position and velocity per step. Each ``[M, E]``."""

    position: Any
    velocity: Any


@final
class MountainCarContinuous(TaskFamily):
    """Reward 100 at the flag minus 0.1 u² per step; ends at the flag, or after 200 steps (Gymnasium: 999)."""

    name: ClassVar[str] = "mountain_car_continuous"
    hidden: ClassVar[str] = "motor strength and sign, flag"
    reward_unit: ClassVar[str] = "100 at the flag, −0.1 × throttle² a step"
    Task: ClassVar[type] = MountainCarTask
    observation_space = Box((2,), (MIN_POSITION, -MAX_SPEED), (MAX_POSITION, MAX_SPEED))
    action_space = Box((1,), -1.0, 1.0)
    original: str = "MountainCarContinuous-v0"
    drawn: ClassVar[Mapping[str, str] | None] = {"goal_position": "goal"}
    units: ClassVar[Mapping[str, str]] = {"power": "speed per step", "goal": "position"}
    nominal: ClassVar[Mapping[str, float]] = {"power": 0.0015, "goal": 0.45}
    ranges: ClassVar[Mapping[str, Range]] = {
        "power": Range((0.001, 0.002), ((0.002, 0.003),)),
        "goal": Range((0.3, 0.5), ((0.2, 0.3), (0.5, 0.55))),
    }

    def __init__(self, horizon: int = 200):
        self.horizon = horizon

    def sample_task(self, key: tf.Tensor, split: str) -> MountainCarTask:
        power, goal, sign = tf.unstack(random.spread(key, 3), axis=-1)
        power, goal = self.ranges["power"].sample(power, split), self.ranges["goal"].sample(goal, split)
        return MountainCarTask(tf.where(random.bernoulli(sign, 0.5), -power, power), goal)

    def reset(self, task: MountainCarTask, key: tf.Tensor) -> MountainCarState:
        """Position ~ U[−0.6, −0.4], at rest."""
        position = random.uniform(key, -0.6, -0.4)
        return MountainCarState(position, tf.zeros_like(position))

    def step(self, task: MountainCarTask, state: MountainCarState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        throttle = tf.clip_by_value(actions[..., 0], -1.0, 1.0)
        velocity = state.velocity + throttle * task.power - SLOPE * tf.cos(3.0 * state.position)
        velocity = tf.clip_by_value(velocity, -MAX_SPEED, MAX_SPEED)
        position = tf.clip_by_value(state.position + velocity, MIN_POSITION, MAX_POSITION)
        velocity = tf.where((position <= MIN_POSITION) & (velocity < 0.0), 0.0, velocity)
        arrived = (position >= task.goal) & (velocity >= 0.0)
        reward = tf.where(arrived, 100.0, 0.0) - 0.1 * tf.square(throttle)
        return Transition(MountainCarState(position, velocity), reward, arrived)

    def observe(self, task: MountainCarTask, state: MountainCarState) -> tf.Tensor:
        return tf.stack(state, -1)

    def references(self, tasks: MountainCarTask) -> dict[str, Reference]:
        """Never touching the throttle, and ``with_the_swing``."""
        still = Reference(np.zeros(len(tasks.power)), "closed form: never touching the throttle")
        what = "a controller that knows the motor, with the best of ten throttles in the model: good, not the optimum"
        return {"standing_still": still, "with_the_swing": Reference(with_the_swing(self, tasks).max(1), what)}


def with_the_swing(family: MountainCarContinuous, tasks: Any) -> np.ndarray:
    """Returns ``[M, len(THROTTLES)]`` of pushing the way the car moves, with a constant throttle.

    So the car gains energy at every step: with none at all it swings for ever (Moore 1990).
    """
    throttles = tf.constant(THROTTLES)

    def act(task: MountainCarTask, state: MountainCarState) -> tf.Tensor:
        way = tf.where(state.velocity >= 0.0, 1.0, -1.0) * tf.sign(task.power)
        return (way * throttles)[..., None]

    return earned(family, tasks, act, len(THROTTLES))
