"""What sets MAML's kin apart from it, and where they coincide."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.meta_sgd import MetaSGDConfig
from metazoo.rollouts import returns
from tests.algorithms.problems import learner_for, meta_gradient, small_problem


def network_gradient(learner, rounds):
    gradients, _ = meta_gradient(learner, rounds)
    return np.concatenate([np.ravel(part) for part in gradients[: len(learner.policy.shapes)]])


def maml_gradient(kind="gaussian", **settings):
    learner, rounds = small_problem("maml", kind, inner_steps=2, step_sizes="fixed", **settings)
    learner.rates.assign(tf.zeros_like(learner.rates))
    return network_gradient(learner, rounds)


def memories(learner, tasks=3):
    return tf.tile(learner.initial_memory(learner.current_weights())[None, None], [tasks, 1, 1])


def test_promp_s_first_outer_step_is_maml_s_by_its_policy_gradient():
    """Where θ is θₒ all ratios are 1 and the KL is at its minimum."""
    learner, rounds = small_problem("promp", "gaussian", inner_steps=2, kl_weight=1.0)
    learner.rates.assign(tf.zeros_like(learner.rates))
    np.testing.assert_allclose(network_gradient(learner, rounds), maml_gradient(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(maml_gradient(outer="ppo"), maml_gradient(), rtol=1e-9, atol=1e-12)


def test_meta_sgd_with_equal_step_sizes_is_maml():
    learner, rounds = small_problem("meta_sgd", "gaussian", inner_steps=2)
    learner.rates.assign(tf.fill(learner.rates.shape, tf.constant(0.3, tf.float64)))
    np.testing.assert_allclose(network_gradient(learner, rounds), maml_gradient(), rtol=1e-9, atol=1e-12)


def test_anil_of_a_network_without_hidden_layers_is_maml():
    learner, rounds = small_problem("anil", "categorical", hidden=(), inner_steps=2)
    assert learner.frozen == 0
    learner.rates.assign(tf.zeros_like(learner.rates))
    np.testing.assert_allclose(network_gradient(learner, rounds), maml_gradient("categorical", hidden=()), rtol=1e-9)


def test_meta_sgd_draws_its_step_sizes_and_refuses_an_empty_interval():
    learner = learner_for("meta_sgd", "gaussian", inner_steps=2, inner_rate=0.01, inner_rate_high=0.2)
    rates = learner.rates.numpy()
    assert rates.shape == (2, learner.policy.size)
    assert 0.01 <= rates.min() < 0.03 and 0.17 < rates.max() <= 0.2
    again = learner_for("meta_sgd", "gaussian", inner_steps=2, inner_rate=0.01, inner_rate_high=0.2)
    assert np.array_equal(rates, again.rates)
    assert any(learner.rates is variable for variable in learner.meta_variables)
    with pytest.raises(ValueError, match=r"inner_rate is 0.3; it must not be above inner_rate_high \(0.1\)."):
        MetaSGDConfig(inner_rate=0.3)


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_anil_s_inner_step_moves_the_head_alone_and_as_maml_s_would(kind):
    learner, rounds = small_problem("anil", kind)
    learner.rates.assign(tf.zeros_like(learner.rates))
    before, policy = memories(learner), learner.policy
    outputs = policy.shapes[-1][0] if kind == "categorical" else 2
    assert policy.size - learner.frozen == outputs * 4 + outputs + (2 if kind == "gaussian" else 0)
    after, _ = learner.adapt(learner.current_weights(), before, rounds[0])
    np.testing.assert_array_equal(after[..., : learner.frozen], before[..., : learner.frozen])
    maml, _ = small_problem("maml", kind, step_sizes="fixed")
    maml.rates.assign(tf.zeros_like(maml.rates))
    whole, _ = maml.adapt(maml.current_weights(), before, rounds[0])
    np.testing.assert_allclose(after[..., learner.frozen :], whole[..., learner.frozen :], rtol=1e-12)
    assert np.all(np.any(whole[..., : learner.frozen] != before[..., : learner.frozen], -1))


def test_promp_s_penalty_weight_doubles_when_an_update_goes_too_far_and_halves_when_not_far_enough():
    for target, factor in ((1e-9, 2.0), (10.0, 0.5), (0.0, 1.0)):
        learner, rounds = small_problem(
            "promp", "gaussian", dtype="float32", kl_weight=0.25, kl_target=target, epochs=2
        )
        learner.compile(keras.optimizers.SGD(0.1))
        weights = learner.current_weights()
        batch = learner.prepare(weights, rounds)
        assert abs(float(learner.inner_kl(weights, batch))) < 1e-6
        metrics = learner._outer_steps(batch)
        assert 1e-6 < float(metrics["inner_kl"]) < 1.0
        assert float(metrics["kl_weight"]) == float(learner.kl_weight) == 0.25 * factor


def test_reptile_s_inner_adam_by_hand():
    learner, rounds = small_problem("reptile", "gaussian", inner_optimizer="adam", tasks=1)
    weights, size = learner.current_weights(), learner.policy.size
    memory = memories(learner, 1)
    assert memory.shape[-1] == learner.memory_size == 2 * size + 1
    fast, squares = memory[0, 0, :size].numpy(), np.zeros(size)
    for made, episodes in enumerate(rounds):
        batch = tf.nest.map_structure(lambda field: field[0], learner.inner_samples(episodes))
        gradient = inner_loop.gradient(learner.policy, tf.constant(fast), batch, learner.inner_loss)[0].numpy()
        squares = 0.999 * squares + 0.001 * gradient**2
        fast = fast - 0.3 * gradient / (np.sqrt(squares / (1 - 0.999 ** (made + 1))) + 1e-8)
        memory, _ = learner.adapt(weights, memory, episodes)
        np.testing.assert_allclose(memory[0, 0], [*fast, *squares, made + 1], rtol=1e-9, atol=1e-12)


def test_a_supervised_family_makes_all_steps_on_the_support_and_is_judged_on_the_query():
    learner = learner_for("maml", "supervised", horizon=6, tasks=3, episodes=1, inner_steps=2)
    weights = learner.current_weights()
    rounds = learner.collect(weights, learner.sample_tasks(random.key(0)), random.key(1))
    assert len(rounds) == 2 and learner.env_steps_per_update == 3 * 6 * 2
    memory = memories(learner)
    for _ in range(2):
        memory, _ = learner.adapt(weights, memory, rounds[0])
    query = rounds[1]
    predictions = learner.policy.apply(memory[:, 0, :-1], tf.transpose(query.observations[:, :, 0], [1, 0, 2]))["loc"]
    errors = (predictions - tf.transpose(query.actions[:, :, 0], [1, 0, 2])) ** 2
    np.testing.assert_allclose(-np.sum(errors, (1, 2)), returns.episode_returns(query)[:, 0], rtol=1e-4)
    (support, judged), *_, (_, last) = learner.batches(rounds)
    assert len(learner.batches(rounds)) == 3 and judged is last
    np.testing.assert_array_equal(support.actions[..., 0], tf.transpose(rounds[0].actions[:, :, 0, 0]))


def test_a_step_that_would_not_be_finite_is_not_made():
    learner, rounds = small_problem("maml", "supervised", tasks=2)
    weights = learner.current_weights()
    before = tf.tile(learner.initial_memory(weights)[None, None], [2, 1, 1])
    targets = rounds[0].actions.numpy()
    targets[:, 0] = np.inf
    after, _ = learner.adapt(weights, before, rounds[0]._replace(actions=tf.constant(targets)))
    np.testing.assert_array_equal(after[0], before[0])
    assert np.isfinite(after).all() and float(after[1, 0, -1]) == 1.0
