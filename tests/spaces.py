"""Environments and families with any spaces, and tiny learners for them."""

import copy
from typing import Any, NamedTuple

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from metazoo import random
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.registry import LEARNERS
from metazoo.policies.networks import cnn, mlp
from metazoo.policies.policy import Policy
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.tasks.family import TaskFamily, Transition
from metazoo.tasks.gym.family import GymFamily
from metazoo.types import Box, Discrete, MultiDiscrete, Space

HORIZON = 3

OBSERVATIONS: dict[str, spaces.Space] = {
    "number": spaces.Box(-1.0, 1.0, (), np.float32),
    "vector": spaces.Box(-1.0, 1.0, (3,), np.float32),
    "unbounded": spaces.Box(-np.inf, np.inf, (3,), np.float64),
    "table": spaces.Box(-1.0, 1.0, (3, 2), np.float32),
    "float image": spaces.Box(0.0, 1.0, (3, 4, 2), np.float32),
    "image": spaces.Box(0, 255, (5, 4, 3), np.uint8),
    "grey image": spaces.Box(0, 255, (5, 4), np.uint8),
    "bytes": spaces.Box(0, 255, (6,), np.uint8),
    "one byte": spaces.Box(0, 255, (), np.uint8),
    "integers": spaces.Box(-np.inf, np.inf, (2,), np.int64),
    "flags": spaces.Box(0, 1, (2, 2), np.bool_),
    "Discrete": spaces.Discrete(4, start=3),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3], start=[1, -1]),
    "MultiBinary": spaces.MultiBinary((2, 2)),
    "Dict": spaces.Dict({"image": spaces.Box(0, 255, (2, 2, 1), np.uint8), "at": spaces.Discrete(3, start=1)}),
    "Tuple": spaces.Tuple([spaces.Box(-np.inf, np.inf, ()), spaces.Dict({"held": spaces.MultiBinary(2)})]),
}
ACTIONS: dict[str, spaces.Space] = {
    "Discrete": spaces.Discrete(3, start=2),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3], start=[1, -1]),
    "bounded": spaces.Box(-0.5, 0.5, (2,), np.float32),
    "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "half bounded": spaces.Box(np.array([0.0, -np.inf]), np.array([np.inf, 1.0]), dtype=np.float64),
    "integers": spaces.Box(-2, 5, (2,), np.int64),
}
NETWORKS = {"mlp": "reptile", "cnn": "reptile", "recurrent": "rl2"}
"""A learner that trains such a network."""


class Any2(gym.Env):
    """Observations are samples of their space; the reward is ``k`` times the sum of the action, squashed."""

    def __init__(self, k: float = 1.0, seen: str = "vector", done: str = "Discrete"):
        self.k = k
        self.observation_space, self.action_space = copy.deepcopy((OBSERVATIONS[seen], ACTIONS[done]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return self.observation_space.sample(), self.k * float(np.tanh(np.sum(action))), False, False, {}


def host_family(seen: str, done: str) -> GymFamily:
    return GymFamily(Any2, {"k": (0.5, 1.0)}, HORIZON, name="any", env_args={"seen": seen, "done": done})


class Task(NamedTuple):
    """``gain`` multiplies the reward."""

    gain: tf.Tensor


class State(NamedTuple):
    phase: tf.Tensor


class InGraph(TaskFamily):
    """A family in the graph with any spaces; observations move with a phase."""

    name, Task, horizon = "any_in_graph", Task, HORIZON

    def __init__(self, observation_space: Box, action_space: Space):
        self.observation_space, self.action_space = observation_space, action_space

    def sample_task(self, key, split):
        return Task(random.uniform(key, 0.5, 1.0))

    def reset(self, task, key):
        return State(random.uniform(key))

    def step(self, task, state, actions, key):
        shape, dtype = self.action_space.shape, self.action_space.dtype
        assert actions.shape[2:] == shape and actions.dtype == dtype, (actions.shape, actions.dtype)
        if isinstance(self.action_space, Box):
            actions = tf.clip_by_value(actions, self.action_space.low, self.action_space.high)
        total = tf.cast(actions, tf.float32)
        for _ in shape:
            total = tf.reduce_sum(total, -1)
        after = State(random.uniform(key))
        return Transition(after, task.gain * tf.tanh(total), after.phase > 0.95)

    def observe(self, task, state):
        shape, dtype = self.observation_space.shape, self.observation_space.dtype
        scale = 255.0 if dtype == "uint8" else 1.0
        moved = tf.reshape(state.phase, [*state.phase.shape, *[1] * len(shape)])
        return tf.cast(scale * tf.broadcast_to(moved, [*state.phase.shape, *shape]), dtype)


IN_GRAPH: dict[str, tuple[Box, Space]] = {
    "image, MultiDiscrete": (Box((5, 4, 3), dtype="uint8"), MultiDiscrete((2, 3), (1, -1))),
    "bytes, Discrete": (Box((6,), 0, 255, "uint8"), Discrete(3, 2)),
    "table, unbounded": (Box((3, 2)), Box((2,))),
    "number, half bounded": (Box(()), Box((2,), (0.0, float("-inf")), (float("inf"), 1.0))),
    "float image, MultiDiscrete": (Box((3, 4, 2), 0.0, 1.0), MultiDiscrete((2,), 1)),
}


def tiny_learner(family: Any, network: str = "mlp") -> Learner:
    """Two tasks of two episodes an update."""
    given = family.observation_space, family.action_space
    learner = LEARNERS[NETWORKS[network]]
    if network == "recurrent":
        policy: Any = RecurrentPolicy(*given, units=3)
    else:
        built = cnn(*given, (2,), (4,)) if network == "cnn" else mlp(*given, (4,))
        policy = Policy(built, *given)
    made = learner(policy, family, learner.config_class(tasks=2, episodes=2))
    made.compile(keras.optimizers.Adam())
    return made
