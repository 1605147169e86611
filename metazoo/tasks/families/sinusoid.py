"""Sinusoid regression, the supervised family of MAML (Finn et al. 2017, arXiv 1703.03400, section 5.1).

An episode is a set of ``horizon`` shots: each step shows an independent x, the action is the prediction of y, and the
reward is minus its squared error. So the mean reward of a policy is minus its MSE, and what reinforcement learners read
from rewards, supervised ones read from ``targets``.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import tensorflow as tf

from metazoo import random
from metazoo.tasks.family import Range, TaskFamily, Transition
from metazoo.types import Box

INPUT_LIMIT = 5.0
OUTPUT_LIMIT = 10.0


class SinusoidTask(NamedTuple):
    """y = ``amplitude`` · sin(x − ``phase``); phase in rad. Each ``[M]``."""

    amplitude: Any
    phase: Any


class SinusoidState(NamedTuple):
    """The input ``x [M, E]`` to predict for."""

    x: Any


@final
class Sinusoid(TaskFamily):
    """Amplitude ~ U[0.1, 5], phase ~ U[0, π], x ~ U[−5, 5]; predictions are clipped to ±10."""

    name: ClassVar[str] = "sinusoid"
    hidden: ClassVar[str] = "amplitude and phase"
    reward_unit: ClassVar[str] = "−squared error"
    Task: ClassVar[type] = SinusoidTask
    supervised: ClassVar[bool] = True
    units: ClassVar[Mapping[str, str]] = {"amplitude": "", "phase": "rad"}
    observation_space = Box((1,), -INPUT_LIMIT, INPUT_LIMIT)
    action_space = Box((1,), -OUTPUT_LIMIT, OUTPUT_LIMIT)
    ranges: ClassVar[Mapping[str, Range]] = {
        "amplitude": Range((0.1, 5.0), ((5.0, 8.0),)),
        "phase": Range((0.0, math.pi), ((math.pi, 2 * math.pi),)),
    }

    def __init__(self, horizon: int = 10):
        self.horizon = horizon

    def sample_task(self, key: tf.Tensor, split: str) -> SinusoidTask:
        amplitude, phase = tf.unstack(random.spread(key, 2), axis=-1)
        return SinusoidTask(
            self.ranges["amplitude"].sample(amplitude, split), self.ranges["phase"].sample(phase, split)
        )

    def reset(self, task: SinusoidTask, key: tf.Tensor) -> SinusoidState:
        return SinusoidState(random.uniform(key, -INPUT_LIMIT, INPUT_LIMIT))

    def targets(self, task: SinusoidTask, state: SinusoidState) -> tf.Tensor:
        """The right actions ``[M, E, 1]``: y at each state's x."""
        return (task.amplitude * tf.sin(state.x - task.phase))[..., None]

    def step(self, task: SinusoidTask, state: SinusoidState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        error = tf.clip_by_value(actions, -OUTPUT_LIMIT, OUTPUT_LIMIT) - self.targets(task, state)
        reward = -tf.square(error[..., 0])
        return Transition(self.reset(task, key), reward, tf.zeros_like(reward, tf.bool))

    def observe(self, task: SinusoidTask, state: SinusoidState) -> tf.Tensor:
        return state.x[..., None]
