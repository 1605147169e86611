"""Policy losses against hand-worked values and derivatives."""

import math

import numpy as np
import pytest
import tensorflow as tf

from metazoo import losses

LOG_PROBS = np.log([0.5, 0.25, 0.2, 0.9])
ADVANTAGES = np.array([2.0, -4.0, 1.0, 100.0])
MASK = np.array([1.0, 1.0, 1.0, 0.0])


def tensors(*arrays):
    return [tf.constant(array, tf.float64) for array in arrays]


def gradient(function, at):
    with tf.GradientTape() as tape:
        tape.watch(at)
        value = function(at)
    return tape.gradient(value, at)


def likelihood_ratio(log_probs, advantages, mask):
    """On the policy that sampled."""
    return losses.likelihood_ratio(log_probs, log_probs, advantages, mask)


def test_masked_mean():
    assert float(losses.masked_mean(*tensors([1, 3, 50], [1, 1, 0]))) == 2.0
    assert float(losses.masked_mean(*tensors([1, 3], [0, 0]))) == 0.0


def test_policy_gradient_by_hand():
    loss = losses.policy_gradient(*tensors(LOG_PROBS, ADVANTAGES, MASK))
    assert float(loss) == pytest.approx(-(2 * np.log(0.5) - 4 * np.log(0.25) + np.log(0.2)) / 3)


def test_likelihood_ratio_by_hand():
    loss = likelihood_ratio(*tensors(LOG_PROBS, ADVANTAGES, MASK))
    assert float(loss) == pytest.approx(-(2 - 4 + 1) / 3)


def test_policy_gradient_and_likelihood_ratio_have_the_same_gradient():
    log_probs, advantages, mask = tensors(LOG_PROBS, ADVANTAGES, MASK)
    for loss in (losses.policy_gradient, likelihood_ratio):
        slope = gradient(lambda lp, loss=loss: loss(lp, advantages, mask), log_probs)
        np.testing.assert_allclose(slope, -ADVANTAGES * MASK / 3)


def test_no_gradient_flows_into_the_advantages():
    log_probs, advantages, mask = tensors(LOG_PROBS, ADVANTAGES, MASK)
    assert gradient(lambda a: losses.policy_gradient(log_probs, a, mask), advantages) is None
    assert gradient(lambda a: likelihood_ratio(log_probs, a, mask), advantages) is None


@pytest.mark.parametrize("action", [0, 1])
def test_second_derivatives_of_a_coin_by_hand(action):
    """π(1) = σ(θ). d²/dθ² of −A log π(a) is A σ(1−σ) for both actions: the sampling is left out. With the ratio,
    −A π''(a)/π(a): π(1)'' = σ(1−σ)(1−2σ), π(0)'' = −π(1)''."""
    theta, advantage = tf.constant(0.7, tf.float64), 3.0
    sigma = 1 / (1 + np.exp(-0.7))
    second = sigma * (1 - sigma) * (1 - 2 * sigma) * (1 if action else -1)
    expected = {
        losses.policy_gradient: advantage * sigma * (1 - sigma),
        likelihood_ratio: -advantage * second / (sigma if action else 1 - sigma),
    }
    for loss, value in expected.items():

        def at(theta, loss=loss):
            log_prob = tf.math.log_sigmoid(theta if action else -theta)
            return loss(log_prob[None], tf.constant([advantage], tf.float64), tf.ones([1], tf.float64))

        with tf.GradientTape() as outer:
            outer.watch(theta)
            slope = gradient(at, theta)
        assert float(outer.gradient(slope, theta)) == pytest.approx(value, rel=1e-12)


def test_the_ratios_expected_curvature_is_that_of_the_expected_return():
    """Summed over actions weighted by π: Σ π(a) A(a) π''(a)/π(a) = d²/dθ² Σ π(a) A(a), which log π misses."""
    sigma, gains = 1 / (1 + np.exp(-0.7)), np.array([1.0, 3.0])
    theta = tf.constant(0.7, tf.float64)
    curvature = {}
    for loss in (losses.policy_gradient, likelihood_ratio):
        total = 0.0
        for action, probability in enumerate((1 - sigma, sigma)):
            with tf.GradientTape() as outer:
                outer.watch(theta)
                with tf.GradientTape() as inner:
                    inner.watch(theta)
                    log_prob = tf.math.log_sigmoid(theta if action else -theta)
                    value = loss(log_prob[None], tf.constant(gains[action : action + 1]), tf.ones([1], tf.float64))
                slope = inner.gradient(value, theta)
            total -= probability * float(outer.gradient(slope, theta))
        curvature[loss] = total
    truth = sigma * (1 - sigma) * (1 - 2 * sigma) * (gains[1] - gains[0])
    assert curvature[likelihood_ratio] == pytest.approx(truth, rel=1e-12)
    assert abs(curvature[losses.policy_gradient] - truth) > 0.1


def test_clipped_ratio_by_hand():
    # ratios 1.5 and 0.5: a gain is clipped at 1.2 (and 0.8 from below for a loss), what makes it worse is not
    log_probs = tf.math.log([1.5, 1.5, 0.5, 0.5, 3.0])
    advantages = tf.constant([2.0, -2.0, 2.0, -2.0, 100.0])
    mask = tf.constant([1.0, 1.0, 1.0, 1.0, 0.0])
    loss = losses.clipped_ratio(log_probs, tf.zeros(5), advantages, mask, clip=0.2)
    assert loss.numpy() == pytest.approx(-(2.4 - 3.0 + 1.0 - 1.6) / 4, rel=1e-6)


def test_clipped_ratio_has_no_gradient_beyond_the_clip():
    log_probs = tf.Variable(tf.math.log([1.5, 1.1]))
    with tf.GradientTape() as tape:
        loss = losses.clipped_ratio(log_probs, tf.zeros(2), tf.ones(2), tf.ones(2), clip=0.2)
    assert tape.gradient(loss, log_probs).numpy() == pytest.approx([0.0, -1.1 / 2], rel=1e-6)


@pytest.mark.parametrize("kind", ["clipped_ratio", "likelihood_ratio"])
def test_a_ratio_that_overflows_where_nothing_was_played_is_no_matter(kind):
    """Padding holds actions that nobody took: from one outer step to the next their likelihood may grow e¹⁰⁰-fold."""
    log_probs, played = tf.Variable([math.log(1.1), 100.0]), [1.0, 0.0]
    clip = (0.2,) if kind == "clipped_ratio" else ()
    with tf.GradientTape() as tape:
        loss = getattr(losses, kind)(log_probs, tf.zeros(2), tf.constant([2.0, -1.0]), tf.constant(played), *clip)
    assert float(loss) == pytest.approx(-2.2, rel=1e-6)
    assert tape.gradient(loss, log_probs).numpy() == pytest.approx([-2.2, 0.0], rel=1e-6)


def test_likelihood_ratio_to_another_policy_by_hand():
    log_probs, old = tensors(np.log([0.6, 0.1]), np.log([0.3, 0.2]))
    loss = losses.likelihood_ratio(log_probs, old, *tensors([2.0, 4.0], [1.0, 1.0]))
    assert float(loss) == pytest.approx(-(2 * 2.0 + 0.5 * 4.0) / 2)


def test_squared_error_by_hand():
    predictions, targets, mask = tensors(
        [[1.0, 2.0], [0.0, 0.0], [9.0, 9.0]], [[0.0, 4.0], [3.0, 0.0], [0, 0]], [1, 1, 0]
    )
    assert float(losses.squared_error(predictions, targets, mask)) == pytest.approx((1 + 4 + 9) / 2)
