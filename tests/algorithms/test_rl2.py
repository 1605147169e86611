"""RL²: replay is carrying, the loss by hand, the gradient through a trial by finite differences, and learning."""

from dataclasses import fields
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common import side_by_side
from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.common.sequences import as_sequence
from metazoo.algorithms.rl2 import RL2, RL2Config
from metazoo.policies.cells import CELLS
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.rollouts.graph import trial
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.families.tabular_mdp import TabularMDP
from metazoo.types import Box, Discrete, MultiDiscrete, StepInputs

FAMILIES = {"categorical": CartPole, "gaussian": Navigation}
EPISODES = 3
EVERY_CELL = [
    pytest.param(kind, cell, marks=() if kind == "categorical" or cell == "gru" else pytest.mark.slow)
    for kind in FAMILIES
    for cell in CELLS
]


def small_rl2(kind="categorical", cell="gru", dtype="float32", horizon=12, **settings) -> RL2:
    """A learner whose tiny network is far from its initial, nearly uniform output."""
    family = FAMILIES[kind](horizon)
    policy = RecurrentPolicy(family.observation_space, family.action_space, cell, units=4, dtype=dtype)
    noise = np.random.default_rng(0)
    for variable in policy.model.trainable_variables:
        variable.assign(variable + 0.5 * noise.standard_normal(variable.shape))
    return RL2(policy, family, RL2Config(**({"tasks": 5, "episodes": EPISODES, "clip_norm": 0.0} | settings)))


def played(learner: RL2, seed=1):
    """A trial of each of the config's tasks, and the memories after them."""
    weights, family = [tf.cast(one, tf.float32) for one in learner.current_weights()], learner.family
    memory = tf.zeros([learner.config.tasks, 1, learner.memory_size])
    tasks = family.sample(learner.config.tasks, "train", seed)
    return trial(family, tasks, partial(learner.step, weights), memory, random.key(seed), learner.config.episodes)


@pytest.mark.parametrize(("kind", "cell"), EVERY_CELL)
def test_replaying_episodes_is_carrying_the_memory_through_them(kind, cell):
    learner = small_rl2(kind, cell, horizon=40 if kind == "categorical" else 12)
    episodes, carried = played(learner)
    if kind == "categorical":
        assert len(set(episodes.mask.numpy().sum(0).ravel())) > 1, "the test needs episodes of several lengths"
    first = tf.zeros([learner.config.tasks, 1, learner.memory_size])
    replayed, diagnostics = learner.adapt(learner.current_weights(), first, episodes)
    np.testing.assert_allclose(replayed, carried, atol=1e-5)
    assert np.all(np.isfinite(diagnostics["loss"])) and np.all(diagnostics["kl"] > 0)


def test_adapting_to_one_episode_after_another_is_adapting_to_all():
    learner = small_rl2()
    episodes, carried = played(learner)
    memory = tf.zeros([learner.config.tasks, 1, learner.memory_size])
    for number in range(EPISODES):
        parts = {
            name: field[:, number : number + 1] if name == "final_observations" else field[:, :, number : number + 1]
            for name, field in episodes._asdict().items()
        }
        memory, _ = learner.adapt(learner.current_weights(), memory, type(episodes)(**parts))
    np.testing.assert_allclose(memory, carried, atol=1e-5)


def test_padding_changes_no_memory():
    learner = small_rl2()
    episodes, carried = played(learner)

    def padded(name, field):
        more = [[0, 0]] * field.shape.rank
        if name != "final_observations":
            more[0] = [0, 4]
        more[1 if name == "final_observations" else 2] = [0, 2]
        return tf.pad(field, more)

    wider = type(episodes)(**{name: padded(name, field) for name, field in episodes._asdict().items()})
    first = tf.zeros([learner.config.tasks, 1, learner.memory_size])
    np.testing.assert_allclose(learner.adapt(learner.current_weights(), first, wider)[0], carried, atol=1e-5)


def test_old_log_probs_are_those_of_the_policy_that_played():
    learner = small_rl2("gaussian")
    episodes, _ = played(learner)
    weights = learner.current_weights()
    batch = learner.prepare(weights, [episodes])
    loss, metrics = learner.trial_loss(list(weights), batch)
    assert metrics["kl"].numpy() == pytest.approx(0.0, abs=1e-6)
    # with a ratio of 1 everywhere, the clipped objective is the mean of normalised advantages: 0
    assert metrics["policy_loss"].numpy() == pytest.approx(0.0, abs=1e-5)
    expected = metrics["policy_loss"] - learner.config.entropy * metrics["entropy"]
    assert loss.numpy() == pytest.approx(expected.numpy())


@pytest.mark.parametrize(("kind", "cell"), EVERY_CELL)
def test_the_gradient_through_a_trial_agrees_with_finite_differences(kind, cell):
    learner = small_rl2(kind, cell, dtype="float64", entropy=0.1, prediction=0.3)
    episodes, _ = played(learner)
    weights = learner.current_weights()
    batch = learner.prepare(weights, [episodes])
    rng = np.random.default_rng(3)
    moved = [one + 0.01 * rng.standard_normal(one.shape) for one in weights]  # away from ratios of exactly 1
    direction = [tf.constant(rng.standard_normal(one.shape)) for one in weights]
    gradients, _ = learner.meta_gradient(moved, batch)
    found = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, direction, strict=True))
    step = 1e-6
    ends = [
        float(learner.trial_loss([w + sign * step * d for w, d in zip(moved, direction, strict=True)], batch)[0])
        for sign in (1, -1)
    ]
    assert found == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_a_trial_cut_off_early_is_bootstrapped_and_one_that_ended_is_not():
    learner = small_rl2(lambda_=1.0, gamma=1.0)
    episodes, _ = played(learner)
    mask = episodes.mask.numpy().copy()
    mask[5:, :, -1] = 0.0
    last = (mask - np.concatenate([mask[1:], np.zeros_like(mask[:1])]))[:, :, -1] > 0
    found = {}
    for name in ("truncated", "terminated"):
        flags = {flag: np.zeros(mask.shape, bool) for flag in ("truncated", "terminated")}
        flags[name][:, :, -1] = last
        changed = episodes._replace(mask=tf.constant(mask), rewards=episodes.rewards * mask, **flags)
        sequence = as_sequence(changed)
        states = learner._states(list(learner.current_weights()), sequence)
        found[name] = learner._advantages(learner.current_weights(), changed, sequence, states)[0].numpy()
    closing = learner._values(learner.current_weights(), sequence, states, sequence.rewards)[0][-1].numpy()
    assert np.abs(closing).min() > 1e-3, "the test needs values other than 0"
    difference = (found["truncated"] - found["terminated"]) * sequence.played
    np.testing.assert_allclose(difference, closing * sequence.played, atol=1e-4)


def test_the_critic_reads_the_task_from_the_state():
    """Both arms of a bandit pay alike: beyond the time left, only what the trial has shown tells its worth."""
    family = Bandit(arms=2, horizon=20)
    policy = RecurrentPolicy(family.observation_space, family.action_space, units=8)
    learner = RL2(policy, family, RL2Config(tasks=400, gamma=1.0))
    tasks = family.Task(tf.repeat(random.uniform(random.spread(random.key(0), 400))[:, None], 2, 1))
    memory = tf.zeros([400, 1, learner.memory_size])
    episodes, _ = trial(family, tasks, partial(learner.step, learner.current_weights()), memory, random.key(0), 1)
    batch = learner.prepare(learner.current_weights(), [episodes])
    to_come = np.cumsum(episodes.rewards.numpy()[::-1], 0)[::-1]
    by_time = 1 - np.var(to_come - to_come.mean(1, keepdims=True)) / np.var(to_come)
    assert batch.explained.numpy() > by_time + 0.1


def test_truncated_back_propagation_changes_the_gradient():
    whole, cut = small_rl2(dtype="float64"), small_rl2(dtype="float64", truncation=4)
    episodes, _ = played(whole)
    norms = []
    for learner in (whole, cut):
        batch = learner.prepare(learner.current_weights(), [episodes])
        norms.append(learner.meta_gradient(learner.current_weights(), batch)[1]["gradient_norm"].numpy())
    assert norms[0] != pytest.approx(norms[1], rel=1e-6)


def test_an_update_is_the_same_in_every_mode():
    def updated(of):
        learner = small_rl2(epochs=2, horizon=6)
        learner.compile(keras.optimizers.SGD(0.1))
        before = learner.current_weights()
        of(learner.train_step)(tf.constant(0))
        assert all(np.any(one != two) for one, two in zip(before[:3], learner.current_weights(), strict=False))
        return learner.current_weights()

    expected = updated(lambda step: step)
    for compile_it in (False, True):
        found = updated(lambda step, how=compile_it: tf.function(step, jit_compile=how, autograph=False))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_the_gradient_of_the_parts_is_that_of_the_whole():
    whole, cut = small_rl2(dtype="float64", prediction=0.3), small_rl2(dtype="float64", prediction=0.3)
    cut.parts = 5
    episodes, _ = played(whole)
    assert len(set(episodes.mask.numpy().sum((0, 2)))) > 1, "the test needs parts of different lengths"
    weights = whole.current_weights()
    batch = whole.prepare(weights, [episodes])
    moved = [one + 0.01 for one in weights]
    expected, found = whole.meta_gradient(moved, batch), cut.meta_gradient(moved, batch)
    for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12)


@pytest.mark.slow  # the gradient of the parts, above, and a training resumed on fewer threads are the quick ones
def test_with_several_threads_training_ends_with_the_same_weights(monkeypatch):
    ends = []
    for threads in (1, 2):
        monkeypatch.setattr(side_by_side, "threads", lambda count=threads: count)
        learner = small_rl2(tasks=6, epochs=2, replicas=3, entropy=0.5, entropy_updates=4, truncation=5)
        learner.compile(keras.optimizers.SGD(0.1), jit_compile=True)
        assert learner.parts == threads
        learner.fit(updates(0, 3), verbose=0, shuffle=False)
        ends.append(learner.current_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_parts_are_as_many_as_threads_only_where_xla_compiles_a_family_in_the_graph(monkeypatch):
    monkeypatch.setattr(side_by_side, "threads", lambda: 2)
    learner, found = small_rl2(tasks=6), []
    for settings in ({}, {"jit_compile": True}, {"jit_compile": True, "threads": 3}, {"jit_compile": False}):
        learner.compile(keras.optimizers.SGD(0.1), **settings)
        found.append((learner.parts, learner.jit_compile))
    assert found == [(1, False), (2, False), (3, False), (1, False)]
    alone = small_rl2(tasks=6)
    alone.compile(keras.optimizers.SGD(0.1), jit_compile=True, threads=1)
    assert (alone.parts, alone.jit_compile) == (1, True)
    alone.on_host = True
    alone.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    assert (alone.parts, alone.run_eagerly) == (1, True)


def test_it_learns_to_pull_the_better_arm_and_to_predict_rewards():
    """While it also learns what an arm will pay, from the state."""
    family = Bandit(arms=2, horizon=10)
    policy = RecurrentPolicy(family.observation_space, family.action_space, units=16)
    settings = {"tasks": 256, "gamma": 1.0, "entropy": 0.0, "prediction": 1.0}
    learner = RL2(policy, family, RL2Config(**settings))
    learner.compile(keras.optimizers.Adam(0.01), jit_compile=True)
    history = learner.fit(updates(0, 60), verbose=0, shuffle=False, epochs=2, steps_per_epoch=30).history
    # pulling at random gives 5.0 of 10, knowing the better arm 6.67
    assert history["return_total"][-1] > 5.7
    assert history["surprise"][-1] < 0.8  # 1 is what the mean over all tasks leaves


def test_the_entropy_bonus_falls_to_nothing_over_the_updates_it_is_told():
    learner = small_rl2(epochs=2, horizon=2, entropy=0.5, entropy_updates=2)
    assert learner._entropy_weight().numpy() == 0.5
    learner.compile(keras.optimizers.SGD(0.0))
    weights = []
    for update in range(4):
        weights.append(float(learner._entropy_weight()))
        learner.train_step(tf.constant(update))
    assert weights == pytest.approx([0.5, 0.25, 0.0, 0.0])


@pytest.mark.parametrize("family", [Bandit(arms=3, horizon=4), TabularMDP(horizon=4)])
def test_noisy_rewards_are_learnt_from_by_their_means(family):
    policy = RecurrentPolicy(family.observation_space, family.action_space, units=4)
    learner = RL2(policy, family, RL2Config(tasks=6, episodes=2))
    tasks = learner.sample_tasks(random.key(0))
    shown, learnt = learner.collect(learner.current_weights(), tasks, random.key(1))
    for t, m, k in np.ndindex(*shown.mask.shape):
        action = int(shown.actions[t, m, k])
        if isinstance(family, Bandit):
            expected = tasks.means[m, action]
        else:
            expected = tasks.rewards[m, int(tf.argmax(shown.observations[t, m, k])), action]
        assert learnt.rewards[t, m, k].numpy() == pytest.approx(float(expected), abs=1e-6)
    assert np.any(shown.rewards != learnt.rewards)
    batch = learner.prepare(learner.current_weights(), [shown, learnt])
    np.testing.assert_array_equal(batch.sequence.inputs.previous_rewards[1], shown.rewards[0, :, 0])


def test_replicas_are_trials_of_one_task():
    learner = small_rl2(tasks=6, replicas=3)
    targets = learner.sample_tasks(random.key(0))[0].numpy()
    assert len(set(targets.tolist())) == 2 and targets[0] == targets[1] == targets[2]
    siblings = learner._of_siblings(tf.constant([[1.0, 2.0, 6.0, 10.0, 20.0, 60.0]]))
    assert siblings.numpy().tolist() == [[4.0, 3.5, 1.5, 40.0, 35.0, 15.0]]
    with pytest.raises(ValueError, match="replicas is 4"):
        RL2Config(tasks=6, replicas=4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_predicted_rewards_by_hand(kind):
    policy = small_rl2(kind).policy
    states = tf.constant([[0.1, -0.2, 0.3, 0.4]])
    *_, rows, bias = weights = [variable.value for variable in policy.model.trainable_variables]
    by_code = rows.numpy() @ states.numpy()[0] + bias.numpy()
    if kind == "categorical":
        actions, expected = tf.constant([1]), by_code[1]
    else:
        actions, expected = tf.constant([[0.5, -2.0]]), by_code[0] + 0.5 * by_code[1] - 2.0 * by_code[2]
    np.testing.assert_allclose(policy.predicted_rewards(weights, states, actions), [expected], rtol=1e-5)


def test_the_degree_of_the_critic_is_that_of_its_weights_in_the_time_left():
    """Returns that are cubic in the time left, and nothing else to tell them by."""
    explained = []
    for degree in (0, 1, 2, 3):
        learner = small_rl2(critic_degree=degree, gamma=1.0)
        sequence = as_sequence(played(learner)[0])
        steps = sequence.told.shape[0]
        left = np.linspace(1.0, 0.0, steps)
        targets = left**3 - left  # what follows each step
        rewards = np.repeat((targets - np.append(targets[1:], 0.0))[:, None], sequence.told.shape[1], 1)
        blank = tf.nest.map_structure(tf.zeros_like, sequence)._replace(played=tf.ones([steps, sequence.told.shape[1]]))
        states = tf.zeros([steps, sequence.told.shape[1], learner.memory_size])
        explained.append(
            learner._values(learner.current_weights(), blank, states, tf.constant(rewards, tf.float32))[1].numpy()
        )
    assert explained[0] == pytest.approx(0.0, abs=1e-3) and explained[3] == pytest.approx(1.0, abs=0.02)
    assert explained[0] < explained[1] < explained[2] < explained[3]


def test_observations_are_scaled_for_the_cell():
    told = StepInputs(
        tf.constant([[[4.0, -8.0]]]), tf.zeros([1, 1], tf.int32), tf.zeros([1, 1]), tf.zeros([1, 1], bool)
    )
    for scale in (1.0, 0.25):
        policy = RecurrentPolicy(Box((2,)), Discrete(2), units=4, observation_scale=scale)
        features = policy.features(policy.model.trainable_variables, told, tf.float32)
        assert features.numpy()[0, 0, :2].tolist() == [4 * scale, -8 * scale]


def test_actions_of_several_parts_are_told_part_by_part():
    policy = RecurrentPolicy(Box((2,)), MultiDiscrete((2, 3)), units=4)
    told = StepInputs(tf.zeros([1, 1, 2]), tf.constant([[[1, 2]]]), tf.constant([[0.5]]), tf.constant([[True]]))
    features = policy.features(policy.model.trainable_variables, told, tf.float32).numpy()[0, 0]
    assert features.tolist() == [0, 0, 0, 1, 0, 0, 1, 0.5, 1]
    weights = [variable.value for variable in policy.model.trainable_variables]
    out = policy.step(weights, told, tf.zeros([1, 1, 4]), random.key(tf.constant([[3]])), False)
    assert out.actions.shape == (1, 1, 2) and out.parameters["logits"].shape == (1, 1, 5)
    assert policy.predicted_rewards(weights, out.memory, out.actions).shape == (1, 1)


def test_the_page_has_every_setting_and_metric_as_the_code_has_it():
    page = (Path(__file__).resolve().parents[2] / "docs" / "algorithms" / "rl2.md").read_text(encoding="utf-8")
    for item in fields(RL2Config):
        low, high = item.metadata["allowed"]
        assert f"| `{item.name}` | {item.default} | {low:,} to {high:,} | {item.metadata['doc']} |" in page
    learner = small_rl2()
    batch = learner.prepare(learner.current_weights(), [played(learner)[0]])
    for metric in learner.meta_gradient(learner.current_weights(), batch)[1]:
        assert f"`{metric}`" in page


def test_minibatches_are_every_nth_trial_and_together_the_batch():
    """Of full trials their gradients' mean is the whole batch's; siblings of a task go into different ones."""
    learner = small_rl2("gaussian", tasks=6, replicas=3, minibatches=3)
    weights = learner.current_weights()
    batch = learner.prepare(weights, learner.collect(weights, learner.sample_tasks(random.key(0)), random.key(1)))
    parts = [learner.minibatch(batch, tf.constant(index)) for index in range(3)]
    for index, part in enumerate(parts):
        np.testing.assert_array_equal(part.log_probs, batch.log_probs[:, index::3])
        np.testing.assert_array_equal(
            part.sequence.inputs.observations, batch.sequence.inputs.observations[:, index::3]
        )
    np.testing.assert_array_equal(learner.minibatch(batch, tf.constant(4)).log_probs, parts[1].log_probs)
    whole, _ = learner.meta_gradient(weights, batch)
    of_parts = [learner.meta_gradient(weights, part)[0] for part in parts]
    for one, *others in zip(whole, *of_parts, strict=True):
        np.testing.assert_allclose(np.mean(others, 0), one, atol=1e-5)
    assert learner.epochs == 12
    with pytest.raises(ValueError, match="minibatches is 4; it must divide tasks"):
        RL2Config(tasks=6, minibatches=4)


def test_running_statistics_are_learned_from_what_was_played_and_by_no_gradient():
    family = Navigation(5)
    policy = RecurrentPolicy(family.observation_space, family.action_space, units=4, normalise=True)
    learner = RL2(policy, family, RL2Config(tasks=4, episodes=2))
    where, weights = policy.model.layout["statistics"].start, learner.current_weights()
    rounds = learner.collect(weights, learner.sample_tasks(random.key(0)), random.key(1))
    batch, sequence = learner.prepare(weights, rounds), as_sequence(rounds[0])
    gradients, _ = learner.meta_gradient(weights, batch)
    assert not np.any(gradients[where]) and np.any(gradients[where - 1])
    learner.learn_statistics(batch)
    kept = sequence.played.numpy() > 0
    told = np.concatenate([sequence.inputs.observations.numpy(), sequence.rewards.numpy()[..., None]], -1)[kept]
    expected = [told.mean(0), told.var(0), np.full(told.shape[1], len(told))]
    np.testing.assert_allclose(learner.current_weights()[where], expected, rtol=1e-3)
    learner.learn_statistics(batch)
    expected[2] *= 2
    np.testing.assert_allclose(learner.current_weights()[where], expected, rtol=1e-3)


def test_rewards_of_another_scale_are_told_alike_once_statistics_are():
    """What the cell is fed does not depend on the unit of rewards and observations that the statistics are in."""
    policy = RecurrentPolicy(Box((2,)), Discrete(2), units=4, normalise=True)
    told = StepInputs(
        tf.random.normal([9, 3, 2]), tf.zeros([9, 3], tf.int32), tf.random.normal([9, 3]), tf.zeros([9, 3], tf.bool)
    )
    answers = []
    for scale, shift in ((1.0, 0.0), (10.0, 1.0)):
        changed = told._replace(previous_rewards=scale * told.previous_rewards + shift)
        weights = policy.measured(
            policy.model.trainable_variables, told.observations, changed.previous_rewards, tf.ones([9, 3])
        )
        answers.append(policy.features(weights, changed, tf.float32))
    np.testing.assert_allclose(*answers, atol=1e-4)
