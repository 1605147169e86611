"""Rollouts and trials on the host against those in the graph: the same family played both ways, to the last key."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from metazoo import random
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.family import per_episode
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.views.gym_view import to_gym_space
from metazoo.types import Discrete, MultiDiscrete, StepOutputs
from tests.host_envs import Bad, Odd, Point

TASKS, EPISODES = 3, 4
GRAPH = {"cartpole": CartPole(horizon=14), "navigation": Navigation(horizon=6)}


class GraphEnv(gym.Env):
    """A family in the graph, one episode of it stepped eagerly; starts where the graph's episode with that key does."""

    def __init__(self, family):
        self.family = family
        self.observation_space = to_gym_space(family.observation_space)
        self.action_space = to_gym_space(family.action_space)

    def set_task(self, task):
        like = self.family.sample(1)._asdict()
        fields = {name: tf.reshape(tf.constant(value, tf.float32), like[name].shape) for name, value in task.items()}
        self.task = per_episode(self.family.Task(**fields))

    def reset(self, *, seed=None, options=None):
        self.state = self.family.reset(self.task, tf.constant([[seed]], tf.uint32))
        return self.family.observe(self.task, self.state)[0, 0].numpy(), {}

    def step(self, action):
        after = self.family.step(self.task, self.state, tf.constant(action)[None, None], random.key(0)[None, None])
        self.state = after.state
        seen = self.family.observe(self.task, self.state)[0, 0].numpy()
        return seen, float(after.rewards), bool(after.terminated), False, {}


def on_host(family, **settings):
    like = family.sample(1)._asdict()
    return GymFamily(
        lambda: GraphEnv(family),
        lambda rng, split: {n: f[0].numpy() for n, f in like.items()},
        family.horizon,
        **settings,
    )


def policy(family):
    """Memory: a hash of all it was told; actions depend on it, on the observation and on the key."""

    def step(inputs, memory, key, deterministic):
        told = [
            tf.reduce_sum(inputs.observations, -1),
            tf.reshape(tf.cast(inputs.previous_actions, tf.float32), [*key.shape, -1])[..., 0],
            inputs.previous_rewards,
            tf.cast(inputs.previous_done, tf.float32),
            tf.ones(key.shape),
        ]
        memory = 0.9 * memory + tf.stack(told, -1)
        draw = 0.5 if deterministic else random.uniform(key)
        if isinstance(family.action_space, Discrete):
            actions = tf.cast(draw > 0.5 + 0.3 * tf.sin(memory[..., 2]), tf.int32)
        else:
            actions = 0.1 * tf.stack([draw - 0.5 + 0.0 * memory[..., 0], tf.sin(memory[..., 0])], -1)
        return StepOutputs(actions, {}, tf.zeros(key.shape), memory)

    return step


def same(one, other):
    for name, ours, theirs in zip(one._fields, one, other, strict=True):
        ours, theirs = np.array(ours), np.array(theirs)
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, name
        if name in ("observations", "actions"):  # of steps that were not played, nobody promises anything
            played = np.array(one.mask).reshape(*one.mask.shape, *[1] * (ours.ndim - 3)) > 0
            ours, theirs = ours * played, theirs * played
        np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rows", [200, 6, 3, 2])
@pytest.mark.parametrize("name", GRAPH)
def test_rollouts_are_those_of_the_graph_however_many_rows_there_are(name, rows):
    family = GRAPH[name]
    tasks, key, memory = family.sample(TASKS), random.key(5), tf.zeros([TASKS, 1, 5])
    arguments = tasks, policy(family), memory, key, EPISODES
    expected = rollout(family, *arguments)
    assert np.unique(np.sum(expected.mask, 0)).size > 1 or name == "navigation"
    same(rollout(on_host(family, rows=rows), *arguments), expected)


@pytest.mark.parametrize("rows", [200, 2])
@pytest.mark.parametrize("name", GRAPH)
def test_trials_are_those_of_the_graph(name, rows):
    family = GRAPH[name]
    tasks, memory = family.sample(TASKS), tf.zeros([TASKS, 1, 5])
    keys = random.spread(random.key(8), TASKS)  # one for each task
    for deterministic in (False, True):
        arguments = tasks, policy(family), memory, keys, EPISODES, deterministic
        expected, carried = trial(family, *arguments)
        found, after = trial(on_host(family, rows=rows), *arguments)
        same(found, expected)
        np.testing.assert_allclose(after, carried, atol=1e-4)


def test_no_seed_comes_twice_over_many_updates_whatever_the_workers():
    seen = []

    class Seeded(Point):
        def reset(self, *, seed=None, options=None):
            seen.append(seed)
            return super().reset(seed=seed)

    family = GymFamily(Seeded, {"goal": (0.0, 1.0)}, 1, rows=50)
    step = policy(Navigation())
    for update in range(10):
        rollout(family, family.sample(20, seed=update), lambda *args: one_action(step, *args), tf.zeros([20, 1, 5]),
                random.fold(random.key(0), update), 20)  # fmt: skip
    assert len(seen) == 4000 == len(set(seen))


def one_action(step, *args):
    out = step(*args)
    return out._replace(actions=out.actions[..., :1])


def test_padding_and_the_horizon():
    """Episodes that the environment cuts, and those that the horizon does."""
    family = GymFamily(lambda: Odd(spaces.Discrete(3), spaces.MultiDiscrete([2, 3], start=[1, 4]), 4),
                       {"offset": (0.0, 1.0)}, 6)  # fmt: skip
    shorter = GymFamily(family._recipe.make, {"offset": (0.0, 1.0)}, 3)
    assert family.action_space == MultiDiscrete((2, 3), (1, 4))

    def step(inputs, memory, key, deterministic):
        assert inputs.observations.shape == (*key.shape, 3) and inputs.previous_actions.dtype == tf.int32
        actions = tf.stack([random.integers(key, 2), random.integers(random.fold(key, 1), 3)], -1) + [1, 4]
        return StepOutputs(actions, {}, tf.zeros(key.shape), memory)

    memory = tf.zeros([2, 1, 0])
    played = rollout(family, family.sample(2), step, memory, random.key(0), 5)
    assert played.observations.shape == (6, 2, 5, 3) and played.actions.shape == (6, 2, 5, 2)
    np.testing.assert_array_equal(np.sum(played.mask, 0), 4)
    assert np.all(played.truncated[3]) and np.sum(played.truncated) == 10 and not np.any(played.terminated)
    assert np.all(played.actions[4:] == [1, 4]) and np.all(played.rewards[4:] == 0)
    offset = family.sample(2).offset[None, :, None]
    np.testing.assert_allclose(played.rewards[:4], tf.cast(tf.reduce_sum(played.actions[:4], -1), tf.float32) + offset)
    np.testing.assert_array_equal(played.observations[5], played.final_observations)
    cut = rollout(shorter, family.sample(2), step, memory, random.key(0), 5)
    assert np.all(cut.truncated[2]) and np.sum(cut.truncated) == 10 and np.all(cut.mask == 1)


def test_what_a_policy_was_told_does_not_change_under_its_hands():
    """The rows' arrays are used again at the next step; tensors made of them must be copies."""
    kept = []

    def step(inputs, memory, key, deterministic):
        kept.append(inputs.observations)
        return StepOutputs(tf.fill([*key.shape, 1], 0.3), {}, tf.zeros(key.shape), memory)

    for workers in (0, 1):
        family = GymFamily(Point, {"goal": (0.0, 1.0)}, 5, workers=workers)
        kept.clear()
        played = rollout(family, family.sample(2), step, tf.zeros([2, 1, 0]), random.key(0), 8)
        family.close()
        for seen, recorded, alive in zip(kept, played.observations, played.mask, strict=False):
            np.testing.assert_array_equal(seen[alive > 0], recorded[alive > 0])


def test_a_bad_environment_is_named():
    family = GymFamily(Bad, {"goal": (0.5, 1.0)}, 5, env_args={"what": "nan"})
    step = lambda inputs, memory, key, _: StepOutputs(tf.zeros([*key.shape, 1]), {}, 0, memory)  # noqa: E731
    with pytest.raises(ValueError, match="Bad with goal=0.* gave an observation with nan in it at step 2"):
        rollout(family, family.sample(2), step, tf.zeros([2, 1, 0]), random.key(0), 8)
