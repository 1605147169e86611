"""Pendulum, mountain car and acrobot against Gymnasium's, on random states, actions and physics of every split."""

import math

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from metazoo import random
from metazoo.tasks.acrobot import Acrobot, AcrobotState
from metazoo.tasks.family import SPLITS, per_episode
from metazoo.tasks.mountain_car import MountainCarContinuous, MountainCarState
from metazoo.tasks.pendulum import Pendulum, PendulumState

ROWS = 400


def pendulum(physics):
    env = PendulumEnv()
    env.g, env.m, env.l = physics["gravity"], physics["mass"], physics["length"]
    return env


def mountain_car(physics):
    env = Continuous_MountainCarEnv()
    env.power, env.goal_position = physics["power"], physics["goal"]
    return env


def acrobot(physics):
    env = AcrobotEnv()
    env.LINK_MASS_1, env.LINK_MASS_2 = physics["mass_1"], physics["mass_2"]
    env.LINK_LENGTH_1, env.LINK_LENGTH_2 = physics["length_1"], physics["length_2"]
    env.LINK_COM_POS_1, env.LINK_COM_POS_2 = physics["length_1"] / 2, physics["length_2"] / 2
    env.AVAIL_TORQUE = [-physics["torque"], 0.0, physics["torque"]]
    return env


# family, its Gymnasium original, state type, bounds of random states
PEERS = {
    "pendulum": (Pendulum(), pendulum, PendulumState, [(-7.0, 7.0), (-8.0, 8.0)]),
    "mountain_car_continuous": (
        MountainCarContinuous(),
        mountain_car,
        MountainCarState,
        [(-1.2, 0.6), (-0.07, 0.07)],
    ),
    "acrobot": (Acrobot(), acrobot, AcrobotState, [(-math.pi, math.pi)] * 2 + [(-6.0, 6.0), (-9.0, 9.0)]),
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", PEERS)
def test_each_step_equals_gymnasiums(name, split):
    """Observations, rewards and ends, to 1e-5 of the larger of 1 and the value: float32 against float64."""
    family, make, state_type, bounds = PEERS[name]
    rng = np.random.default_rng(3)
    task = family.sample(ROWS, split, 1)
    columns = [rng.uniform(low, high, ROWS).astype(np.float32) for low, high in bounds]
    if name == "acrobot":
        actions = rng.integers(3, size=ROWS).astype(np.int32)
    else:
        limit = float(family.action_space.high)
        actions = rng.uniform(-limit, limit, (ROWS, 1)).astype(np.float32)
    state = state_type(*(tf.constant(column[:, None]) for column in columns))
    noise = tf.zeros((ROWS, 1), tf.uint32)
    after = family.step(per_episode(task), state, tf.constant(actions[:, None]), noise)
    seen = family.observe(per_episode(task), after.state).numpy()[:, 0]

    fields = {key: value.numpy().astype(np.float64) for key, value in task._asdict().items()}
    ends = 0
    for row in range(ROWS):
        env = make({key: values[row] for key, values in fields.items()})
        env.state = np.array([column[row] for column in columns], np.float64)
        observation, reward, terminated, _, _ = env.step(actions[row])
        np.testing.assert_allclose(seen[row], observation, rtol=1e-5, atol=1e-5)
        assert float(after.rewards[row, 0]) == pytest.approx(reward, rel=1e-5, abs=1e-5)
        assert bool(after.terminated[row, 0]) == terminated
        ends += terminated
    assert (ends > 0) == (name != "pendulum")


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("pendulum", [(-math.pi, math.pi), (-1.0, 1.0)]),
        ("mountain_car_continuous", [(-0.6, -0.4), (0.0, 0.0)]),
        ("acrobot", [(-0.1, 0.1)] * 4),
    ],
)
def test_start_states_are_gymnasiums(name, bounds):
    family = PEERS[name][0]
    state = family.reset(per_episode(family.sample(40)), random.spread(random.key(2), 40, 50))
    for field, (low, high) in zip(state, bounds, strict=True):
        values, width = field.numpy(), high - low
        assert low <= values.min() <= low + 0.01 * width and high - 0.01 * width <= values.max() <= high + 1e-6
        assert abs(values.mean() - (low + high) / 2) <= 0.03 * width


@pytest.mark.parametrize("name", ["mountain_car_continuous", "acrobot"])
def test_half_of_the_motors_are_reversed(name):
    family = PEERS[name][0]
    motor = family.sample(2000, "test")._asdict()["power" if name == "mountain_car_continuous" else "torque"]
    assert abs(np.mean(motor < 0) - 0.5) < 0.04


def test_full_throttle_with_the_swing_gets_out_of_the_valley():
    family = MountainCarContinuous()
    task = per_episode(family.sample(50, "train", 2))
    state = family.reset(task, random.spread(random.key(0), 50, 1))
    arrived = np.zeros((50, 1), bool)
    for _ in range(family.horizon):
        throttle = tf.sign(state.velocity + 1e-9) * tf.sign(task.power)
        after = family.step(task, state, throttle[..., None], tf.zeros((50, 1), tf.uint32))
        state, arrived = after.state, arrived | after.terminated.numpy()
    assert arrived.all()  # every training task can be solved within the horizon
