"""The learners' meta-gradients against central finite differences in float64."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from metazoo import losses
from metazoo.algorithms.common import inner_loop
from metazoo.policies.weights import unflatten
from tests.algorithms.problems import meta_gradient, small_maml, small_problem

STEP = 1e-5
TOLERANCE = 1e-6
"""Relative; the differences' own error is about 1e-9 here."""


def old_log_probs(learner, weights, batches):
    """log π of every inner batch under the weights that the inner step starts from, as constants."""
    memory, old = learner.initial_memory(weights), []
    for inner, _ in batches[:-1]:
        parameters = learner.policy.apply(memory[:-1], tf.cast(inner.observations, memory.dtype))
        old.append(tf.constant(learner.policy.distribution.log_prob(parameters, inner.actions).numpy()))
        memory, _, _ = learner.inner_step(weights, memory, inner)
    return old


def fixed_ratio_loss(learner, weights, batches, old):
    """MAML's objective written out again, with π/π_old in the inner steps and π_old fixed.

    ``meta_loss`` with the likelihood ratio stops the gradient of its denominator, so its own finite differences are
    those of the plain policy gradient. Where π_old belongs to the current weights, both functions have the same value,
    and the derivative of this one is what the likelihood ratio stands for.
    """
    config = learner.config
    flat = tf.concat([tf.reshape(part, [-1]) for part in weights[: len(learner.policy.shapes)]], 0)
    total = 0.0
    for made, (inner, outer) in enumerate(batches):
        if made or not config.inner_steps:
            loss, _ = inner_loop.surrogate(learner.policy, flat, outer, "policy_gradient")
            total += loss / max(1, config.inner_steps)
        if made < config.inner_steps:
            with tf.GradientTape() as tape:
                tape.watch(flat)
                parameters = learner.policy.apply(flat, tf.cast(inner.observations, flat.dtype))
                log_probs = learner.policy.distribution.log_prob(parameters, inner.actions)
                advantages = tf.cast(inner.advantages, flat.dtype)
                loss = -losses.masked_mean(tf.exp(log_probs - old[made]) * advantages, inner.mask)
            rates = learner.rates.value if config.step_sizes == "fixed" else weights[-1]
            sizes = config.inner_rate * (1 + config.step_size_gain * rates)
            flat -= sizes[min(made, sizes.shape[0] - 1)] * tape.gradient(loss, flat)
    return total


def objective(learner, rounds, weights):
    """``[P'] → mean loss over tasks``, compiled: what finite differences are taken of."""
    every = learner.batches(rounds)
    tasks = [tf.nest.map_structure(lambda field, m=m: field[m], every) for m in range(learner.config.tasks)]
    shapes = [tensor.shape for tensor in weights]
    ratio = learner.config.surrogate == "likelihood_ratio"
    olds = [old_log_probs(learner, weights, batches) for batches in tasks] if ratio else None

    @tf.function
    def value(flat):
        parts = [
            tf.reshape(p, s) for p, s in zip(tf.split(flat, [s.num_elements() for s in shapes]), shapes, strict=True)
        ]
        if ratio:
            values = [fixed_ratio_loss(learner, parts, *args) for args in zip(tasks, olds, strict=True)]
        else:
            values = [learner.meta_loss(parts, batches) for batches in tasks]
        return tf.add_n(values) / len(tasks)

    return value


def flatten(tensors):
    return np.concatenate([np.ravel(tensor) for tensor in tensors])


PAIRS = [
    ("categorical", 1, "policy_gradient", "fixed"),
    ("categorical", 2, "likelihood_ratio", "parameter"),
    ("gaussian", 1, "likelihood_ratio", "parameter"),
    ("gaussian", 2, "policy_gradient", "parameter"),
    ("gaussian", 2, "likelihood_ratio", "fixed"),
]
"""Every pair of settings of two options; the other combinations of all four are slow tests."""
CASES = [
    pytest.param(
        dict(zip(("kind", "inner_steps", "surrogate", "step_sizes"), case, strict=True)),
        marks=() if case in PAIRS else pytest.mark.slow,
    )
    for case in itertools.product(
        ("categorical", "gaussian"), (1, 2), ("policy_gradient", "likelihood_ratio"), ("fixed", "parameter")
    )
] + [
    {"kind": "categorical", "inner_steps": 2, "surrogate": "policy_gradient", "step_sizes": "scalar", "entropy": 0.1},
    {"kind": "gaussian", "inner_steps": 2, "surrogate": "policy_gradient", "step_sizes_per_step": 0, "every_step": 0},
    {
        "kind": "categorical",
        "inner_steps": 2,
        "surrogate": "policy_gradient",
        "advantages": "update",
        "step_weight": 0.3,
    },
    {"kind": "categorical", "inner_steps": 1, "surrogate": "policy_gradient", "exploration": 0.5, "replicas": 3},
    {"kind": "categorical", "inner_steps": 0, "surrogate": "policy_gradient", "step_sizes": "fixed", "entropy": 0.1},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_meta_gradient_equals_central_differences(case):
    learner, rounds = small_maml(**case)
    weights = learner.current_weights()
    gradients, metrics = meta_gradient(learner, rounds)
    gradient, point = flatten(gradients), flatten(weights)
    value = objective(learner, rounds, weights)
    assert float(value(point)) == pytest.approx(float(metrics["loss"]), rel=1e-12)

    assert_slopes(value, point, gradient)


def assert_slopes(value, point, gradient):
    """The gradient is the derivative of ``value`` at ``point``, along random directions and along some axes."""

    def slope(direction):
        return (float(value(point + STEP * direction)) - float(value(point - STEP * direction))) / (2 * STEP)

    rng = np.random.default_rng(1)
    for direction in rng.standard_normal((4, len(point))):
        direction /= np.linalg.norm(direction)
        assert abs(gradient @ direction - slope(direction)) < TOLERANCE * np.linalg.norm(gradient)
    for coordinate in rng.choice(len(point), 6, replace=False):
        expected = slope(np.eye(len(point))[coordinate])
        assert gradient[coordinate] == pytest.approx(expected, rel=1e-4, abs=TOLERANCE * np.linalg.norm(gradient))


PLAIN = [
    pytest.param(("maml", "gaussian", {"inner_steps": 2, "outer": "ppo"}), marks=pytest.mark.slow),
    ("maml", "supervised", {"inner_steps": 3}),
    ("anil", "gaussian", {"inner_steps": 2, "surrogate": "policy_gradient"}),
    ("anil", "supervised", {"inner_steps": 2, "step_sizes": "parameter", "every_step": 0}),
    ("meta_sgd", "categorical", {"inner_steps": 2, "outer": "ppo"}),
    ("meta_sgd", "gaussian", {"inner_steps": 2, "surrogate": "policy_gradient", "step_sizes_per_step": 0}),
    ("promp", "categorical", {"inner_steps": 2, "kl_weight": 0.5}),
    pytest.param(
        ("promp", "gaussian", {"kl_weight": 0.5, "entropy": 0.1, "step_sizes": "scalar"}), marks=pytest.mark.slow
    ),
    ("promp", "supervised", {"kl_weight": 0.5}),
]
"""Objectives without stopped gradients: ratios are taken to policies that stay, those that played."""


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: "-".join([*case[:2], *map(str, case[2].values())]))
def test_meta_gradient_away_from_the_policies_that_played(case):
    """As in the second of several outer steps: some ratios are beyond the clip, and the KL is not at its minimum."""
    algorithm, kind, settings = case
    learner, rounds = small_problem(algorithm, kind, **settings)
    played = learner.current_weights()
    batch = learner.prepare(played, rounds)
    noise = np.random.default_rng(2)
    weights = [tensor + 0.1 * noise.standard_normal(tensor.shape) for tensor in played]
    gradients, metrics = learner.meta_gradient(weights, batch)
    shapes = [tuple(tensor.shape) for tensor in weights]

    @tf.function
    def value(flat):
        parts = unflatten(flat, shapes)
        return tf.reduce_mean(tf.map_fn(lambda pairs: learner.meta_loss(parts, pairs), batch.pairs, tf.float64))

    point = flatten(weights)
    assert float(value(point)) == pytest.approx(float(metrics["loss"]), rel=1e-9)
    assert_slopes(value, point, flatten(gradients))


@pytest.mark.parametrize("kind", ["categorical", "supervised"])
def test_reptile_moves_by_k_inner_steps(kind):
    """Against inner gradients by central differences; no derivative of ours is used."""
    learner, rounds = small_problem("reptile", kind, inner_steps=2, tasks=2)
    weights = learner.current_weights()
    start = learner.policy.flat_weights(weights).numpy()
    samples = [learner.inner_samples(episodes) for episodes in rounds]

    @tf.function
    def loss(flat, batch):
        return inner_loop.surrogate(learner.policy, flat, batch, "mse" if kind == "supervised" else "policy_gradient")[
            0
        ]

    moved = []
    for task in range(2):
        flat = start.copy()
        for step in samples:
            one = tf.nest.map_structure(lambda field, task=task: field[task], step)
            axes = STEP * np.eye(len(flat))
            flat -= 0.3 * np.array([float(loss(flat + e, one) - loss(flat - e, one)) for e in axes]) / (2 * STEP)
        moved.append(start - flat)
    gradient = flatten(meta_gradient(learner, rounds)[0])
    np.testing.assert_allclose(gradient, np.mean(moved, 0), atol=1e-7 * np.linalg.norm(gradient) + 1e-9)
