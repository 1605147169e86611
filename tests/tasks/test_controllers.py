"""Controllers that know the task: what they earn is what playing them earns, and they rest on knowing it."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families.acrobot import WAYS, Acrobot, pumping
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.controllers import earned
from metazoo.tasks.families.mountain_car import SLOPE, THROTTLES, MountainCarContinuous, with_the_swing
from metazoo.tasks.family import per_episode

CARS, ROBOTS = MountainCarContinuous(), Acrobot()


def reversed_motor(tasks, field):
    return tasks._replace(**{field: -getattr(tasks, field)})


def test_earned_is_what_one_step_after_another_gives():
    """Eager, with the ends of episodes; each try begins where the others do."""
    tasks = CARS.sample(6, "test", 1)

    def act(task, state):
        return tf.tile(tf.constant([[[0.7], [-0.7]]]), (6, 1, 1))

    task, keys = per_episode(tasks), tf.repeat(random.spread(random.key(4), 6)[:, None], 2, 1)
    state, total, going = CARS.reset(task, keys), np.zeros((6, 2)), np.ones((6, 2), bool)
    np.testing.assert_array_equal(state.position[:, 0], state.position[:, 1])
    for _ in range(CARS.horizon):
        after = CARS.step(task, state, act(task, state), keys)
        total += np.where(going, after.rewards, 0.0)
        state, going = after.state, going & ~after.terminated.numpy()
    np.testing.assert_allclose(earned(CARS, tasks, act, 2, seed=4), total, rtol=1e-5)


@pytest.mark.parametrize("split", ["test", "ood"])
def test_a_car_whose_motor_is_known_gets_out(split):
    tasks = CARS.sample(300, split, 1)
    returns = with_the_swing(CARS, tasks)
    best = CARS.references(tasks)["with_the_swing"].returns
    assert returns.shape == (300, len(THROTTLES)) and best.mean() > 96.0 and best.min() > 80.0
    np.testing.assert_array_equal(returns.max(1), best)
    assert np.all(with_the_swing(CARS, reversed_motor(tasks, "power")) == returns), "a known sign makes no difference"


def test_pushing_with_the_swing_gains_energy_at_every_step():
    """A car without motor and walls keeps v²/2 + 0.0025 sin(3x)/3; to first order, power · |u| · |v| is added."""
    tasks = per_episode(CARS.sample(200, "train", 3))
    state = CARS.reset(tasks, random.spread(random.key(0), 200, 1))
    energies, positions = [], []
    for _ in range(40):
        energies.append(np.float64(state.velocity) ** 2 / 2 + SLOPE * np.sin(3 * np.float64(state.position)) / 3)
        positions.append(state.position.numpy())
        throttle = tf.where(state.velocity >= 0.0, 1.0, -1.0) * tf.sign(tasks.power)
        state = CARS.step(tasks, state, throttle[..., None], None).state
    inside = np.min(positions, 0) > -1.19
    assert inside.mean() > 0.5 and np.all(energies[-1][inside] > energies[0][inside])


def test_a_robot_whose_motor_is_known_gets_up_soon():
    tasks = ROBOTS.sample(200, "test", 1)
    returns, known = pumping(ROBOTS, tasks), ROBOTS.references(tasks)
    assert returns.shape == (200, len(WAYS))
    assert -80.0 < known["pumping"].returns.mean() < -50.0 and known["pumping"].returns.min() > -200.0
    np.testing.assert_array_equal(pumping(ROBOTS, reversed_motor(tasks, "torque")), returns)
    assert np.all(known["never"].returns == -200.0)


def test_with_the_wrong_sign_neither_gets_anywhere():
    """The same controllers, told the opposite sign: knowing it is what they live on."""

    def brake(task, state):
        return (-tf.where(state.velocity >= 0.0, 1.0, -1.0) * tf.sign(task.power))[..., None]

    def damp(task, state):
        return 1 + tf.cast(tf.sign(state.velocity_1) * tf.sign(task.torque), tf.int32)

    assert earned(CARS, CARS.sample(200, "test"), brake).max() < 0.0
    assert earned(ROBOTS, ROBOTS.sample(200, "test"), damp).max() == -200.0


@pytest.mark.parametrize("split", ["test", "ood"])
def test_a_pole_whose_physics_are_known_is_balanced_for_gymnasiums_500_steps(split):
    family = CartPole(horizon=500)
    assert np.all(family.references(family.sample(500, split, 1))["regulator"].returns == 500.0)
