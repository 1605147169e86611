"""Bandits, tabular MDPs and the gridworld: dynamics by hand, distributions by counting, oracles by brute force."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families import gridworld
from metazoo.tasks.families.bandit import Bandit, BanditState, BanditTask, GaussianBandit
from metazoo.tasks.families.gridworld import Gridworld, GridworldState, GridworldTask
from metazoo.tasks.families.tabular_mdp import TabularMDP, TabularMDPState, TabularMDPTask, optimal_returns
from metazoo.tasks.family import per_episode


def keys(*shape):
    return random.spread(random.key(5), *shape)


@pytest.mark.parametrize(("family", "noise"), [(Bandit(3), None), (GaussianBandit(3), 1.0)])
def test_an_arm_pays_its_mean(family, noise):
    means = np.array([[0.1, 0.5, 0.8], [0.9, 0.2, 0.4]], np.float32)
    task, pulls = per_episode(BanditTask(tf.constant(means))), 40_000
    state = BanditState(tf.zeros((2, pulls), tf.int32))
    for arm in range(3):
        after = family.step(task, state, tf.fill((2, pulls), arm), random.fold(keys(2, pulls), arm))
        rewards = after.rewards.numpy()
        deviation = np.sqrt(means[:, arm] * (1 - means[:, arm])) if noise is None else noise
        np.testing.assert_allclose(rewards.mean(1), means[:, arm], atol=4.5 / np.sqrt(pulls))
        np.testing.assert_allclose(rewards.std(1), deviation, atol=0.02)
        assert not np.any(after.terminated) and np.all(after.state.pulls == 1)
        assert noise is not None or set(np.unique(rewards)) == {0.0, 1.0}


def test_bandit_tasks_have_the_papers_distribution():
    """Means ~ U[0, 1]: random play earns 0.5 a pull, knowing the arms k/(k+1)."""
    means = Bandit(10).sample(20_000, "test", 1).means.numpy()
    assert means.shape == (20_000, 10)
    assert means.mean() == pytest.approx(0.5, abs=0.004) and means.var() == pytest.approx(1 / 12, abs=0.002)
    assert means.max(1).mean() == pytest.approx(10 / 11, abs=0.003)
    gaussian = GaussianBandit(10).sample(20_000, "test", 1).means.numpy()
    assert gaussian.mean() == pytest.approx(0, abs=0.01) and gaussian.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("family", "expected"),
    # the mean of the best of 5 arms: 5/6 of U[0, 1], 1.16296 of N(0, 1)
    [(Bandit(5, 20), 20 * 5 / 6), (GaussianBandit(5, 20), 20 * 1.16296)],
)
def test_always_pulling_the_best_arm_earns_the_closed_form(family, expected):
    count = 20_000
    task = family.sample(count, "test", 6)
    best = tf.argmax(task.means, -1, tf.int32)[:, None]
    state, rows, total = family.reset(per_episode(task), keys(count, 1)), keys(count, 1), 0.0
    for t in range(family.horizon):
        after = family.step(per_episode(task), state, best, random.fold(rows, t))
        state, total = after.state, total + after.rewards.numpy()
    assert total.mean() == pytest.approx(expected, abs=4.5 * total.std() / np.sqrt(count))


def test_a_bandit_shows_nothing_but_rewards():
    family = Bandit(4, horizon=7)
    task = per_episode(family.sample(3))
    observed = family.observe(task, family.reset(task, keys(3, 2)))
    assert family.horizon == 7 and family.action_space.n == 4
    np.testing.assert_array_equal(observed, np.ones((3, 2, 1)))


def test_mdp_tasks_have_the_papers_distribution():
    """Flat Dirichlet over 10 states: every probability has mean 1/10 and variance 9/1100; rewards ~ N(1, 1)."""
    task = TabularMDP().sample(400, "test", 2)
    transitions, rewards = task.transitions.numpy(), task.rewards.numpy()
    assert transitions.shape == (400, 10, 5, 10) and rewards.shape == (400, 10, 5)
    np.testing.assert_allclose(transitions.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(transitions.mean((0, 1, 2)), 0.1, atol=0.003)
    np.testing.assert_allclose(transitions.var((0, 1, 2)), 9 / 1100, rtol=0.1)
    assert transitions.var() == pytest.approx(9 / 1100, rel=0.03)
    assert rewards.mean() == pytest.approx(1, abs=0.03) and rewards.std() == pytest.approx(1, abs=0.02)


def test_mdp_steps_follow_the_table():
    family, count = TabularMDP(), 60_000
    tasks = family.sample(2, "train", 4)
    state = TabularMDPState(tf.constant([[3] * count, [7] * count]))
    after = family.step(per_episode(tasks), state, tf.constant([[2] * count, [0] * count]), keys(2, count))
    for m, (number, action) in enumerate(((3, 2), (7, 0))):
        frequencies = np.bincount(after.state.number[m], minlength=10) / count
        np.testing.assert_allclose(frequencies, tasks.transitions[m, number, action], atol=0.008)
        assert np.mean(after.rewards[m]) == pytest.approx(float(tasks.rewards[m, number, action]), abs=0.02)
        assert np.std(after.rewards[m]) == pytest.approx(1, abs=0.02)
    noise, moves = after.rewards[0] - tasks.rewards[0, 3, 2], tf.cast(after.state.number[0], tf.float32)
    assert abs(np.corrcoef(noise, moves)[0, 1]) < 0.02
    np.testing.assert_array_equal(family.observe(None, after.state).numpy().argmax(-1), after.state.number)


def test_random_play_in_mdps_earns_what_the_paper_reports():
    """Ten episodes of ten steps at mean reward 1: 100.1 in the paper's table."""
    family = TabularMDP()
    task = per_episode(family.sample(2000, "test", 3))
    rows = keys(2000, 5)
    state, total = family.reset(task, rows), 0.0
    for t in range(family.horizon):
        now = random.fold(rows, t)
        after = family.step(task, state, random.integers(random.fold(now, 0), 5), random.fold(now, 1))
        state, total = after.state, total + after.rewards.numpy()
    assert 10 * total.mean() == pytest.approx(100.1, abs=1.5)


def test_optimal_returns_by_trying_every_policy():
    """Two states, two actions, horizon 2: all 16 policies that may depend on time."""
    transitions = np.array([[[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [1.0, 0.0]]]])
    rewards = np.array([[[0.0, -1.0], [3.0, 1.0]]])

    def value(policy):
        last = np.array([rewards[0, s, policy[1][s]] for s in range(2)])
        return rewards[0, 0, policy[0][0]] + transitions[0, 0, policy[0][0]] @ last

    actions = list(itertools.product(range(2), repeat=2))
    best = max(value(policy) for policy in itertools.product(actions, actions))
    assert optimal_returns(TabularMDPTask(transitions, rewards), 2) == pytest.approx([best])
    assert best == pytest.approx(-1 + 0.8 * 3)


def test_the_best_policy_of_a_known_mdp_earns_the_oracles_return():
    """Its actions by backward induction, written here once more, played in the family's own dynamics."""
    family, episodes = TabularMDP(), 4000
    tasks = family.sample(6, "test", 8)
    values, policy = np.zeros((6, 10)), []
    for _ in range(family.horizon):
        worth = tasks.rewards.numpy() + np.einsum("msan,mn->msa", tasks.transitions.numpy(), values)
        policy.insert(0, worth.argmax(-1))
        values = worth.max(-1)
    rows, task = keys(6, episodes), per_episode(tasks)
    state, total = family.reset(task, rows), 0.0
    for t in range(family.horizon):
        actions = tf.gather(tf.constant(policy[t], tf.int32), state.number, batch_dims=1)
        after = family.step(task, state, actions, random.fold(rows, t))
        state, total = after.state, total + after.rewards.numpy()
    np.testing.assert_allclose(total.mean(1), optimal_returns(tasks), atol=4.5 * total.std() / np.sqrt(episodes))


def grid_step(cell, action, goal=(4.0, 2.0), slip=0.0, rows=1):
    task = per_episode(GridworldTask(tf.constant([goal]), tf.constant([slip])))
    state = GridworldState(tf.tile(tf.constant([[cell]], tf.float32), (1, rows, 1)))
    return Gridworld().step(task, state, tf.fill((1, rows), action), keys(1, rows))


@pytest.mark.parametrize(
    ("cell", "action", "reached", "reward"),
    [
        ((2, 2), 0, (2, 2), -0.1),
        ((2, 2), 1, (2, 3), -0.1),
        ((2, 2), 2, (3, 2), -0.1),
        ((2, 2), 3, (2, 1), -0.1),
        ((2, 2), 4, (1, 2), -0.1),
        ((0, 0), 4, (0, 0), -0.1),  # walls
        ((4, 4), 1, (4, 4), -0.1),
        ((3, 2), 2, (4, 2), 1.0),
        ((4, 2), 0, (4, 2), 1.0),  # staying on the goal keeps paying
    ],
)
def test_grid_steps(cell, action, reached, reward):
    after = grid_step(cell, action)
    np.testing.assert_array_equal(after.state.cell[0, 0], reached)
    assert float(after.rewards[0, 0]) == pytest.approx(reward)
    assert not bool(after.terminated[0, 0])


def test_slipping():
    after = grid_step((1, 1), 2, slip=0.25, rows=20_000)
    moved = after.state.cell.numpy()[0, :, 0] == 2
    assert moved.mean() == pytest.approx(0.75, abs=0.015)


def test_goals_are_uniform_over_the_cells_away_from_the_start():
    for split in ("train", "ood"):
        task = Gridworld().sample(21_000, split)
        goals, counts = np.unique(task.goal.numpy(), axis=0, return_counts=True)
        assert len(goals) == 21 and goals.max(1).min() == 2
        np.testing.assert_allclose(counts, 1000, rtol=0.13)
        low, high = (0.1, 0.3) if split == "ood" else (0.0, 0.1)
        assert low <= task.slip.numpy().min() and task.slip.numpy().max() <= high + 1e-6


def walk(task, episodes=1):
    """Returns ``[M, E]`` of going to the known goal, columns first, and staying there."""
    family = Gridworld()
    rows, fields = keys(task.slip.shape[0], episodes), per_episode(task)
    state, total = family.reset(fields, rows), 0.0
    for t in range(family.horizon):
        right, up = (state.cell[..., axis] < fields.goal[..., axis] for axis in (0, 1))
        after = family.step(fields, state, tf.where(right, 2, tf.where(up, 1, 0)), random.fold(rows, t))
        state, total = after.state, total + after.rewards.numpy()
    return total


def test_the_grids_oracle_is_the_shortest_path():
    """d steps away and without slipping, 16 − d steps on the goal: 16 − d − 0.1 (d − 1)."""
    task = Gridworld().sample(200, "test", 2)._replace(slip=tf.zeros(200))
    steps = task.goal.numpy().sum(1)
    assert set(steps) == set(range(2, 9))
    closed_form = 16 - steps - 0.1 * (steps - 1)
    np.testing.assert_allclose(gridworld.optimal_returns(task), closed_form, atol=1e-9)
    np.testing.assert_allclose(walk(task)[:, 0], closed_form, atol=1e-5)


@pytest.mark.parametrize("split", ["test", "ood"])
def test_the_grids_oracle_with_slipping_is_what_walking_earns(split):
    task, episodes = Gridworld().sample(12, split, 3), 4000
    found = walk(task, episodes)
    bounds = 4.5 * found.std(1) / np.sqrt(episodes) + 1e-5
    assert np.all(np.abs(found.mean(1) - gridworld.optimal_returns(task)) < bounds)
    assert np.all(gridworld.optimal_returns(task) < gridworld.optimal_returns(task._replace(slip=tf.zeros(12))))


def test_no_policy_beats_the_grids_oracle():
    """A tiny grid, by trying every sequence of moves: without slipping a plan is as good as a policy."""
    task = GridworldTask(tf.constant([[2.0, 1.0]]), tf.constant([0.0]))
    family, plans = Gridworld(size=3, horizon=4), list(itertools.product(range(5), repeat=4))
    fields, state, total = per_episode(task), GridworldState(tf.zeros((1, len(plans), 2))), 0.0
    for actions in np.array(plans, np.int32).T:
        after = family.step(fields, state, tf.constant(actions[None]), keys(1, len(plans)))
        state, total = after.state, total + after.rewards.numpy()
    assert total.max() == pytest.approx(gridworld.optimal_returns(task, size=3, horizon=4)[0], abs=1e-5)
