"""TRPO's outer step: hand-worked quadratics, and MAML's against a Fisher matrix by finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo.algorithms.common.trust_region import TrustRegion, conjugate_gradients, step
from tests.algorithms.problems import small_problem


def positive_definite(size, seed=0):
    root = np.random.default_rng(seed).standard_normal((size, size))
    return root @ root.T / size + 0.1 * np.eye(size)


def test_conjugate_gradients_solve_a_system_in_as_many_iterations_as_it_has_unknowns():
    matrix, target = positive_definite(6), np.arange(6.0)
    product = lambda x: tf.linalg.matvec(tf.constant(matrix), x)  # noqa: E731
    exact = np.linalg.solve(matrix, target)
    np.testing.assert_allclose(conjugate_gradients(product, tf.constant(target), 6), exact, rtol=1e-8)
    np.testing.assert_array_equal(conjugate_gradients(product, tf.zeros(6, tf.float64), 6), np.zeros(6))
    assert np.linalg.norm(conjugate_gradients(product, tf.constant(target), 2) - exact) > 1e-3


def quadratic(loss_bend=0.0, kl_bend=0.0):
    """Three tasks with losses gᵢ·w (+ bend ‖w‖²) and divergences ½ wᵀHᵢw (+ bend ‖w‖⁴), at w = 0."""
    slopes = tf.constant(np.random.default_rng(1).standard_normal((3, 4)))
    hessians = tf.constant(np.stack([positive_definite(4, seed) for seed in range(3)]))

    def loss(weights, one):
        flat = tf.concat([tf.reshape(part, [-1]) for part in weights], 0)
        return tf.reduce_sum(one[0] * flat) + loss_bend * tf.reduce_sum(flat**2)

    def divergence(weights, one):
        flat = tf.concat([tf.reshape(part, [-1]) for part in weights], 0)
        return tf.tensordot(flat, tf.linalg.matvec(one[1], flat), 1) / 2 + kl_bend * tf.reduce_sum(flat**2) ** 2

    weights = [tf.zeros([3], tf.float64), tf.zeros([1, 1], tf.float64)]
    return loss, divergence, weights, (slopes, hessians)


def natural_step(batch, radius, damping):
    gradient = batch[0].numpy().mean(0)
    matrix = batch[1].numpy().mean(0) + damping * np.eye(4)
    direction = np.linalg.solve(matrix, gradient)
    return np.sqrt(2 * radius / (direction @ matrix @ direction)) * direction


def test_the_step_is_the_natural_gradient_up_to_the_radius():
    loss, divergence, weights, batch = quadratic()
    change, metrics = step(loss, divergence, weights, batch, TrustRegion(0.02, 1e-3, 10))
    assert [part.shape for part in change] == [(3,), (1, 1)]
    np.testing.assert_allclose(np.concatenate([np.ravel(part) for part in change]), natural_step(batch, 0.02, 1e-3))
    assert float(metrics["step_share"]) == 1.0 and 0.019 < float(metrics["outer_kl"]) <= 0.02
    assert float(metrics["loss"]) == 0.0
    assert float(metrics["gradient_norm"]) == pytest.approx(np.linalg.norm(batch[0].numpy().mean(0)))


@pytest.mark.parametrize("bends", [(0.0, 1e4), (3.0, 0.0)], ids=["the divergence grows", "the loss rises again"])
def test_it_is_halved_until_the_loss_falls_within_the_radius(bends):
    """The bends show neither in the gradient nor in the Hessian at 0, or would not if they were not evaluated."""
    loss, divergence, weights, batch = quadratic(*bends)
    change, metrics = step(loss, divergence, weights, batch, TrustRegion(0.5, 1e-3, 10))
    share = float(metrics["step_share"])
    assert share in {0.5**number for number in range(1, 16)}
    full = [part / share for part in change]

    def outcome(share):
        moved = [tensor - share * part for tensor, part in zip(weights, full, strict=True)]
        ones = [tf.nest.map_structure(lambda field, m=m: field[m], batch) for m in range(3)]
        return np.mean([loss(moved, one) for one in ones]), np.mean([divergence(moved, one) for one in ones])

    good = [value < 0.0 and kl <= 0.5 for value, kl in (outcome(share), outcome(2 * share))]
    assert good == [True, False]
    assert float(metrics["outer_kl"]) == pytest.approx(outcome(share)[1])


def test_where_no_step_will_do_none_is_made():
    loss, divergence, weights, batch = quadratic(loss_bend=1e12)
    change, metrics = step(loss, divergence, weights, batch, TrustRegion(0.5, 1e-3, 10))
    assert all(np.all(part == 0) for part in change)
    assert float(metrics["step_share"]) == float(metrics["outer_kl"]) == 0.0


def test_maml_s_step_is_the_natural_gradient_through_its_inner_step():
    learner, rounds = small_problem(
        "maml",
        "categorical",
        hidden=(2,),
        outer="trpo",
        step_sizes="fixed",
        max_kl=1e-4,
        cg_damping=1e-2,
        cg_iterations=60,
    )
    weights = learner.current_weights()
    batch = learner.prepare(weights, rounds)
    change, metrics = tf.function(learner.meta_gradient, autograph=False)(weights, batch)
    change = np.concatenate([np.ravel(part) for part in change])
    shapes = [tuple(tensor.shape) for tensor in weights]

    @tf.function
    def slopes(flat):
        """The gradients of the loss and of the divergence, by autodiff, which other tests compare with differences."""
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(flat)
            parts = [
                tf.reshape(p, s) for p, s in zip(tf.split(flat, [int(np.prod(s)) for s in shapes]), shapes, strict=True)
            ]
            means = [
                tf.reduce_mean(tf.map_fn(lambda one, of=of: of(parts, one), batch.pairs, tf.float64))
                for of in (learner.meta_loss, learner.divergence)
            ]
        return [tape.gradient(mean, flat) for mean in means]

    point = np.concatenate([np.ravel(tensor) for tensor in weights])
    gradient, at_rest = slopes(point)
    np.testing.assert_allclose(at_rest, 0.0, atol=1e-12)
    axes = 1e-5 * np.eye(len(point))
    hessian = np.stack([(slopes(point + e)[1] - slopes(point - e)[1]) / 2e-5 for e in axes])
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-8)
    direction = np.linalg.solve(hessian + 1e-2 * np.eye(len(point)), gradient)
    expected = direction * np.sqrt(2e-4 / (direction @ (hessian @ direction + 1e-2 * direction)))
    assert float(metrics["step_share"]) == 1.0 and 0 < float(metrics["outer_kl"]) <= 1e-4
    np.testing.assert_allclose(change, expected, rtol=1e-3, atol=1e-4 * np.linalg.norm(expected))
