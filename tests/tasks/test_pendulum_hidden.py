"""The pendulum with a hidden target: Gymnasium's physics, and what can and cannot be earned."""

import math

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.envs.classic_control.pendulum import PendulumEnv, angle_normalize

from metazoo import random
from metazoo.tasks.families.pendulum import PendulumState
from metazoo.tasks.families.pendulum_hidden import (
    DAMPING,
    MAX_TORQUE,
    STIFFNESS,
    PendulumHidden,
    hold,
    known_target,
)
from metazoo.tasks.family import SPLITS, per_episode
from metazoo.tasks.testing import graph as testing

FAMILY = PendulumHidden()
ROWS = 300


@pytest.mark.parametrize("split", SPLITS)
def test_each_step_is_gymnasiums_with_a_stronger_motor(split):
    """Whose torque is the gain times ours; the angle of the reward is measured from the target."""
    rng, task = np.random.default_rng(1), per_episode(FAMILY.sample(ROWS, split, 1))
    angle, speed = rng.uniform(-7, 7, (ROWS, 1)).astype(np.float32), rng.uniform(-8, 8, (ROWS, 1)).astype(np.float32)
    torque = rng.uniform(-9, 9, (ROWS, 1, 1)).astype(np.float32)
    run = tf.function(FAMILY.step, jit_compile=True, autograph=False)
    after = run(task, PendulumState(tf.constant(angle), tf.constant(speed)), tf.constant(torque), tf.zeros((ROWS, 1)))
    seen, used = FAMILY.observe(task, after.state)[:, 0].numpy(), np.clip(torque[:, 0, 0], -MAX_TORQUE, MAX_TORQUE)
    for i in range(ROWS):
        env = PendulumEnv()
        env.max_torque, env.state = 100.0, np.array([angle[i, 0], speed[i, 0]], np.float64)
        theirs, *_ = env.step([float(task.gain[i, 0]) * used[i]])
        np.testing.assert_allclose(seen[i], theirs, atol=2e-5)
        error = angle_normalize(float(angle[i, 0]) - float(task.target[i, 0]))
        cost = error**2 + 0.1 * float(speed[i, 0]) ** 2 + 0.001 * float(used[i]) ** 2
        assert float(after.rewards[i, 0]) == pytest.approx(-cost, abs=1e-4)
    assert not np.any(after.terminated)


def test_the_motor_holds_it_everywhere():
    """At the target and at rest, the controller's torque leaves it there."""
    task = per_episode(FAMILY.sample(400, "train", 2))
    state = PendulumState(task.target, tf.zeros_like(task.target))
    torque = hold(task, state)
    after = FAMILY.step(task, state, torque[..., None], None)
    assert np.abs(torque).max() < MAX_TORQUE
    np.testing.assert_allclose(after.state.angle, task.target, atol=1e-5)


def test_targets_are_uniform_over_the_circle_in_every_split():
    for split in SPLITS:
        target = FAMILY.sample(4000, split, 1).target.numpy()
        assert abs(np.exp(1j * target).mean()) < 4.5 / math.sqrt(2 * 4000)
        assert target.min() >= -math.pi and target.max() <= math.pi


@pytest.mark.parametrize("policy", ["rest", "random", "upright"])
def test_what_does_not_react_to_rewards_earns_no_more_than_its_bound(policy):
    """Resting, wild, and held upright, on targets all around the circle: e² is π²/3 on average wherever it is."""
    targets = tf.linspace(-math.pi, math.pi, 721)[:-1]
    tasks = FAMILY.Task(tf.cast(targets, tf.float32), tf.ones(720))
    task, rng = per_episode(tasks), np.random.default_rng(0)
    state = FAMILY.reset(task, tf.repeat(random.spread(random.key(3), 1)[None], 720, 0))  # the same start for all
    total, other = 0.0, 0.0
    for _ in range(FAMILY.horizon):
        upright = FAMILY.Task(tf.zeros((720, 1)), task.gain)
        choices = {"rest": 0.0, "random": rng.uniform(-6, 6), "upright": hold(upright, state)}
        torque = choices[policy] + tf.zeros((720, 1))
        after = FAMILY.step(task, state, torque[..., None], None)
        total = total + after.rewards.numpy()
        other = other - 0.1 * np.square(state.angular_velocity) - 0.001 * np.square(torque)
        state = after.state
    bound = FAMILY.references(tasks)["not_reacting"].returns.mean()
    assert bound == pytest.approx(-200 * math.pi**2 / 3)
    assert total.mean() == pytest.approx(bound + other.mean(), rel=1e-4)


def test_who_knows_the_target_loses_a_twentieth_of_that():
    tasks = FAMILY.sample(1000, "test", 0)
    known = FAMILY.references(tasks)
    assert -38.0 < known["known_target"].returns.mean() < -33.0
    assert np.all(known["known_target"].returns > known["not_reacting"].returns)


def test_other_constants_of_the_controller_are_no_better():
    tasks = FAMILY.sample(300, "train", 5)
    best = known_target(FAMILY, tasks).mean()
    for stiffness, damping in ((2 / 3, 1), (4 / 3, 1), (1, 2 / 3), (1, 4 / 3), (2 / 3, 2 / 3), (4 / 3, 4 / 3)):
        assert known_target(FAMILY, tasks, stiffness * STIFFNESS, damping * DAMPING).mean() < 0.99 * best


def test_a_revealed_target_is_seen():
    family = PendulumHidden(horizon=30, reveal_target=True)
    for check in testing.CHECKS.values():
        check(family)
    task = per_episode(family.sample(5))
    state = family.reset(task, random.spread(random.key(0), 5, 2))
    np.testing.assert_array_equal(family.observe(task, state)[..., 3], np.broadcast_to(task.target, (5, 2)))
