"""Sinusoid regression: targets, rewards, inputs, and the error of the best prediction without adapting."""

import math

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families.sinusoid import Sinusoid, SinusoidState, SinusoidTask
from metazoo.tasks.family import per_episode

FAMILY = Sinusoid()


def test_targets_and_rewards():
    task = per_episode(SinusoidTask(tf.constant([2.0, 3.0]), tf.constant([0.0, math.pi / 2])))
    state = SinusoidState(tf.constant([[math.pi / 2, 0.0], [math.pi / 2, 0.0]]))
    np.testing.assert_allclose(FAMILY.targets(task, state)[..., 0], [[2, 0], [0, -3]], atol=1e-6)
    after = FAMILY.step(task, state, tf.fill((2, 2, 1), 1.0), tf.zeros((2, 2), tf.uint32))
    np.testing.assert_allclose(after.rewards, [[-1, -1], [-1, -16]], atol=1e-5)
    right = FAMILY.step(task, state, FAMILY.targets(task, state), tf.zeros((2, 2), tf.uint32))
    np.testing.assert_array_equal(right.rewards, np.zeros((2, 2)))


def test_inputs_are_independent_and_uniform():
    task = per_episode(FAMILY.sample(100))
    rows = random.spread(random.key(1), 100, 200)
    state = FAMILY.reset(task, random.fold(rows, 0))
    after = FAMILY.step(task, state, tf.zeros((100, 200, 1)), random.fold(rows, 1)).state
    for x in (state.x.numpy(), after.x.numpy()):
        assert np.abs(x).max() <= 5 and x.std() == pytest.approx(10 / math.sqrt(12), rel=0.01)
    assert abs(np.corrcoef(state.x.numpy().ravel(), after.x.numpy().ravel())[0, 1]) < 0.03


def test_the_best_prediction_without_adapting():
    """E[y | x] = −(2/π)(5.1/2) cos x: its MSE over the family is 3.006, against 4.252 for predicting 0."""
    task = per_episode(FAMILY.sample(20_000, "test"))
    state = FAMILY.reset(task, random.spread(random.key(2), 20_000, 10))
    keys = tf.zeros(state.x.shape, tf.uint32)
    mean = -2 / math.pi * 2.55 * tf.cos(state.x)[..., None]
    for prediction, expected in ((mean, 3.006), (tf.zeros_like(mean), 4.252)):
        rewards = FAMILY.step(task, state, prediction, keys).rewards
        assert -np.mean(rewards) == pytest.approx(expected, rel=0.02)
