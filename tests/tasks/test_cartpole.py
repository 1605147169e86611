"""CartPole against Gymnasium's, and the reward and the non-adaptive bound of CartPole with a hidden target."""

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from metazoo import random
from metazoo.tasks.families.cartpole import (
    ANGLE_LIMIT,
    POSITION_LIMIT,
    RANGES,
    CartPole,
    CartPoleGoal,
    CartPoleGoalTask,
    CartPoleState,
    best_fixed_position,
)
from metazoo.tasks.family import SPLITS, per_episode

ZERO_KEY = tf.zeros((1, 1), tf.uint32)


def gymnasium_step(physics: dict, state: np.ndarray, action: int):
    """One float64 step of Gymnasium's CartPole-v1 with changed physics."""
    env = CartPoleEnv()
    env.gravity, env.masscart, env.masspole = physics["gravity"], physics["cart_mass"], physics["pole_mass"]
    env.length, env.force_mag = physics["half_length"], physics["force"]
    env.total_mass, env.polemass_length = env.masspole + env.masscart, env.masspole * env.length
    env.state = state
    _, reward, terminated, _, _ = env.step(action)
    return np.array(env.state), reward, terminated


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("family", [CartPole(), CartPoleGoal()], ids=lambda family: family.name)
def test_each_step_equals_gymnasiums(family, split):
    """500 transitions a split, from states all over and beyond the track, eager and under XLA.

    float32 keeps 6e-8 of each term; terms reach about 20 (accelerations times 0.02 s stay below that), so 1e-5 leaves
    room for a few roundings and none for a wrong term.
    """
    rows, rng = 500, np.random.default_rng(7)
    task = family.sample(rows, split, 5)
    states = rng.uniform(-1, 1, (rows, 4)) * [2.6, 4.0, 0.25, 4.0]
    states = states.astype(np.float32).astype(np.float64)
    actions = rng.integers(2, size=rows)
    state = CartPoleState(*(tf.constant(column[:, None], tf.float32) for column in states.T))

    fields = {name: field.numpy().astype(np.float64) for name, field in task._asdict().items()}
    physics = [{name: field[row] for name, field in fields.items()} for row in range(rows)]
    outcomes = [gymnasium_step(physics[row], states[row], actions[row]) for row in range(rows)]
    expected, rewards, terminated = (np.array(column) for column in zip(*outcomes, strict=True))
    assert 50 < terminated.sum() < 450

    def step(task, state, actions):
        return family.step(task, state, actions, tf.zeros((rows, 1), tf.uint32))

    for run in (step, tf.function(step, jit_compile=True, autograph=False)):
        after = run(per_episode(task), state, tf.constant(actions[:, None], tf.int32))
        found = np.stack([field.numpy()[:, 0] for field in after.state], 1)
        assert np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected))) < 1e-5
        np.testing.assert_array_equal(after.terminated[:, 0], terminated)
        if family.name == "cartpole":
            np.testing.assert_array_equal(after.rewards[:, 0], rewards)


def test_the_tested_states_include_both_ways_to_fall_and_standing():
    state = CartPoleState(*(tf.constant([[value]]) for value in (0.0, 0.0, 0.0, 0.0)))
    task = per_episode(CartPole().sample(1))
    for changed, falls in (
        ({}, False),
        ({"position": POSITION_LIMIT + 0.1}, True),
        ({"angle": -ANGLE_LIMIT - 0.1}, True),
    ):
        start = state._replace(**{name: tf.constant([[value]]) for name, value in changed.items()})
        assert bool(CartPole().step(task, start, tf.constant([[1]]), ZERO_KEY).terminated) == falls


def test_start_states_are_gymnasiums():
    state = CartPole().reset(per_episode(CartPole().sample(50)), random.spread(random.key(2), 50, 40))
    for field in state:
        values = field.numpy()
        assert values.shape == (50, 40) and abs(values.mean()) < 0.003
        assert -0.05 <= values.min() < -0.0498 and 0.0498 < values.max() <= 0.05
    assert abs(np.corrcoef([field.numpy().ravel() for field in state]) - np.eye(4)).max() < 0.12


@pytest.mark.parametrize("family", [CartPole(), CartPoleGoal()], ids=lambda family: family.name)
def test_tasks_lie_in_the_ranges_of_their_split(family):
    for split in SPLITS:
        task = family.sample(3000, split, 1)
        for name, span in RANGES.items():
            values = np.abs(getattr(task, name))
            intervals = span.ood if split == "ood" else (span.train,)
            inside = sum((values >= low) & (values <= high) for low, high in intervals)
            assert np.all(inside >= 1), (split, name)
        reversed_motors = np.mean(task.force < 0)
        assert abs(reversed_motors - 0.5) < 0.05 if family.name == "cartpole" else reversed_motors == 0


def goal_task(target: float) -> CartPoleGoalTask:
    values = {**CartPoleGoal.nominal, "target": target}
    return per_episode(CartPoleGoalTask(**{name: tf.constant([value]) for name, value in values.items()}))


@pytest.mark.parametrize(
    ("position", "velocity", "angle", "target", "reward"),
    [
        (0.5, 0.0, 0.0, 0.5, 1.0),
        (0.5, 0.0, 0.0, -0.2, 0.3),
        (0.0, 5.0, 0.0, 0.1, 1.0),  # x after the step: 0.1
        (1.0, 0.0, 0.0, -0.5, 0.0),  # further than 1 away
        (0.5, 0.0, 0.3, 0.5, 0.0),  # fallen
        (2.39, 1.0, 0.0, 1.5, 0.0),  # leaves the track with this step
    ],
)
def test_goal_reward(position, velocity, angle, target, reward):
    state = CartPoleState(*(tf.constant([[value]]) for value in (position, velocity, angle, 0.0)))
    after = CartPoleGoal().step(goal_task(target), state, tf.constant([[0]]), ZERO_KEY)
    np.testing.assert_allclose(after.rewards, [[reward]], atol=1e-6)
    assert bool(after.terminated) == (abs(angle) > 0.2 or position > 2.3)


def test_only_the_oracle_sees_the_target():
    hidden, oracle = CartPoleGoal(), CartPoleGoal(reveal_target=True)
    task = per_episode(hidden.sample(5, "test"))
    state = hidden.reset(task, random.spread(random.key(0), 5, 2))
    seen = oracle.observe(task, state).numpy()
    assert seen.shape == (5, 2, 5) and oracle.observation_space.shape == (5,)
    np.testing.assert_array_equal(seen[..., :4], hidden.observe(task, state))
    np.testing.assert_array_equal(seen[..., 4], np.repeat(task.target, 2, 1))


def test_best_fixed_position_by_hand():
    assert best_fixed_position([0.3]) == (0.3, 200.0)
    position, value = best_fixed_position([0.0, 0.5], horizon=100)
    assert 0.0 <= position <= 0.5 and value == pytest.approx(75.0)
    assert best_fixed_position([-1.2, 0.9, 1.0, 1.1]) == (1.0, pytest.approx(200 * (0.9 + 1.0 + 0.9) / 4))


def test_best_fixed_position_beats_a_grid_of_positions():
    targets = CartPoleGoal().sample(200, "test").target.numpy()
    position, value = best_fixed_position(targets)
    grid = np.linspace(-2.4, 2.4, 4801)
    returns = 200 * np.maximum(0, 1 - np.abs(grid[:, None] - targets[None])).mean(1)
    assert returns.max() <= value + 1e-9 and value - returns.max() < 0.1
    assert abs(grid[np.argmax(returns)] - position) < 0.2


def test_best_fixed_position_over_the_whole_family():
    """For x* ~ U[−1.5, 1.5] any |x| ≤ 0.5 earns ∫ max(0, 1−|u|) du / 3 = 1/3 a step: 66.7 of 200."""
    _, value = best_fixed_position(np.linspace(-1.5, 1.5, 3001))
    assert value == pytest.approx(200 / 3, abs=0.1)
