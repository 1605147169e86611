"""Pendulum, mountain car and acrobot against Gymnasium's, on random states, actions and physics of every split."""

import math

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from metazoo import random
from metazoo.tasks.families.acrobot import MAX_SPEED_1, MAX_SPEED_2, Acrobot, AcrobotState
from metazoo.tasks.families.mountain_car import MountainCarContinuous, MountainCarState
from metazoo.tasks.families.pendulum import Pendulum, PendulumState
from metazoo.tasks.family import SPLITS, per_episode
from metazoo.types import Discrete

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


def random_rows(name, split, dtype=np.float32):
    """Tasks of a split, states within the bounds and actions: ``ROWS`` of each, episode axis included."""
    family, _, state_type, bounds = PEERS[name]
    rng = np.random.default_rng(3)
    columns = [tf.constant(rng.uniform(low, high, (ROWS, 1)).astype(dtype)) for low, high in bounds]
    if isinstance(family.action_space, Discrete):
        actions = rng.integers(family.action_space.n, size=(ROWS, 1)).astype(np.int32)
    else:
        limit = float(family.action_space.high)
        actions = rng.uniform(-limit, limit, (ROWS, 1, 1)).astype(np.float32)
    task = tf.nest.map_structure(lambda field: tf.cast(field, dtype), family.sample(ROWS, split, 1))
    return per_episode(task), state_type(*columns), tf.constant(actions)


def gymnasium_steps(name, task, state, actions):
    """Observations, rewards and ends of Gymnasium's float64 environments."""
    rows = []
    for row in range(ROWS):
        env = PEERS[name][1]({key: float(values[row, 0]) for key, values in task._asdict().items()})
        env.state = np.array([column[row, 0] for column in state], np.float64)
        rows.append(env.step(actions.numpy()[row, 0])[:3])
    return [np.array(column, np.float64) for column in zip(*rows, strict=True)]


def difference(found, expected):
    """The largest one, relative to the larger of 1 and the expected value."""
    return np.max(np.abs(np.asarray(found, np.float64) - expected) / np.maximum(1.0, np.abs(expected)))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", PEERS)
def test_each_step_equals_gymnasiums(name, split):
    """400 random transitions a split, eager and under XLA, to 1e-5: float32 against float64."""
    family = PEERS[name][0]
    task, state, actions = random_rows(name, split)
    observations, rewards, terminated = gymnasium_steps(name, task, state, actions)

    def step(task, state, actions):
        after = family.step(task, state, actions, tf.zeros((ROWS, 1), tf.uint32))
        return family.observe(task, after.state)[:, 0], after.rewards[:, 0], after.terminated[:, 0]

    for run in (step, tf.function(step, jit_compile=True, autograph=False)):
        seen, earned, ended = run(task, state, actions)
        assert difference(seen, observations) < 1e-5
        assert difference(earned, rewards) < 1e-5
        np.testing.assert_array_equal(ended, terminated)
    assert np.any(terminated) == (name != "pendulum")


@pytest.mark.parametrize("split", SPLITS)
def test_the_acrobots_equations_are_gymnasiums_up_to_its_fastest(monkeypatch, split):
    """In float64: at full speed a step of 0.2 s amplifies float32's rounding a thousandfold, and not the equations'."""
    family, make, state_type, _ = PEERS["acrobot"]
    bounds = [(-math.pi, math.pi)] * 2 + [(-limit, limit) for limit in (MAX_SPEED_1, MAX_SPEED_2)]
    monkeypatch.setitem(PEERS, "acrobot", (family, make, state_type, bounds))
    task, state, actions = random_rows("acrobot", split, np.float64)
    after = family.step(task, state, actions, tf.zeros((ROWS, 1), tf.uint32))
    for name, column in zip(state_type._fields, after.state, strict=True):
        assert column.dtype == tf.float64, name
    observations, _, terminated = gymnasium_steps("acrobot", task, state, actions)
    assert np.any(np.abs(observations[:, 4]) == np.float32(MAX_SPEED_1))  # limits are met
    # Gymnasium rounds its observations to float32; angles of the order of 1 fill 24 bits
    assert difference(family.observe(task, after.state)[:, 0], observations) < 1e-6
    np.testing.assert_array_equal(after.terminated[:, 0], terminated)


@pytest.mark.parametrize("name", PEERS)
def test_nominal_physics_are_gymnasiums(name):
    """Setting the nominal parameters changes nothing about Gymnasium's environment."""
    family, make = PEERS[name][:2]
    changed = make(family.nominal)
    original = type(changed)()
    public = [key for key in dir(changed) if not key.startswith(("_", "np_random"))]
    physics = [key for key in public if isinstance(getattr(changed, key), float | int | list)]
    assert set(family.nominal) == set(family.Task._fields) and len(physics) >= 5
    assert {key: getattr(changed, key) for key in physics} == {key: getattr(original, key) for key in physics}


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
