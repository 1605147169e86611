"""Action distributions against SciPy; sampling, modes and clipping."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import log_softmax

from metazoo import random
from metazoo.policies.distributions import Categorical, Gaussian, MultiCategorical, distribution_for
from metazoo.types import Box, Discrete, MultiDiscrete

KEYS = random.spread(random.key(3), 20_000)


def test_the_space_decides():
    assert isinstance(distribution_for(Discrete(3)), Categorical)
    assert isinstance(distribution_for(Box((2,), -1.0, 1.0)), Gaussian)
    assert isinstance(distribution_for(MultiDiscrete((2, 3))), MultiCategorical)


@pytest.mark.parametrize("start", [0, -2, 5])
def test_categorical_actions_start_where_the_space_does(start):
    distribution = Categorical(Discrete(3, start))
    logits = np.array([[0.3, -1.0, 2.0], [1.0, 0.0, 0.0]], np.float32)
    parameters = {"logits": tf.constant(logits)}
    for action in range(3):
        log_prob = distribution.log_prob(parameters, tf.constant([start + action] * 2))
        np.testing.assert_allclose(log_prob, log_softmax(logits, -1)[:, action], rtol=1e-6)
    np.testing.assert_array_equal(distribution.mode(parameters), [start + 2, start])
    np.testing.assert_array_equal(distribution.clip(tf.constant([start])), [start])


def test_categorical_samples_follow_the_probabilities():
    logits = np.array([0.3, -1.0, 2.0], np.float32)
    drawn = Categorical(Discrete(3, 5)).sample({"logits": tf.broadcast_to(logits, [len(KEYS), 3])}, KEYS)
    assert drawn.dtype == tf.int32
    frequencies = np.bincount(drawn.numpy() - 5, minlength=3) / len(KEYS)
    np.testing.assert_allclose(frequencies, np.exp(log_softmax(logits)), atol=0.012)


def test_multi_categorical_is_a_product_of_categoricals():
    distribution = MultiCategorical(MultiDiscrete((2, 3), start=(1, -1)))
    rng = np.random.default_rng(0)
    logits, others = rng.standard_normal((2, 6, 5))
    logs = [log_softmax(logits[:, :2], -1), log_softmax(logits[:, 2:], -1)]
    theirs = [log_softmax(others[:, :2], -1), log_softmax(others[:, 2:], -1)]
    parameters = {"logits": tf.constant(logits)}
    for first in range(2):
        for second in range(3):
            actions = tf.constant([[1 + first, second - 1]] * 6)
            expected = logs[0][:, first] + logs[1][:, second]
            np.testing.assert_allclose(distribution.log_prob(parameters, actions), expected, rtol=1e-12)
    ours = distribution.of(parameters)
    entropy = sum(-(np.exp(log) * log).sum(-1) for log in logs)
    np.testing.assert_allclose(ours.entropy(), entropy, rtol=1e-12)
    kl = sum((np.exp(log) * (log - other)).sum(-1) for log, other in zip(logs, theirs, strict=True))
    np.testing.assert_allclose(ours.kl_divergence(distribution.of({"logits": tf.constant(others)})), kl, rtol=1e-10)
    mode = [[1 + row[:2].argmax(), row[2:].argmax() - 1] for row in logits]
    np.testing.assert_array_equal(distribution.mode(parameters), mode)
    np.testing.assert_array_equal(distribution.clip(tf.constant(mode)), mode)


def test_multi_categorical_samples_follow_the_probabilities_and_components_are_independent():
    distribution = MultiCategorical(MultiDiscrete((2, 3), start=2))
    logits = np.array([0.5, -0.5, 0.3, -1.0, 2.0], np.float32)
    drawn = distribution.sample({"logits": tf.broadcast_to(logits, [len(KEYS), 5])}, KEYS)
    assert drawn.dtype == tf.int32 and drawn.shape == (len(KEYS), 2)
    joint = np.zeros((2, 3))
    np.add.at(joint, tuple(drawn.numpy().T - 2), 1 / len(KEYS))
    expected = np.outer(np.exp(log_softmax(logits[:2])), np.exp(log_softmax(logits[2:])))
    np.testing.assert_allclose(joint, expected, atol=0.012)


def test_gaussian_log_prob_entropy_and_divergence_equal_scipy():
    rng = np.random.default_rng(0)
    loc, other, actions = rng.standard_normal((3, 6, 2))
    scale, other_scale = rng.uniform(0.2, 2.0, (2, 6, 2))
    distribution = Gaussian(Box((2,), -0.1, 0.1))
    parameters = {"loc": tf.constant(loc), "scale": tf.constant(scale)}
    expected = stats.norm.logpdf(actions, loc, scale).sum(-1)
    np.testing.assert_allclose(distribution.log_prob(parameters, tf.constant(actions)), expected, rtol=1e-12)
    entropy = stats.norm.entropy(loc, scale).sum(-1)
    np.testing.assert_allclose(distribution.of(parameters).entropy(), entropy, rtol=1e-12)
    others = distribution.of({"loc": tf.constant(other), "scale": tf.constant(other_scale)})
    terms = np.log(other_scale / scale) + (scale**2 + (loc - other) ** 2) / (2 * other_scale**2) - 0.5
    np.testing.assert_allclose(distribution.of(parameters).kl_divergence(others), terms.sum(-1), rtol=1e-12)


def test_gaussian_samples_have_the_right_moments_and_are_not_clipped():
    distribution = Gaussian(Box((2,), -0.1, 0.1))
    loc, scale = tf.constant([1.0, -2.0]), tf.constant([0.5, 3.0])
    parameters = {"loc": tf.broadcast_to(loc, [len(KEYS), 2]), "scale": tf.broadcast_to(scale, [len(KEYS), 2])}
    drawn = distribution.sample(parameters, KEYS).numpy()
    np.testing.assert_allclose(drawn.mean(0), loc, atol=0.06)
    np.testing.assert_allclose(drawn.std(0), scale, rtol=0.02)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.02
    np.testing.assert_array_equal(distribution.mode(parameters), parameters["loc"])
    assert np.abs(distribution.clip(drawn)).max() == np.float32(0.1)


def test_gaussian_clips_to_bounds_per_axis():
    distribution = Gaussian(Box((2,), (-1.0, -2.0), (0.5, 3.0)))
    np.testing.assert_array_equal(distribution.clip(tf.constant([[-9.0, -9.0], [9.0, 9.0]])), [[-1, -2], [0.5, 3]])
