"""The compiled rollout against a plain Python loop over ``family.step`` with the same keys."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.policies.acting import act
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.rollouts.graph import rollout
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.family import per_episode
from metazoo.types import StepInputs

TASKS, EPISODES = 3, 4
FAMILIES = {"cartpole": CartPole(horizon=15), "navigation": Navigation(horizon=6), "bandit": Bandit(horizon=5)}


def player(family, seed=0):
    """A random policy's ``step``, and its memory ``[M, 1, P]``: other weights for every task."""
    model = mlp(family.observation_space, family.action_space, (8,), initial_scale=0.05)
    policy = Policy(model, family.observation_space, family.action_space)
    noise = np.random.default_rng(seed).standard_normal((TASKS, 1, policy.size)).astype(np.float32)

    def step(inputs, memory, key, deterministic):
        return act(policy, memory[:, 0], inputs.observations, memory, key, deterministic)

    return step, policy.flat_weights() + 0.5 * noise


def python_loop(family, tasks, step, memory, key):
    """``[(observations, actions, rewards, terminated)]`` for every time step, playing on after an episode's end."""
    task = per_episode(tasks)
    rows = random.fold(random.fold(key, tf.range(TASKS))[:, None], tf.range(EPISODES)[None])
    state = family.reset(task, random.fold(rows, 0))
    records, states = [], [state]
    for t in range(family.horizon):
        keys = random.fold(rows, t + 1)
        observations = family.observe(task, state)
        out = step(StepInputs(observations, None, None, None), memory, random.fold(keys, 0), False)
        after = family.step(task, state, out.actions, random.fold(keys, 1))
        state = after.state
        states.append(state)
        records.append([part.numpy() for part in (observations, out.actions, after.rewards, after.terminated)])
    return records, [family.observe(task, state).numpy() for state in states]


@pytest.fixture(params=FAMILIES)
def played(request):
    family = FAMILIES[request.param]
    tasks, key = family.sample(TASKS), random.key(11)
    step, memory = player(family)
    compiled = tf.function(partial(rollout, family, episodes=EPISODES), jit_compile=True)
    episodes = tf.nest.map_structure(lambda x: x.numpy(), compiled(tasks, step, memory, key))
    return family, episodes, python_loop(family, tasks, step, memory, key)


def test_rollout_equals_a_python_loop(played):
    family, episodes, (records, seen) = played
    assert episodes.mask.shape == (family.horizon, TASKS, EPISODES)
    for m, e in np.ndindex(TASKS, EPISODES):
        ends = [t for t in range(family.horizon) if records[t][3][m, e]]
        length = ends[0] + 1 if ends else family.horizon
        np.testing.assert_array_equal(episodes.mask[:, m, e], np.arange(family.horizon) < length)
        np.testing.assert_array_equal(episodes.terminated[:, m, e], np.arange(family.horizon) == (ends or [-1])[0])
        cut = family.horizon - 1 if not ends else -1
        np.testing.assert_array_equal(episodes.truncated[:, m, e], np.arange(family.horizon) == cut)
        for t in range(length):
            observations, actions, rewards, _ = (part[m, e] for part in records[t])
            np.testing.assert_allclose(episodes.observations[t, m, e], observations, atol=2e-5)
            np.testing.assert_allclose(episodes.actions[t, m, e], actions, atol=2e-5)
            np.testing.assert_allclose(episodes.rewards[t, m, e], rewards, atol=2e-5)
        np.testing.assert_allclose(episodes.final_observations[m, e], seen[length][m, e], atol=2e-5)


def test_after_the_end_everything_stands_still(played):
    family, episodes, _ = played
    padding = episodes.mask == 0
    assert not np.any(episodes.rewards[padding])
    assert not np.any(episodes.terminated[padding]) and not np.any(episodes.truncated[padding])
    frozen = np.broadcast_to(episodes.final_observations, episodes.observations.shape)
    np.testing.assert_array_equal(episodes.observations[padding], frozen[padding])
    if family is FAMILIES["cartpole"]:
        assert padding.any() and not padding.all()


def test_some_episodes_end_and_some_do_not():
    """Otherwise the tests above would say nothing about one or the other."""
    family = FAMILIES["cartpole"]
    step, memory = player(family)
    episodes = rollout(family, family.sample(TASKS), step, memory, random.key(11), EPISODES)
    assert np.any(episodes.terminated) and np.any(episodes.truncated)
    assert set(np.sum(episodes.terminated | episodes.truncated, 0).ravel()) == {1}


@pytest.mark.parametrize("name", FAMILIES)
def test_eager_graph_and_xla_play_the_same_episodes(name):
    family = FAMILIES[name]
    step, memory = player(family, seed=1)
    play = partial(rollout, family, family.sample(TASKS), step, memory, episodes=EPISODES)
    eager = play(random.key(3))
    for compiled in (tf.function(play), tf.function(play, jit_compile=True)):
        other = compiled(random.key(3))
        np.testing.assert_array_equal(eager.mask, other.mask)
        np.testing.assert_allclose(eager.actions, other.actions, atol=2e-5)
        np.testing.assert_allclose(eager.rewards, other.rewards, atol=2e-5)


def test_a_deterministic_rollout_plays_the_mode_and_keys_change_the_rest():
    family = FAMILIES["navigation"]
    step, memory = player(family)
    play = partial(rollout, family, family.sample(TASKS), step, memory, episodes=EPISODES)
    greedy = play(random.key(3), deterministic=True).actions.numpy()
    np.testing.assert_allclose(greedy, np.broadcast_to(greedy[:, :, :1], greedy.shape), atol=1e-6)
    one, two = play(random.key(3)).actions.numpy(), play(random.key(4)).actions.numpy()
    assert len(np.unique(one[0, ..., 0])) == TASKS * EPISODES and not np.any(one == two)


def test_the_policy_is_told_the_previous_action_and_reward():
    family, told = FAMILIES["bandit"], []
    step, memory = player(family)

    def spy(inputs, memory, key, deterministic):
        told.append((inputs.previous_actions.numpy(), inputs.previous_rewards.numpy(), inputs.previous_done.numpy()))
        return step(inputs, memory, key, deterministic)

    episodes = rollout(family, family.sample(TASKS), spy, memory, random.key(0), EPISODES)
    assert not np.any(told[0][0]) and not np.any(told[0][1])
    for t in range(1, family.horizon):
        np.testing.assert_array_equal(told[t][0], episodes.actions[t - 1])
        np.testing.assert_array_equal(told[t][1], episodes.rewards[t - 1])
    assert not any(np.any(done) for _, _, done in told)


def test_with_a_key_for_each_task_its_place_among_the_others_does_not_matter():
    family = FAMILIES["navigation"]
    step, memory = player(family)
    tasks, keys = family.sample(TASKS), random.spread(random.key(3), TASKS)
    together = rollout(family, tasks, step, memory, keys, EPISODES).actions
    for m in range(TASKS):
        one = tf.nest.map_structure(lambda field, m=m: field[m : m + 1], tasks)
        alone = rollout(family, one, step, memory[m : m + 1], keys[m : m + 1], EPISODES).actions
        np.testing.assert_allclose(together[:, m : m + 1], alone, atol=1e-6)
