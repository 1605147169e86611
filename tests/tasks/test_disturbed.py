"""Noise and delay around a family: what is changed is what was asked for, and nothing else."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.rollouts.agent import random_agent
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.disturbed import disturbed
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.host_family import HostFamily, HostTransition
from metazoo.types import Box, StepOutputs


def play(family, count=3, episodes=4):
    tasks, agent = family.sample(count, "test", 0), random_agent(family)
    memory = tf.zeros([count, 1, 0])
    return rollout(family, tasks, agent.step, memory, random.key(1), episodes)


@pytest.fixture(params=["in the graph", "on the host"])
def family(request):
    return Navigation() if request.param == "in the graph" else Line()


def test_without_noise_and_delay_nothing_changes(family):
    for plain, same in zip(play(family), play(disturbed(family)), strict=True):
        np.testing.assert_array_equal(plain, same)


def test_noise_has_its_standard_deviation_and_moves_nothing_else(family):
    plain, noisy = play(family, 20, 10), play(disturbed(family, 0.5), 20, 10)
    np.testing.assert_array_equal(plain.rewards, noisy.rewards)
    error = (noisy.observations - plain.observations).numpy()[plain.mask.numpy() > 0]
    assert error.std() == pytest.approx(0.5, rel=0.1) and abs(error.mean()) < 0.1
    assert len(np.unique(error)) > 0.9 * error.size, "a draw of its own for each entry of each step"


def test_late_actions_are_those_of_the_step_before(family):
    """What plays late is what plays on time with its actions moved by one step, the first one twice."""
    late = play(disturbed(family, late=True), count=2, episodes=1)
    actions = tf.concat([late.actions[:1], late.actions[:-1]], 0)
    again = replay(family, actions)
    np.testing.assert_allclose(late.rewards, again.rewards, atol=1e-6)
    np.testing.assert_allclose(late.observations, again.observations, atol=1e-6)


def replay(family, actions):
    """An episode of each task with the recorded actions ``[T, M, 1, ...]``; the memory counts the steps."""

    def step(inputs, memory, keys, deterministic):
        now = tf.minimum(tf.cast(memory[0, 0, 0], tf.int32), len(actions) - 1)  # the closing step's is discarded
        return StepOutputs(tf.gather(actions, now), {}, tf.zeros([2, 1]), memory + 1.0)

    return trial(family, family.sample(2, "test", 0), step, tf.zeros([2, 1, 1]), random.key(1), 1)[0]


class Goal(NamedTuple):
    x: Any


class Line(HostFamily):
    """A point on a line, moved by each action; rewards are minus its distance from the goal."""

    name, Task, rows, horizon = "line", Goal, 100, 12
    observation_space, action_space = Box((2,)), Box((1,), -1.0, 1.0)

    def sample(self, count, split="train", seed=0):
        return Goal(np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32))

    def reset(self, tasks, seeds):
        self.goal, self.x, self.t = np.asarray(tasks.x), seeds % 7 / 7.0, np.zeros(len(seeds))
        return self._seen()

    def step(self, actions, playing):
        self.x = np.where(playing, self.x + np.clip(actions[:, 0], -1, 1), self.x)
        self.t += playing
        ended = playing & (self.t >= 10)
        rewards = np.where(playing, -abs(self.x - self.goal), 0).astype(np.float32)
        return HostTransition(self._seen(), rewards, ended, np.zeros_like(ended))

    def _seen(self):
        return np.stack([self.x, self.t], 1).astype(np.float32)
