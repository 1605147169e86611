"""Trials: episodes of one task in sequence, against a plain Python loop that carries the memory itself."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.family import per_episode
from metazoo.types import Discrete, StepInputs, StepOutputs

TASKS, EPISODES = 3, 4
FAMILIES = {"cartpole": CartPole(horizon=40), "navigation": Navigation(horizon=6), "bandit": Bandit(horizon=5)}


def recorder(family):
    """A policy whose memory is a hash of all it was told, and whose actions depend on that memory."""

    def step(inputs, memory, key, deterministic):
        told = [
            tf.reduce_sum(inputs.observations, -1),
            tf.reshape(tf.cast(inputs.previous_actions, tf.float32), [*key.shape, -1])[..., 0],
            inputs.previous_rewards,
            tf.cast(inputs.previous_done, tf.float32),
            tf.ones(key.shape),
        ]
        memory = 0.9 * memory + tf.stack(told, -1)
        draw = random.uniform(key)
        if isinstance(family.action_space, Discrete):
            preference = 0.5 + 0.3 * tf.sin(memory[..., 2])
            actions = tf.cast(draw > preference, tf.int32)
        else:
            actions = 0.1 * tf.stack([draw - 0.5, tf.sin(memory[..., 0])], -1)
        return StepOutputs(actions, {}, tf.zeros(key.shape), memory)

    return step


def python_trial(family, tasks, step, memory, key):
    """Row ``m``'s episodes as lists of (observation, action, reward), final observations, and the last memory."""
    rows = random.fold(random.fold(key, tf.range(TASKS))[:, None], tf.range(EPISODES)[None])
    ones, finals, memories = {}, {}, []
    for m in range(TASKS):
        task = per_episode(tf.nest.map_structure(lambda field, m=m: field[m : m + 1], tasks))
        carried = memory[m : m + 1]
        for k in range(EPISODES):
            row = rows[m : m + 1, k : k + 1]
            state = family.reset(task, random.fold(row, 0))
            space = family.action_space
            action = tf.zeros([1, 1, *space.shape], tf.int32 if isinstance(space, Discrete) else tf.float32)
            reward, done, steps = tf.zeros([1, 1]), False, []
            for t in range(family.horizon):
                keys = random.fold(row, t + 1)
                seen = family.observe(task, state)
                out = step(StepInputs(seen, action, reward, tf.constant([[False]])), carried, random.fold(keys, 0), 0)
                after = family.step(task, state, out.actions, random.fold(keys, 1))
                action, reward, carried, state = out.actions, after.rewards, out.memory, after.state
                steps.append((seen[0, 0].numpy(), action[0, 0].numpy(), reward[0, 0].numpy()))
                done = bool(after.terminated)
                if done:
                    break
            final = family.observe(task, state)
            keys = random.fold(random.fold(row, family.horizon + 1), 0)
            carried = step(StepInputs(final, action, reward, tf.constant([[True]])), carried, keys, 0).memory
            ones[m, k], finals[m, k] = (steps, done), final[0, 0].numpy()
        memories.append(carried[0])
    return ones, finals, tf.stack(memories)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trial_equals_a_python_loop_that_carries_the_memory(name):
    family = FAMILIES[name]
    tasks, key, step = family.sample(TASKS), random.key(5), recorder(family)
    memory = tf.reshape(tf.range(TASKS * 5, dtype=tf.float32) / 10.0, [TASKS, 1, 5])
    compiled = tf.function(partial(trial, family, episodes=EPISODES), jit_compile=True)
    episodes, after = compiled(tasks, step, memory, key)
    ones, finals, expected = python_trial(family, tasks, step, memory, key)
    assert episodes.mask.shape == (family.horizon, TASKS, EPISODES)
    lengths = set()
    for (m, k), (steps, done) in ones.items():
        length = len(steps)
        lengths.add(length)
        np.testing.assert_array_equal(episodes.mask[:, m, k], np.arange(family.horizon) < length)
        for t, (observation, action, reward) in enumerate(steps):
            np.testing.assert_allclose(episodes.observations[t, m, k], observation, atol=1e-4)
            np.testing.assert_allclose(episodes.actions[t, m, k], action, atol=1e-4)
            np.testing.assert_allclose(episodes.rewards[t, m, k], reward, atol=1e-4)
        ends = (episodes.terminated.numpy()[:, m, k], episodes.truncated.numpy()[:, m, k])
        assert [int(end.sum()) for end in ends] == [int(done), int(not done)]
        np.testing.assert_allclose(episodes.final_observations[m, k], finals[m, k], atol=1e-4)
    np.testing.assert_allclose(after, expected, atol=1e-3)
    assert len(lengths) > 1 or name != "cartpole", "the test needs episodes that end early"


def test_a_policy_that_remembers_nothing_plays_the_same_episodes_in_a_trial_and_in_parallel():
    family = FAMILIES["cartpole"]

    def step(inputs, memory, key, deterministic):
        return StepOutputs(random.integers(key, 2), {}, tf.zeros(tf.shape(key)), memory)

    arguments = family, family.sample(TASKS), step, tf.zeros([TASKS, 1, 0]), random.key(3), EPISODES
    parallel, (sequence, _) = rollout(*arguments), trial(*arguments)
    for name in ("mask", "rewards", "terminated", "truncated", "final_observations"):
        np.testing.assert_allclose(getattr(parallel, name), getattr(sequence, name), atol=1e-6)


def test_eager_graph_and_xla_play_the_same_trial():
    family = FAMILIES["bandit"]
    tasks, step, memory = family.sample(TASKS), recorder(family), tf.zeros([TASKS, 1, 5])
    play = partial(trial, family, episodes=2)
    eager, remembered = play(tasks, step, memory, random.key(1))
    for jit in (False, True):
        episodes, after = tf.function(play, jit_compile=jit)(tasks, step, memory, random.key(1))
        np.testing.assert_array_equal(eager.actions, episodes.actions)
        np.testing.assert_allclose(remembered, after, rtol=1e-5)
