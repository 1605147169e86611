"""MAML beyond its gradient: memory, step sizes, advantages."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common import inner_loop
from metazoo.rollouts.graph import rollout
from tests.algorithms.problems import FAMILIES, meta_gradient, small_maml


def shared_memory(learner, tasks):
    """``[M, 1, S]``: every task starts from the meta-policy's memory."""
    return tf.tile(learner.initial_memory(learner.current_weights())[None, None], [tasks, 1, 1])


def gradient(learner, rounds):
    return np.concatenate([np.ravel(part) for part in meta_gradient(learner, rounds)[0]])


@pytest.mark.parametrize("kind", FAMILIES)
def test_first_order_differs_from_second_order_and_the_surrogates_from_each_other(kind):
    def of(**settings):
        return gradient(*small_maml(kind, inner_steps=1, step_sizes="fixed", **settings))

    gradients = [of(surrogate="policy_gradient"), of(surrogate="likelihood_ratio"), of(first_order=1)]
    scale = np.linalg.norm(gradients[0])
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(gradients[first] - gradients[second]) > 1e-2 * scale
    np.testing.assert_array_equal(of(first_order=1), of(first_order=1, surrogate="policy_gradient"))


def test_first_order_is_the_gradient_at_the_adapted_weights():
    learner, rounds = small_maml("categorical", inner_steps=1, step_sizes="fixed", first_order=1, tasks=1)
    inner, outer = tf.nest.map_structure(lambda field: field[0], learner.batches(rounds))
    weights = learner.current_weights()
    adapted, _, _ = learner.inner_step(weights, learner.initial_memory(weights), inner[0])
    with tf.GradientTape() as tape:
        tape.watch(adapted)
        loss = inner_loop.policy_gradient(learner.policy, adapted[:-1], outer[1], 0.0)
    np.testing.assert_allclose(gradient(learner, rounds), tape.gradient(loss, adapted)[:-1], rtol=1e-9, atol=1e-12)


def test_memory_holds_the_weights_and_counts_inner_steps():
    learner, rounds = small_maml("gaussian", inner_steps=2)
    weights = learner.current_weights()
    memory = shared_memory(learner, 3)
    assert memory.shape[-1] == learner.memory_size == learner.policy.size + 1
    np.testing.assert_array_equal(memory[0, 0, :-1], learner.policy.flat_weights())
    for made in range(4):  # more steps than trained for are allowed
        np.testing.assert_array_equal(memory[..., -1], np.full((3, 1), float(made)))
        memory, diagnostics = learner.adapt(weights, memory, rounds[0])
        assert diagnostics["loss"].shape == diagnostics["kl"].shape == (3,)
        assert np.all(diagnostics["kl"].numpy() > 0)


@pytest.mark.parametrize("per_step", [0, 1])
def test_each_inner_step_uses_its_own_step_sizes(per_step):
    learner, rounds = small_maml("categorical", inner_steps=3, step_sizes="parameter", step_sizes_per_step=per_step)
    config, weights = learner.config, learner.current_weights()
    sizes = config.inner_rate * (1 + config.step_size_gain * learner.rates.numpy())
    assert sizes.shape == ((3 if per_step else 1), learner.policy.size)
    inner = [pair[0] for pair in learner.batches(rounds)]
    memory = shared_memory(learner, config.tasks)
    for made in range(4):  # from the fourth step on, the last step's sizes
        after, _ = learner.adapt(weights, memory, rounds[0])
        for task in range(config.tasks):
            batch = tf.nest.map_structure(lambda field, task=task: field[task], inner[0])
            fast = memory[task, 0, :-1]
            with tf.GradientTape() as tape:
                tape.watch(fast)
                loss, _ = inner_loop.surrogate(learner.policy, fast, batch, "policy_gradient")
            expected = fast - sizes[min(made, len(sizes) - 1)] * tape.gradient(loss, fast)
            np.testing.assert_allclose(after[task, 0, :-1], expected, rtol=1e-9, atol=1e-12)
        memory = after


def test_a_round_s_weight_is_relative_to_the_one_before():
    """The objective is linear in the weights: a share of 1 : w between the rounds."""
    losses = {}
    for settings in ({"step_weight": 1.0}, {"step_weight": 3.0}, {"every_step": 0}):
        learner, rounds = small_maml("categorical", inner_steps=2, **settings)
        losses[tuple(settings.values())] = float(meta_gradient(learner, rounds)[1]["loss"])
    last, equal = losses[(0,)], losses[(1.0,)]
    first = 2 * equal - last
    assert losses[(3.0,)] == pytest.approx(first / 4 + 3 * last / 4, rel=1e-9)


def test_advantages_on_one_scale_keep_their_proportions():
    """Scaled per update, a task with tenfold rewards keeps tenfold advantages; scaled per task, it does not."""
    for how, proportion in (("update", 10.0), ("task", 1.0)):
        learner, rounds = small_maml("categorical", inner_steps=1, advantages=how, tasks=2)
        same = tf.nest.map_structure(lambda field: tf.repeat(field[:, :1], 2, 1), rounds[1]._replace(
            final_observations=rounds[1].mask))  # fmt: skip
        same = same._replace(final_observations=tf.repeat(rounds[1].final_observations[:1], 2, 0))
        same = same._replace(rewards=same.rewards * tf.constant([1.0, 10.0])[:, None])
        outer = learner.batches([rounds[0], same])[1][1].advantages.numpy()
        np.testing.assert_allclose(outer[1], proportion * outer[0], rtol=1e-3, atol=1e-4)
        if how == "update":
            assert np.sum(outer**2) / np.sum(same.mask) == pytest.approx(1.0, rel=1e-4)


def test_exploration_credits_a_replica_for_what_its_episodes_taught():
    """Two tasks, two replicas each: the later returns 1, 3 and 5, 5 are worth −1, +1 and 0, 0, over their deviation."""
    learner, rounds = small_maml("categorical", inner_steps=1, tasks=4, replicas=2, exploration=0.5)
    mask = rounds[1].mask
    per_step = tf.constant([1.0, 3.0, 5.0, 5.0])[:, None] / tf.reduce_sum(mask, 0)
    rounds[1] = rounds[1]._replace(rewards=mask * per_step)
    first, last = (outer for _, outer in learner.batches(rounds))
    expected = 0.5 * np.array([-1, 1, 0, 0])[:, None] / np.sqrt(0.5) * first.mask
    np.testing.assert_allclose(first.advantages, expected, atol=1e-4)
    plain, _ = small_maml("categorical", inner_steps=1, tasks=4)
    np.testing.assert_array_equal(last.advantages, plain.batches(rounds)[1][1].advantages)


def test_replicas_are_copies_of_tasks_with_episodes_of_their_own():
    learner, _ = small_maml("gaussian", dtype="float32", inner_steps=0, tasks=4, replicas=2)
    tasks = learner.sample_tasks(random.key(0))
    goals = tasks.goal.numpy()
    assert np.array_equal(goals[0], goals[1]) and np.array_equal(goals[2], goals[3]) and np.any(goals[0] != goals[2])
    (episodes,) = learner.collect(learner.current_weights(), tasks, random.key(1))
    assert np.any(episodes.actions[:, 0] != episodes.actions[:, 1])


def test_fixed_step_sizes_are_not_trained():
    learner, rounds = small_maml("categorical", inner_steps=1, step_sizes="fixed")
    assert all(learner.rates is not variable for variable in learner.trainable_variables)
    assert len(meta_gradient(learner, rounds)[0]) == len(learner.policy.shapes)
    learner, _ = small_maml("categorical", inner_steps=1, step_sizes="scalar")
    assert learner.rates.shape == (1, 1) and any(learner.rates is v for v in learner.meta_variables)


def test_adapting_a_task_does_not_depend_on_its_neighbours():
    learner, rounds = small_maml("categorical", dtype="float32", inner_steps=1, tasks=3)
    weights = learner.current_weights()
    memory, diagnostics = learner.adapt(weights, shared_memory(learner, 3), rounds[0])
    alone = tf.nest.map_structure(lambda field: field[:, 1:2], rounds[0]._replace(final_observations=rounds[0].mask))
    alone = alone._replace(final_observations=rounds[0].final_observations[1:2])
    own, own_diagnostics = learner.adapt(weights, shared_memory(learner, 1), alone)
    np.testing.assert_allclose(memory[1:2], own, atol=1e-6)
    np.testing.assert_allclose(diagnostics["loss"][1:2], own_diagnostics["loss"], atol=1e-6)


def test_empty_episodes_give_finite_diagnostics_and_change_no_weight():
    learner, rounds = small_maml("gaussian", dtype="float32", inner_steps=1)
    silent = rounds[0]._replace(mask=tf.zeros_like(rounds[0].mask), rewards=tf.zeros_like(rounds[0].rewards))
    before = shared_memory(learner, 3)
    memory, diagnostics = learner.adapt(learner.current_weights(), before, silent)
    np.testing.assert_array_equal(memory[..., :-1], before[..., :-1])
    assert np.all(np.isfinite(diagnostics["loss"])) and np.all(np.isfinite(diagnostics["kl"]))


def test_clipping_bounds_the_gradient_and_reports_its_norm():
    free, rounds = small_maml("categorical", inner_steps=1)
    clipped, _ = small_maml("categorical", inner_steps=1, clip_norm=1e-3)
    whole = gradient(free, rounds)
    short, metrics = meta_gradient(clipped, rounds)
    np.testing.assert_allclose(metrics["gradient_norm"], np.linalg.norm(whole), rtol=1e-9)
    short = np.concatenate([np.ravel(part) for part in short])
    np.testing.assert_allclose(short, whole * 1e-3 / np.linalg.norm(whole), rtol=1e-6)


def test_rounds_are_played_by_the_adapted_policies():
    """``collect`` plays round 1 with the memory that ``adapt`` makes of round 0."""
    learner, _ = small_maml("gaussian", dtype="float32", inner_steps=1)
    weights, tasks, key = learner.current_weights(), learner.family.sample(3), random.key(7)
    rounds = learner.collect(weights, tasks, key)
    memory, _ = learner.adapt(weights, shared_memory(learner, 3), rounds[0])
    for made, used in enumerate((shared_memory(learner, 3), memory)):
        expected = rollout(learner.family, tasks, partial(learner.step, weights), used, random.fold(key, made), 4)
        np.testing.assert_allclose(rounds[made].actions, expected.actions, atol=1e-5)
    assert np.max(np.abs(rounds[0].actions - rounds[1].actions)) > 0.1
