"""2D navigation: reward, end of an episode, clipping, goals, and what standing still is worth."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from metazoo.tasks.families.navigation import (
    Navigation,
    NavigationSparse,
    NavigationState,
    NavigationTask,
    optimal_returns,
)
from metazoo.tasks.family import per_episode

FAMILY = Navigation()


def step(position, goal, action, family=FAMILY):
    task = per_episode(NavigationTask(tf.constant([goal], tf.float32)))
    state = NavigationState(tf.constant([[position]], tf.float32))
    after = family.step(task, state, tf.constant([[action]], tf.float32), tf.zeros((1, 1), tf.uint32))
    return after.state.position.numpy()[0, 0], after.rewards.numpy()[0, 0], after.terminated.numpy()[0, 0]


@pytest.mark.parametrize(
    ("position", "goal", "action", "moved", "reward", "reached"),
    [
        ((0, 0), (0.3, 0.4), (0, 0), (0, 0), -0.5, False),
        ((0, 0), (0.3, 0.4), (0.05, -0.05), (0.05, -0.05), -np.hypot(0.25, 0.45), False),
        ((0.1, 0.1), (0.5, 0.5), (3.0, -3.0), (0.2, 0.0), -np.hypot(0.3, 0.5), False),  # clipped to ±0.1
        ((0.25, 0), (0.3, 0), (0.045, 0.009), (0.295, 0.009), -np.hypot(0.005, 0.009), True),
        ((0.25, 0), (0.3, 0), (0.045, 0.011), (0.295, 0.011), -np.hypot(0.005, 0.011), False),  # one axis too far
        ((0.25, 0), (0.3, 0), (0.08, 0), (0.33, 0), -0.03, False),
    ],
)
def test_step(position, goal, action, moved, reward, reached):
    found = step(position, goal, action)
    np.testing.assert_allclose(found[0], moved, atol=1e-7)
    np.testing.assert_allclose(found[1], reward, atol=1e-6)
    assert found[2] == reached


def test_episodes_start_at_the_origin_and_see_only_the_position():
    task = per_episode(FAMILY.sample(3))
    state = FAMILY.reset(task, tf.zeros((3, 2), tf.uint32))
    np.testing.assert_array_equal(FAMILY.observe(task, state), np.zeros((3, 2, 2)))
    seen = Navigation(reveal_goal=True).observe(task, state).numpy()
    np.testing.assert_array_equal(seen[..., 2:], np.repeat(task.goal, 2, 1))


def test_standing_still_earns_minus_38():
    """E √(x²+y²) for U[−½, ½]² is (√2 + ln(1+√2))/6 = 0.3826, so 100 steps earn −38.26."""
    goals = FAMILY.sample(100_000, "train", 1).goal.numpy()
    expected = (np.sqrt(2) + np.log(1 + np.sqrt(2))) / 6
    assert np.linalg.norm(goals, axis=1).mean() == pytest.approx(expected, abs=0.002)
    total = sum(step((0, 0), goal, (0, 0))[1] for goal in goals[:20]) * FAMILY.horizon / 20
    assert total == pytest.approx(-100 * np.linalg.norm(goals[:20], axis=1).mean(), rel=1e-5)


def play(family, goals, choose):
    """Returns ``[N]`` of one episode for each goal with actions ``choose(task, state)``, and the steps played."""
    task = per_episode(NavigationTask(tf.constant(goals, tf.float32)))
    state = family.reset(task, tf.zeros((len(goals), 1), tf.uint32))
    total, steps, going = np.zeros(len(goals)), np.zeros(len(goals), int), np.ones(len(goals), bool)
    for _ in range(family.horizon):
        after = family.step(task, state, choose(task, state), tf.zeros((len(goals), 1), tf.uint32))
        total += np.where(going, after.rewards.numpy()[:, 0], 0.0)
        steps += going
        going &= ~after.terminated.numpy()[:, 0]
        state = after.state
    return total, steps


@pytest.mark.parametrize("split", ["test", "ood"])
def test_walking_straight_to_a_known_goal_earns_the_closed_form(split):
    """At 0.1 along the longer axis, of length r: |g| (1 − 0.1 k / r) is left after step k, the last is within 0.01."""
    goals = FAMILY.sample(200, split, 4).goal.numpy().astype(np.float64)

    def straight(task, state):
        offset = task.goal - state.position
        largest = tf.reduce_max(tf.abs(offset), -1, keepdims=True)
        return offset * tf.minimum(1.0, 0.1 / tf.maximum(largest, 1e-6))

    total, steps = play(FAMILY, goals, straight)
    longer = np.abs(goals).max(1)
    left = np.maximum(0.0, 1.0 - 0.1 * np.arange(1, 9) / longer[:, None])
    ended = np.argmax(left * longer[:, None] < 0.01, 1) + 1
    expected = -np.linalg.norm(goals, axis=1) * np.where(np.arange(1, 9) <= ended[:, None], left, 0.0).sum(1)
    np.testing.assert_array_equal(steps, ended)
    np.testing.assert_allclose(total, expected, atol=1e-4)


def test_the_optimum_is_what_full_speed_along_both_axes_earns():
    """Played in the family: both axes at once, each clipped by itself, so faster than the straight line."""
    goals = FAMILY.sample(200, "test", 4).goal.numpy().astype(np.float64)
    total, steps = play(FAMILY, goals, lambda task, state: task.goal - state.position)
    best = optimal_returns(goals, FAMILY.horizon)
    np.testing.assert_allclose(best, total, atol=1e-4)
    assert best.mean() == pytest.approx(-0.506, abs=0.1) and np.all(steps <= 5)


def test_no_moves_at_all_earn_more_than_the_optimum():
    """All sequences of three moves on a grid of nine by nine displacements, towards goals that three moves reach."""
    moves = np.array(list(itertools.product(np.linspace(-0.1, 0.1, 9), repeat=2)))
    for goal in ((0.23, -0.12), (0.3, 0.05), (0.155, 0.205), (0.005, 0.27)):
        best = {(0.0, 0.0): 0.0}
        finished = []
        for _ in range(3):
            following: dict[tuple[float, float], float] = {}
            for place, earned in best.items():
                for at in (np.array(place) + moves).round(6):
                    total = earned - np.hypot(*(at - goal))
                    if (np.abs(at - goal) < 0.01).all():
                        finished.append(total)
                    elif total > following.get(tuple(at), -np.inf):
                        following[tuple(at)] = total
            best = following
        (optimum,) = optimal_returns([goal], 3)
        assert max([*finished, *best.values()]) <= optimum + 1e-9
    assert optimal_returns([(0.2, -0.1)], 3)[0] == pytest.approx(-0.1), "one step is left on one axis, then it is there"


def test_the_references_say_what_standing_still_and_the_optimum_earn():
    tasks = FAMILY.Task(tf.constant([[0.3, -0.4], [0.005, -0.005]]))
    known = FAMILY.references(tasks)
    np.testing.assert_allclose(known["standing_still"].returns, [-50.0, -np.hypot(0.005, 0.005)], rtol=1e-5)
    np.testing.assert_allclose(known["optimum"].returns, optimal_returns(tasks.goal, 100))
    assert "nothing earns more" in known["optimum"].what


def test_standing_still_in_the_sparse_variant():
    """A share of π 0.2² of the goals lies within 0.2, at a mean distance of 2/15: 100 · 0.1257 · 0.8667 = 10.89."""
    goals = NavigationSparse().sample(20_000, "test", 1).goal.numpy()
    total, steps = play(NavigationSparse(), goals, lambda task, state: tf.zeros_like(state.position))
    assert np.all(steps == 100)
    assert total.mean() == pytest.approx(100 * np.pi * 0.04 * (1 - 2 / 15), abs=4.5 * total.std() / np.sqrt(20_000))


def test_goals_lie_in_the_square_and_out_of_range_on_a_ring():
    for split in ("train", "validation", "test"):
        goals = FAMILY.sample(5000, split).goal.numpy()
        assert np.abs(goals).max() <= 0.5 and np.abs(goals).max() > 0.499
        np.testing.assert_allclose(goals.mean(0), 0, atol=0.02)
    ring = np.abs(FAMILY.sample(5000, "ood").goal.numpy()).max(1)
    assert ring.min() >= 0.5 and ring.max() <= 0.7 and np.ptp(ring) > 0.15
    quadrants = np.sign(FAMILY.sample(5000, "ood").goal.numpy()) @ [2, 1]
    np.testing.assert_allclose(np.unique(quadrants, return_counts=True)[1] / 5000, 0.25, atol=0.04)


@pytest.mark.parametrize(
    ("action", "reward"), [((0, 0), 0.0), ((0.05, 0), 0.0), ((0.1, 0.05), 0.85), ((0.1, 0.1), 1 - np.hypot(0.15, 0.05))]
)
def test_the_sparse_variant_pays_near_the_goal_only(action, reward):
    moved, found, ended = step((0, 0), (0.25, 0.05), action, NavigationSparse())
    np.testing.assert_allclose(moved, action, atol=1e-7)
    assert found == pytest.approx(reward, abs=1e-6) and not ended


def test_the_sparse_variant_pays_on_at_the_goal():
    assert step((0.25, 0), (0.3, 0), (0.05, 0), NavigationSparse())[1:] == (pytest.approx(1.0), False)
    assert step((0.25, 0), (0.3, 0), (0.05, 0))[2]
